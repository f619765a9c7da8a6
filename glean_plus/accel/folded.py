"""A GLEAN of any bank for inference: the same images in less time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional

import torch
from torch import Tensor, nn

from glean_plus.models.banks.base import class_embedding
from glean_plus.models.codes import LearnedCodes, check_codes, codes_of
from glean_plus.models.folding import FoldedConv, fold_convolutions
from glean_plus.models.glean import GLEAN, check_any_size, check_label, check_size, with_class

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Images are finished one after the other above the input's size and this one, as large maps gain nothing by a batch.
TOGETHER_UP_TO = 64
# As many pixels of maps as that are worked on at a time.
PIXELS = 8 * TOGETHER_UP_TO**2

Noises = Optional[dict[int, list[Tensor]]]
# From f_0, the bank's feature at the input's resolution, if the decoder takes any of the bank's, codes, noise maps and
# input of one image to the result.
Finish = Callable[[Tensor, Optional[Tensor], Sequence[Optional[Tensor]], Noises, Tensor], Tensor]


class FoldedGLEAN(nn.Module):
    """What ``model.fold()`` makes: called as the model, with its weights as they were then.

    * What depends on constants alone is computed once: spectral and batch norm, learned codes and what they make of
      modulation and conditional batch norm, noise, bank features before the first that depends on an image.
    * Constants are in the weights of the convolution before them, repetition in those of the one after it. Codes that
      depend on the image scale the maps between convolutions, not the weights of each image.
    * The bank ends at the last feature that the decoder takes. Maps are channels_last. The images of a batch are
      finished one after the other where maps are large.

    It is no module for training. In float32 it shares the
    encoder and what predicts codes with the model; the rest are copies. It stays on the device that the model was on.

    Args:
        model: A GLEAN or LightGLEAN; its encoder's weights are laid out as channels_last.
        dtype: Of the maps; in float32 the images are the model's up to rounding.

    Attributes:
        finish: In place of bank and decoder above the input's resolution, if it is set.
        classes: The embedding of each class, with ``given_class``.

    Raises:
        ValueError: On another type.
    """

    classes: Tensor

    def __init__(self, model: GLEAN, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {DTYPES}, but is {dtype}.')
        bank = model.bank
        self.dtype, self.in_size, self.out_size = dtype, model.in_size, model.out_size
        self.any_size, self.multiple = model.any_size, model.multiple
        self.given_class, self.class_dims = model.given_class, tuple(bank.class_dims)
        learned = isinstance(model.codes, LearnedCodes)
        with torch.no_grad():
            self.encoder = fold_convolutions(model.encoder, dtype, shared=True)
            self.codes = fold_convolutions(model.codes, dtype, shared=not learned)
            self.decoder = fold_convolutions(model.decoder, dtype, shared=False)
            self.fusions = nn.ModuleDict({
                res: FoldedConv.of(conv.weight, conv.bias, dtype) for res, conv in model.fusions.items()
            })  # fmt: skip
            constant: list[Tensor | None] = [None] * len(bank.code_dims)
            if learned:
                for layer, code in enumerate(model.codes(torch.empty(0))):
                    if not (self.given_class and self.class_dims[layer]):
                        constant[layer] = code
            self.bank = bank.fold(constant, dtype)
            if self.given_class:
                self.classes = bank.class_table().detach().clone()
        self.constant_codes = any(code is not None for code in constant)
        self.lowest_res, self.wanted = model.encoder.resolutions[-1], set(model.decoder.resolutions)
        self.wants_input = getattr(model.decoder, 'wants_input', False)
        self.resolutions = [res for res in bank.resolutions if res <= max(self.wanted, default=0)]
        self.finish: Finish | None = None

    def forward(
        self,
        lq: Tensor,
        label: Tensor | None = None,
        codes: Sequence[Tensor | None] | None = None,
        any_size: bool = False,
    ) -> Tensor:
        """(N, C, in_size, in_size), and with ``given_class`` the classes (N,) -> (N, C', out_size, out_size), float32.

        ``codes``, as ``model.encode`` gives them, take the place of this input's own, where all of them depend on it.
        ``any_size`` is the same as :meth:`forward_any`.

        Raises:
            ValueError: On an input of another size; on a label that is missing, not wanted or no class; on codes in
                place of learned ones.
        """
        if any_size:
            return self.forward_any(lq, label)
        check_label(label, self.given_class)
        check_codes(codes, self.constant_codes)
        check_size(lq, self.in_size, self.out_size)
        return self.restore(lq, self.embed(label), codes)

    def forward_any(self, lq: Tensor, label: Tensor | None = None, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """As :meth:`GLEAN.forward_any`."""
        check_label(label, self.given_class)
        check_any_size(self, lq, origin)
        return self.restore(lq, self.embed(label), None, self.noises_at(lq, origin))

    def embed(self, label: Tensor | None) -> Tensor | None:
        """The embedding (N, dim) of the classes (N,)."""
        return None if label is None else class_embedding(self.classes, label)

    def noises_at(self, lq: Tensor, origin: tuple[int, int]) -> Noises:
        """The bank's noise maps for an input at a place of a larger one."""
        scale = self.out_size // self.in_size
        (height, width), (top, left) = lq.shape[-2:], origin
        return self.bank.tiled_noises((scale * height, scale * width), (scale * top, scale * left)) or None

    @torch.no_grad()
    def restore(
        self,
        lq: Tensor,
        embedding: Tensor | None = None,
        codes: Sequence[Tensor | None] | None = None,
        noises: Noises = None,
    ) -> Tensor:
        """As a call, without checks: inputs of any size with ``noises`` of theirs in place of the bank's own."""
        at_once = max(1, PIXELS // max(lq.shape[-2] * lq.shape[-1], TOGETHER_UP_TO**2))
        images = []
        for first in range(0, len(lq), at_once):
            some = slice(first, first + at_once)
            images += self._some(
                lq[some],
                None if embedding is None else embedding[some],
                None if codes is None else codes_of(codes, some),
                noises,
            )
        return images[0] if len(images) == 1 else torch.cat(images)

    def _some(
        self, lq: Tensor, embedding: Tensor | None, given: Sequence[Tensor | None] | None, noises: Noises
    ) -> list[Tensor]:
        """Images (1, C', s H, s W) of inputs whose maps fit into memory together."""
        features = self.encoder(lq.to(self.dtype, memory_format=torch.channels_last))
        if given is None:
            codes = self.codes(features[self.lowest_res])
            if embedding is not None:
                codes = with_class(codes, embedding, self.class_dims)
        else:
            codes = [code if code is None else code.to(self.dtype) for code in given]
        f_0 = features[self.in_size]
        together_up_to = self.in_size if self.finish else max(self.in_size, TOGETHER_UP_TO)
        together = [res for res in self.resolutions if res <= together_up_to]
        above = self.resolutions[len(together):]
        g = None if self.bank.start_res == 4 else features[self.bank.start_res // 2]
        g, taken = self._bank(together, codes, g, features, noises)
        del features
        images = []
        for index in range(len(lq)):
            only = slice(index, index + 1)
            own_codes, own_g = codes_of(codes, only), g if g is None or len(g) == 1 else g[only]
            if self.finish is not None:
                images.append(self.finish(f_0[only], own_g, own_codes, noises, lq[only]))
                continue
            _, own = self._bank(above, own_codes, own_g, {}, noises)
            own |= {res: feature if len(feature) == 1 else feature[only] for res, feature in taken.items()}
            inputs = (lq[only],) if self.wants_input else ()
            images.append(self.decoder(f_0[only], own, *inputs).float())
        return images

    def _bank(
        self,
        resolutions: Sequence[int],
        codes: Sequence[Tensor | None],
        g: Tensor | None,
        features: dict[int, Tensor],
        noises: Noises,
    ) -> tuple[Tensor | None, dict[int, Tensor]]:
        """Eq. 3, or Eq. 10 where the bank starts above 4, over some resolutions: the last feature, and the wanted."""
        taken: dict[int, Tensor] = {}
        for res in resolutions:
            g = feature = self.bank.step(res, codes, g, None if noises is None else noises[res])
            if str(res) in self.fusions:
                encoded = features[res]
                g = feature = self.fusions[str(res)](torch.cat([feature.expand_as(encoded), encoded], dim=1))
            if res in self.wanted:
                taken[res] = feature
        return g, taken
