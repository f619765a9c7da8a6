"""Pre-training of a StyleGAN2 bank: MMagic's trainer with mixed precision and differentiable augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmagic.models.editors.stylegan2 import StyleGAN2
from mmagic.registry import MODELS
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from glean_plus.engine.distributed import unwrapped
from glean_plus.models.augment import DiffAugment


@MODELS.register_module()
class StyleGAN2BankTrainer(StyleGAN2):
    """MMagic's ``StyleGAN2`` for few pictures and modest machines.

    Five things are added. Both steps run inside the optimiser wrapper's context, so that ``AmpOptimWrapper`` means
    what it says (MMagic leaves precision to flags inside its own networks). Real and generated pictures pass through
    the same differentiable augmentation. The pictures made for the discriminator's step serve the
    generator's as well. Styles are mixed, as in the paper of StyleGAN (MMagic's trainer hands in single noises, which
    never are). The discriminator's weights get no gradients in the generator's step.

    Args:
        augment: Policies of :class:`DiffAugment`; none if empty.
        channels_last: Keep both networks and the pictures in that layout, which is faster on CPUs and tensor cores.
        **kwargs: As ``mmagic.models.StyleGAN2``.
    """

    def __init__(self, *args: Any, augment: Sequence[str] = (), channels_last: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.augment = DiffAugment(augment)
        self._fake: Tensor | None = None
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=self.memory_format)

    def _score(self, images: Tensor, discriminator: nn.Module) -> Tensor:
        return discriminator(self.augment(images).contiguous(memory_format=self.memory_format))

    def train_discriminator(
        self, inputs: dict, data_samples: Any, optimizer_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        real = data_samples.gt_img
        with optimizer_wrapper.optim_context(self):
            # The generator stands still until its own step, which takes these very pictures, gradients and all.
            # Without noise handed in, the bank draws its own, and mixes styles.
            self._fake = self.generator(None, num_batches=len(real))
            pred_fake = self._score(self._fake.detach(), self.discriminator)
            pred_real = self._score(real, self.discriminator)
        # Outside the context: the gradient penalty differentiates twice, in full precision.
        loss, log_vars = self.disc_loss(pred_fake.float(), pred_real.float(), real)
        optimizer_wrapper.update_params(loss)
        return log_vars

    def train_generator(
        self, inputs: dict, data_samples: Any, optimizer_wrapper: OptimWrapper
    ) -> dict[str, Tensor]:
        num_batches = len(data_samples)
        with optimizer_wrapper.optim_context(self):
            fake, self._fake = self._fake, None
            if fake is None:                                                 # a second generator step in a row
                fake = self.generator(None, num_batches=num_batches)
            # Not through a distributed wrapper, which would wait for gradients of weights that get none here.
            pred_fake = self._score(fake, unwrapped(self.discriminator))
        loss, log_vars = self.gen_loss(pred_fake.float(), num_batches)
        optimizer_wrapper.update_params(loss)
        return log_vars
