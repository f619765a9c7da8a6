"""Training and testing of GLEAN: the losses of paper section 3.4, on MMagic's SRGAN."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmagic.models.editors.srgan import SRGAN
from mmagic.models.utils import set_requires_grad
from mmagic.structures import DataSample
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from glean_plus.accel.speed import arithmetic, at_speed, resolve, take_words
from glean_plus.models.checkpointing import recompute
from glean_plus.models.contracts import takes_any_size
from glean_plus.models.loading import generator_states
from glean_plus.models.task import run
from glean_plus.registry import MODELS
from glean_plus.training.baselines import build_references
from glean_plus.training.distributed import unwrapped
from glean_plus.training.ema import averaged_copy, update
from glean_plus.training.labels import classes_of, generator_labels
from glean_plus.weights.prefixes import at_top
from glean_plus.weights.strict import check

# Keys of a train_cfg: MMagic's SRGAN's, and ours.
TRAIN_CFG = {'disc_steps', 'disc_repeat', 'disc_init_steps', 'channels_last', 'compiled', 'recompute'}
# What the log has as loss_<name>.
OWN_LOSSES = {'pix', 'perceptual', 'style', 'gan', 'd_real', 'd_fake'}


@MODELS.register_module()
class GLEANRestorer(SRGAN):
    """Generator and discriminator trained on Eq. 5-9, tested on the generator's moving average.

    What differs from MMagic's ``SRGAN``:

    * ``ema`` keeps an average of the generator, which validation and test use; a frozen bank is not copied for it.
    * The perceptual loss and the further ``losses`` are built at the first training step, so that a test needs none of
      their networks, and are not saved.
    * One backward pass a step and network, so that gradient accumulation means the same for both.
    * ``step_counter`` is saved, so that ``disc_init_steps`` survives a resume.
    * A discriminator with classes is given the class of each image.
    * A checkpoint that does not fit the generator is refused, where MMEngine would test random weights.

    Args:
        generator: Config of :class:`GLEAN`, or of any network with ``init_weights`` and the same call.
        perceptual_loss: Config of a loss with call (prediction, ground truth) -> scalar, or (perceptual, style)
            as MMagic's.
        losses: Configs of further losses of the generator by name, each with its own weight and a call (prediction,
            ground truth) -> scalar, or (prediction, ground truth, input) if it says ``wants_input``, as
            ``LRConsistencyLoss``. The log has each as ``loss_<name>``.
        ema: ``dict(decay=0.999, start=0)``: averages from its update ``start`` on, before which they follow
            it, with the decay rising to its value as (1 + n) / (10 + n) over the first n updates; None keeps none.
        **kwargs: As ``mmagic.models.SRGAN``: ``discriminator``, ``gan_loss``, ``pixel_loss``, ``train_cfg`` with
            ``disc_steps``, ``disc_repeat``, ``disc_init_steps`` and ``channels_last`` (train in that memory layout,
            which is faster on CPUs and tensor cores), ``compiled`` (on a CPU in float32, convolutions and their
            gradients by the kernel of :class:`CompiledConvolutions`) and ``recompute`` (the backward pass computes the
            activations of the generator's dense blocks and bank again, they are not kept; but for those of a bank that
            is trained and has batch or spectral norm, which would move twice), ``test_cfg`` (what a test compares with,
            see :func:`build_references`; and how the network is run: ``speed``, 'exact' by default, and
            ``precision``, 'fp32' by default, see :func:`at_speed`), ``data_preprocessor``, ``init_cfg``.

    Raises:
        ValueError: On keys of ``train_cfg``, ``test_cfg`` or ``ema`` that nothing reads, or a loss whose name is taken;
            (in a training step) if it is ``compiled`` and the model is not on a CPU.
    """

    def __init__(
        self,
        generator: Mapping[str, Any],
        perceptual_loss: Mapping[str, Any] | None = None,
        losses: Mapping[str, Mapping[str, Any]] | None = None,
        ema: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(generator, perceptual_loss=None, **kwargs)
        del self._buffers['step_counter']
        self.register_buffer('step_counter', torch.tensor(0), persistent=True)
        test_cfg = dict(self.test_cfg or {})
        self.speed, self.precision = take_words(test_cfg)
        self.references = build_references(test_cfg)
        self.__dict__['_fast'] = None  # a network that shares parts of this one, so no part of its state
        self._perceptual_cfg = perceptual_loss
        self._loss_cfgs = dict(losses or {})
        if taken := sorted(OWN_LOSSES & {*self._loss_cfgs}):
            raise ValueError(f'`losses` cannot name {taken}: the log has losses of these names, {sorted(OWN_LOSSES)}.')
        train_cfg = self.train_cfg or {}
        if unknown := sorted({*train_cfg} - TRAIN_CFG):
            raise ValueError(f'Unknown keys {unknown} in `train_cfg`; known are {", ".join(sorted(TRAIN_CFG))}.')
        self.compiled, self._said_left = bool(train_cfg.get('compiled', False)), False
        recompute(self.generator, bool(train_cfg.get('recompute', False)))
        channels_last = bool(train_cfg.get('channels_last', False))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.ema_decay, self.ema_start = 0.0, 0
        if ema is not None:
            ema = dict(ema)
            self.ema_decay, self.ema_start = ema.pop('decay', 0.999), ema.pop('start', 0)
            if ema:
                raise ValueError(f'Unknown keys {sorted(ema)} in the config of `ema`; known are decay and start.')
            if not 0 <= self.ema_decay < 1:
                raise ValueError(f'ema.decay must be at least 0 and below 1, but is {self.ema_decay}.')
            self.generator_ema = averaged_copy(self.generator)
            self.register_buffer('ema_updates', torch.tensor(0))

    @property
    def with_ema(self) -> bool:
        return hasattr(self, 'generator_ema')

    def init_weights(self) -> None:
        super().init_weights()
        if self.with_ema:
            update(self.generator_ema, unwrapped(self.generator), decay=0)

    # ---- inference

    @property
    def tested(self) -> nn.Module:
        """The network that a test uses: the moving average, or the generator where there is none."""
        return self.generator_ema if self.with_ema else unwrapped(self.generator)

    def forward_tensor(self, inputs: Tensor, data_samples: Any = None, training: bool = False) -> Tensor:
        """(N, C, H, W) -> images of the moving average, or of the generator in training or without one.

        Outside of training, a network that takes any size takes inputs of other sizes than its nominal one.
        """
        if training:
            return self.generator(inputs, *self.labels(data_samples))
        speed, network = ('exact', self.tested) if self.speed == 'exact' else self._at_speed()
        with arithmetic(inputs.device, speed, self.precision):
            return run(network, inputs, *self.labels(data_samples))

    def _at_speed(self) -> tuple[str, nn.Module]:
        """``test_cfg.speed`` and its network, made at the first use after a training or a loading."""
        if self._fast is None:
            speed = resolve(self.tested, self.precision) if self.speed == 'auto' else self.speed
            self.__dict__['_fast'] = speed, at_speed(self.tested, speed, self.precision)
        return self._fast

    def train(self, mode: bool = True) -> GLEANRestorer:
        if mode:
            self.__dict__['_fast'] = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> GLEANRestorer:
        self.__dict__['_fast'] = None  # it would stay on the device
        return super()._apply(*args, **kwargs)

    def labels(self, data_samples: DataSample | None) -> tuple[Tensor, ...]:
        """The generator's arguments beside the input: the classes (N,) in ``gt_label``, where it wants them."""
        return generator_labels(unwrapped(self.generator), data_samples)

    def _critic_labels(self, data_samples: DataSample) -> tuple[Tensor, ...]:
        """The discriminator's arguments beside the images, real and restored alike."""
        if self.discriminator is None or not getattr(unwrapped(self.discriminator), 'num_classes', 0):
            return ()
        who, otherwise = 'The discriminator has classes', 'build the discriminator with num_classes=0'
        return (classes_of(data_samples, who, otherwise),)

    def forward_inference(self, inputs: Tensor, data_samples: Any = None, **kwargs: Any) -> DataSample:
        """Predictions, 0 to 255, and beside ``pred_img`` one ``NAME_img`` of each reference in ``test_cfg``."""
        predictions = super().forward_inference(inputs, data_samples, **kwargs)
        scale = predictions.pred_img.shape[-1] // inputs.shape[-1]
        for name, reference in self.references.items():
            images = self.data_preprocessor.destruct(reference(inputs, scale), data_samples, 'img')
            predictions.set_tensor_data({f'{name}_img': images.cpu()})
        return predictions

    # ---- training

    def _build_losses(self, device: torch.device) -> None:
        # Kept out of the module tree: their weights are no part of a checkpoint.
        if self._perceptual_cfg is not None and self.perceptual_loss is None:
            self.__dict__['perceptual_loss'] = MODELS.build(self._perceptual_cfg).to(device).eval()
        if 'further_losses' not in self.__dict__:
            self.__dict__['further_losses'] = {
                name: MODELS.build(config).to(device).eval() for name, config in self._loss_cfgs.items()
            }

    def g_step(
        self,
        batch_outputs: Tensor,
        batch_gt_data: Tensor,
        lq: Tensor | None = None,
        critic_labels: tuple[Tensor, ...] = (),
    ) -> dict[str, Tensor]:
        """Losses of the generator: Eq. 5, 6 and 7, with their weights (Eq. 8), and the further ones.

        Args:
            batch_outputs: Predictions, (N, C, H, W).
            batch_gt_data: Truth, the same.
            lq: The generator's input, which only some of the further losses want.
            critic_labels: What the discriminator takes beside the images.
        """
        losses = {}
        self._build_losses(batch_outputs.device)
        if self.pixel_loss:
            losses['loss_pix'] = self.pixel_loss(batch_outputs, batch_gt_data)
        if self.perceptual_loss is not None:
            result = self.perceptual_loss(batch_outputs, batch_gt_data)
            percep, style = result if isinstance(result, tuple) else (result, None)
            if percep is not None:
                losses['loss_perceptual'] = percep
            if style is not None:
                losses['loss_style'] = style
        for name, loss in self.further_losses.items():
            inputs = (lq,) if getattr(loss, 'wants_input', False) else ()
            losses[f'loss_{name}'] = loss(batch_outputs, batch_gt_data, *inputs)
        if self.gan_loss and self.discriminator:
            # Not through a distributed wrapper: its weights get no gradients here, which the wrapper would wait for.
            fake = unwrapped(self.discriminator)(batch_outputs, *critic_labels)
            losses['loss_gan'] = self.gan_loss(fake.float(), target_is_real=True, is_disc=False)
        return losses

    def d_step_with_optim(
        self,
        batch_outputs: Tensor,
        batch_gt_data: Tensor,
        optim_wrapper: OptimWrapperDict,
        critic_labels: tuple[Tensor, ...] = (),
    ) -> dict[str, Tensor]:
        """Eq. 9, in one backward pass."""
        wrapper: OptimWrapper = optim_wrapper['discriminator']
        with wrapper.optim_context(self.discriminator):
            real = self.discriminator(batch_gt_data, *critic_labels)
            fake = self.discriminator(batch_outputs.detach(), *critic_labels)
            losses = dict(
                loss_d_real=self.gan_loss(real.float(), target_is_real=True, is_disc=True),
                loss_d_fake=self.gan_loss(fake.float(), target_is_real=False, is_disc=True),
            )
        loss, log_vars = self.parse_losses(losses)
        wrapper.update_params(loss)
        return log_vars

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """One step of both networks; ``optim_wrapper`` has ``generator`` and, with one, ``discriminator``.

        Returns:
            The losses, for the log.

        Raises:
            CompilerError: If ``train_cfg`` has ``compiled`` and the kernel cannot be built.
            ValueError: If it has and the model is not on a CPU.
        """
        if not self.compiled:
            return self._step(data, optim_wrapper)
        from glean_plus.accel.compiler import check_device
        from glean_plus.accel.trained import CompiledConvolutions  # it needs the networks' modules

        check_device(next(self.generator.parameters()).device, 'train_cfg.compiled=False')
        with CompiledConvolutions() as kernel:
            log_vars = self._step(data, optim_wrapper)
        if kernel.left and not self._said_left:
            self._said_left = True
            print_log('train_cfg has compiled=True, but the kernel is for float32: what autocast (--amp, or the '
                      "optimiser's wrapper) takes to another type is left to PyTorch.", logger='current',
                      level=logging.WARNING)  # fmt: skip
        return log_vars

    def _step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        data = self.data_preprocessor(data, True)
        lq, gt = data['inputs'], self.extract_gt_data(data['data_samples'])
        lq = lq['img'] if isinstance(lq, dict) else lq
        lq, gt = (images.contiguous(memory_format=self.memory_format) for images in (lq, gt))
        inputs = (lq, *self.labels(data['data_samples']))
        sized = self._sized(lq)
        critic_labels = self._critic_labels(data['data_samples'])
        wrapper: OptimWrapper = optim_wrapper['generator']
        log_vars: dict[str, Tensor] = {}

        if self.if_run_g():
            if self.discriminator:
                set_requires_grad(self.discriminator, False)
            with wrapper.optim_context(self.generator):
                pred = self.generator(*inputs, **sized)
                losses = self.g_step(pred, gt, lq, critic_labels)
            loss, log = self.parse_losses(losses)
            wrapper.update_params(loss)
            log_vars.update(log)
            if wrapper.should_update():  # not while gradients are still being accumulated
                self._update_ema()
        else:
            with torch.no_grad(), wrapper.optim_context(unwrapped(self.generator)):
                pred = unwrapped(self.generator)(*inputs, **sized)

        if self.if_run_d():
            set_requires_grad(self.discriminator, True)
            for _ in range(self.disc_repeat):
                log = self.d_step_with_optim(pred.detach(), gt, optim_wrapper, critic_labels)
            log_vars.update(log)

        log_vars.pop('loss', None)
        self.step_counter += 1
        return log_vars

    def _sized(self, lq: Tensor) -> dict[str, bool]:
        """What a generator is told beside inputs (N, C, H, W) of another size than its own, if it takes any."""
        network = unwrapped(self.generator)
        other = takes_any_size(network) and tuple(lq.shape[-2:]) != (network.in_size, network.in_size)
        return dict(any_size=True) if other else {}

    def _update_ema(self) -> None:
        if self.with_ema:
            # Early on the average spans the few updates that there are, not their start.
            updates = int(self.ema_updates) - self.ema_start
            decay = min(self.ema_decay, (1 + updates) / (10 + updates)) if updates >= 0 else 0.0
            update(self.generator_ema, unwrapped(self.generator), decay)
            self.ema_updates += 1

    # ---- checkpoints

    checks_checkpoints = True

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Check a checkpoint before its first tensor is copied, and complete it where that is meant.

        Taken are a checkpoint of training, a file with the generator alone, and one of MMagic's GLEAN. Runs for
        PyTorch's and MMEngine's way of loading alike, strict or not.

        Raises:
            WeightsError: If the generator's tensors are not all there with the right shapes.
        """
        self.__dict__['_fast'] = None
        self.complete_checkpoint(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def complete_checkpoint(
        self, state: dict[str, Tensor], prefix: str = '', source: str = 'The checkpoint'
    ) -> None:
        """Check a state dict in any of the forms that are taken, and turn it into this model's own, in place.

        Values are not looked at: the model may be on the meta device. ``source`` is for messages.

        Raises:
            WeightsError: As when it is loaded.
        """
        own = {key[len(prefix):]: state.pop(key) for key in [*state] if key.startswith(prefix)}
        own = at_top(own, 'generator')
        given, averages = generator_states(own, unwrapped(self.generator), source, self.with_ema)
        parts = dict(generator=given)
        if self.with_ema:
            parts['generator_ema'] = averages or {key: given[key] for key in self.generator_ema.state_dict()}
            if not averages:
                print_log('The checkpoint has no moving average; it starts at the generator.', logger='current')
        own = {key: value for key, value in own.items() if key.partition('.')[0] not in parts}
        own.update({f'{part}.{key}': value for part, tensors in parts.items() for key, value in tensors.items()})
        if self.discriminator is not None:
            start = 'discriminator.'
            expected = unwrapped(self.discriminator).state_dict()
            critic = {key[len(start):]: value for key, value in own.items() if key.startswith(start)}
            if critic:
                check(expected, critic, source, "this config's discriminator")
            else:
                own.update({start + key: value for key, value in expected.items()})
                print_log('The checkpoint has no discriminator; the one at hand stays.', logger='current')
        own.setdefault('step_counter', self.step_counter)
        if self.with_ema:
            own.setdefault('ema_updates', self.ema_updates)
        state.update({prefix + key: value for key, value in own.items()})
