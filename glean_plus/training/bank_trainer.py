"""Pre-training of a bank: MMagic's trainers with mixed precision and differentiable augmentation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mmagic.models.base_models import BaseGAN
from mmagic.models.editors.biggan import BigGAN
from mmagic.models.editors.stylegan2 import StyleGAN2
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from glean_plus.registry import MODELS
from glean_plus.training.augment import DiffAugment
from glean_plus.training.distributed import unwrapped
from glean_plus.training.labels import classes_of


class BankTrainer(BaseGAN):
    """What is added to MMagic's trainers, for few images and modest machines.

    Five things. Both steps run inside the optimiser wrapper's context, so that ``AmpOptimWrapper`` means what it says
    (MMagic leaves precision to flags inside its own networks). Real and generated images pass through the same
    differentiable augmentation. The images made for the discriminator's step serve the generator's as well. The
    discriminator's weights get no gradients in the generator's step. A moving average with ``update_buffers=True`` is
    one of the whole generator, wherever it was moved.

    Args:
        augment: Policies of :class:`DiffAugment`; none if empty.
        channels_last: Keep both networks and the images in that layout, which is faster on CPUs and tensor cores.
        **kwargs: As the trainer of MMagic.
    """

    def __init__(self, *args: Any, augment: Sequence[str] = (), channels_last: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.augment = DiffAugment(augment)
        self._fake: Tensor | None = None
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=self.memory_format)

    @abstractmethod
    def _draw(self, data_samples: Any) -> Tensor:
        """As many generated images as there are real ones."""

    def _labels(self, data_samples: Any) -> tuple[Tensor, ...]:
        """What the discriminator takes beside the images, real and generated alike."""
        return ()

    def _score(self, images: Tensor, discriminator: nn.Module, data_samples: Any) -> Tensor:
        images = self.augment(images).contiguous(memory_format=self.memory_format)
        return discriminator(images, *self._labels(data_samples))

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        if self.with_ema_gen and self.generator_ema.update_buffers:
            # MMEngine remembers the average's tensors as they are built; another device or memory layout replaces them,
            # and what it then averages is in no checkpoint.
            self.generator_ema.avg_parameters = self.generator_ema.module.state_dict()
        log_vars: dict[str, Tensor] = super().train_step(data, optim_wrapper)
        return log_vars

    def train_discriminator(
        self, inputs: dict, data_samples: Any, optimizer_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        real = data_samples.gt_img
        with optimizer_wrapper.optim_context(self):
            # The generator stands still until its own step, which takes these very images, gradients and all.
            self._fake = self._draw(data_samples)
            pred_fake = self._score(self._fake.detach(), self.discriminator, data_samples)
            pred_real = self._score(real, self.discriminator, data_samples)
        # Outside the context: a gradient penalty differentiates twice, in full precision.
        loss, log_vars = self._disc_loss(pred_fake.float(), pred_real.float(), real)
        optimizer_wrapper.update_params(loss)
        return log_vars

    def train_generator(
        self, inputs: dict, data_samples: Any, optimizer_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        with optimizer_wrapper.optim_context(self):
            fake, self._fake = self._fake, None
            if fake is None:                                                 # a second generator step in a row
                fake = self._draw(data_samples)
            # Not through a distributed wrapper, which would wait for gradients of weights that get none here.
            pred_fake = self._score(fake, unwrapped(self.discriminator), data_samples)
        loss, log_vars = self._gen_loss(pred_fake.float())
        optimizer_wrapper.update_params(loss)
        return log_vars

    @abstractmethod
    def _disc_loss(self, pred_fake: Tensor, pred_real: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's loss, and what of it to log."""

    @abstractmethod
    def _gen_loss(self, pred_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss, and what of it to log."""


@MODELS.register_module()
class StyleGAN2BankTrainer(BankTrainer, StyleGAN2):
    """MMagic's ``StyleGAN2`` with the additions of :class:`BankTrainer`, and style mixing.

    Styles are mixed as in the paper of StyleGAN; MMagic's trainer hands in single noises, which never are.
    """

    def _draw(self, data_samples: Any) -> Tensor:
        # Without noise handed in, the bank draws its own, and mixes styles.
        return self.generator(None, num_batches=len(data_samples))

    def _disc_loss(self, pred_fake: Tensor, pred_real: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.disc_loss(pred_fake, pred_real, real)

    def _gen_loss(self, pred_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.gen_loss(pred_fake, len(pred_fake))


@MODELS.register_module()
class BigGANBankTrainer(BankTrainer, BigGAN):
    """MMagic's ``BigGAN``, class-conditional with a hinge loss, with the additions of :class:`BankTrainer`.

    Generated images have the classes of the real ones in the batch, so that both follow the data's distribution of
    classes; MMagic's trainer draws them uniformly, which lets the discriminator judge by the class alone where the
    data's are not balanced.

    Raises:
        ValueError: If the data have no classes.
    """

    def _labels(self, data_samples: Any) -> tuple[Tensor, ...]:
        return (classes_of(data_samples, 'The bank has classes'),)

    def _draw(self, data_samples: Any) -> Tensor:
        (label,) = self._labels(data_samples)
        return self.generator(self.noise_fn(num_batches=len(label)), label=label)

    def _disc_loss(self, pred_fake: Tensor, pred_real: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.disc_loss(pred_fake, pred_real)

    def _gen_loss(self, pred_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.gen_loss(pred_fake)
