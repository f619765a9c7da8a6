"""Any GLEAN for inference, by PyTorch's operations: the same pictures in less time and memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from glean_plus.accel.biggan import FoldedBigGAN
from glean_plus.accel.conv import nchw, nhwc
from glean_plus.accel.convolutions import Convolution, Convolutions
from glean_plus.accel.encoder import FoldedEncoder
from glean_plus.accel.layers import Conv, SharedConv, can_share
from glean_plus.accel.maps import inside, padded
from glean_plus.accel.stylegan import FoldedStyleGAN1, FoldedStyleGAN2
from glean_plus.accel.winograd import Workspace
from glean_plus.models.banks import BigGANBank, BigGANDeepBank, LatentBank, StyleGAN1Bank, StyleGAN2Bank
from glean_plus.models.banks.biggan import class_embedding
from glean_plus.models.codes import LearnedCodes, check_codes, codes_of
from glean_plus.models.decoder import GLEANDecoder
from glean_plus.models.encoder import GLEANEncoder
from glean_plus.models.glean import GLEAN, check_label, check_size, with_class
from glean_plus.models.heads import ColorizationHead

# Pictures are finished one after the other above the input's size and this one, as large maps gain nothing by a batch.
TOGETHER_UP_TO = 64
# As many pixels of maps as that are worked on at a time.
PIXELS = 8 * TOGETHER_UP_TO**2
# From this size of maps on, Winograd's algorithm without a compiled kernel is worth the memory of its filters.
LARGE_FROM = 64
# Measured at 256 px: 0.8 of the time of PyTorch's convolutions and concatenations; no gain in bfloat16.
ENCODER_FROM = 128


class FoldedBank(Protocol):
    """A bank whose constants are resolved."""

    def step(self, resolution: int, codes: Sequence[Tensor | None], feature: Tensor | None = None) -> Tensor: ...


BANKS: dict[type[LatentBank], Callable[..., FoldedBank]] = {
    StyleGAN1Bank: FoldedStyleGAN1,
    StyleGAN2Bank: FoldedStyleGAN2,
    BigGANBank: FoldedBigGAN,
    BigGANDeepBank: FoldedBigGAN,
}
DECODERS: tuple[type[nn.Module], ...] = (GLEANDecoder, ColorizationHead)


class Fusion:
    """The convolution that fuses an encoder's feature into the bank's (S' of Eq. 3).

    Args:
        conv: The module.
        resolution: Of the features.
        convolutions: What makes convolutions of large maps.
        workspace: For what is computed on the way.
    """

    def __init__(self, conv: nn.Conv2d, resolution: int, convolutions: Convolutions, workspace: Workspace) -> None:
        self.workspace = workspace
        self.large: Convolution | None = None
        if resolution >= (32 if convolutions.compiled else LARGE_FROM):
            self.large = convolutions.conv(conv.weight, conv.bias, resolution, resolution)
        else:
            self.small = Conv(conv.weight, conv.bias, convolutions.dtype)

    def __call__(self, g: Tensor, feature: Tensor) -> Tensor:
        """(N or 1, C, H, W) and (N, C, H, W) -> (N, C, H, W)."""
        if self.large is None:
            return self.small(torch.cat([g.expand_as(feature), feature], dim=1))
        maps = nhwc(feature)
        images, height, width, channels = maps.shape
        both = padded(self.workspace, 'both', images, height, width, 2 * channels, like=maps)
        inside(both).unflatten(3, (2, -1))[..., 0, :].copy_(nhwc(g))
        inside(both).unflatten(3, (2, -1))[..., 1, :].copy_(maps)
        out = maps.new_empty(maps.shape)
        self.large(both, out, self.workspace)
        return nchw(out)


class FoldedModel(nn.Module):
    """What ``model.fold()`` makes of most models: called as the model, with its weights as they were then.

    * What depends on constants alone is computed once: spectral and batch norm, learned codes and what they make of
      modulation and conditional batch norm, noise, bank features before the first that depends on a picture.
    * Constants are in the weights of the convolution before them, repetition in those of the one after it.
    * The bank ends at the last feature that the decoder takes.
    * Maps are channels_last. The pictures of a batch are finished one after the other where maps are large.

    It is no module for training, and not for two threads at a time. In float32 it shares the encoder and what predicts
    codes with the model; the rest are copies, and nothing else of the model is needed. It stays on the device that the
    model was on.

    Args:
        model: A GLEAN or LightGLEAN with one of our banks and a ``GLEANDecoder`` or ``ColorizationHead``. Its encoder's
            weights are laid out as channels_last.
        dtype: float32, which gives the model's pictures up to rounding, or bfloat16.
        compiled: For the encoder and its fusion into the bank, take a kernel that is built for this machine, see
            :class:`FoldedGLEAN`.

    Raises:
        CompilerError: If the kernel cannot be built.
        TypeError: If the bank or the decoder is another one, be it derived from ours.
        ValueError: On another type, or where there is no such kernel.
    """

    def __init__(self, model: GLEAN, dtype: torch.dtype = torch.float32, compiled: bool = False) -> None:
        super().__init__()
        for part, known in ((model.bank, BANKS), (model.decoder, DECODERS)):
            if type(part) not in known:
                raise TypeError(
                    f'A {type(part).__name__} cannot be folded, only {", ".join(kind.__name__ for kind in known)}: use '
                    'the model as it is.'
                )
        convolutions = Convolutions(dtype, next(model.parameters()).device, compiled)
        self.dtype, self.in_size, self.out_size = dtype, model.in_size, model.out_size
        self.given_class, self.class_dims = model.given_class, tuple(model.bank.class_dims)
        self.encoder, self.lowest_res = _shared(model.encoder, dtype), model.encoder.resolutions[-1]
        self.codes = (_copied if isinstance(model.codes, LearnedCodes) else _shared)(model.codes, dtype)
        self.decoder = _copied(model.decoder, dtype)
        self.decoder.to(memory_format=torch.channels_last)
        self.wants_input = getattr(model.decoder, 'wants_input', False)
        with torch.no_grad():
            self._prepare(model, convolutions, Workspace())

    def _prepare(self, model: GLEAN, convolutions: Convolutions, workspace: Workspace) -> None:
        bank = model.bank
        on_cpu = next(model.parameters()).device.type == 'cpu'
        large = self.in_size >= ENCODER_FROM and self.dtype == torch.float32 and on_cpu
        if type(model.encoder) is GLEANEncoder and (convolutions.compiled or large):
            self.encoder = FoldedEncoder(self.encoder, convolutions, workspace)
        constant: list[Tensor | None] = [None] * len(bank.code_dims)
        if isinstance(model.codes, LearnedCodes):
            for layer, code in enumerate(model.codes(torch.empty(0))):
                if not (self.given_class and self.class_dims[layer]):
                    constant[layer] = code
        self.constant_codes = any(code is not None for code in constant)
        self.bank = BANKS[type(bank)](bank, constant, self.dtype)
        self.classes = bank.shared_embedding.weight.detach().clone() if self.given_class else None
        self.wanted = set(model.decoder.resolutions)
        highest = max(self.wanted, default=0)
        self.resolutions = [res for res in bank.resolutions if res <= highest]
        self.start = None if bank.start_res == 4 else bank.start_res // 2
        self.fusions = {
            int(res): Fusion(conv, int(res), convolutions, workspace) for res, conv in model.fusions.items()
        }

    @torch.no_grad()
    def forward(
        self, lq: Tensor, label: Tensor | None = None, codes: Sequence[Tensor | None] | None = None
    ) -> Tensor:
        """(N, C, in_size, in_size), and with ``given_class`` the classes (N,) -> (N, C', out_size, out_size), float32.

        ``codes``, as ``model.encode`` gives them, take the place of this input's own, where all of them depend on it.

        Raises:
            ValueError: On an input of another size; on a label that is missing, not wanted or no class; on codes in
                place of learned ones.
        """
        check_label(label, self.given_class)
        check_codes(codes, self.constant_codes)
        check_size(lq, self.in_size, self.out_size)
        at_once = max(1, PIXELS // max(self.in_size, TOGETHER_UP_TO)**2)
        embedding = None if label is None else class_embedding(self.classes, label)
        pictures = []
        for first in range(0, len(lq), at_once):
            some = slice(first, first + at_once)
            pictures += self._some(
                lq[some],
                None if embedding is None else embedding[some],
                None if codes is None else codes_of(codes, some),
            )
        return torch.cat(pictures)

    def _some(
        self, lq: Tensor, embedding: Tensor | None, given: Sequence[Tensor | None] | None
    ) -> list[Tensor]:
        """Pictures (1, C', out_size, out_size) of inputs whose maps fit into memory together."""
        features = self.encoder(lq.to(self.dtype, memory_format=torch.channels_last))
        if given is None:
            codes = self.codes(features[self.lowest_res])
            if embedding is not None:
                codes = with_class(codes, embedding, self.class_dims)
        else:
            codes = [code if code is None else code.to(self.dtype) for code in given]
        f_0 = features[self.in_size]
        together = [res for res in self.resolutions if res <= max(self.in_size, TOGETHER_UP_TO)]
        above = self.resolutions[len(together):]
        taken: dict[int, Tensor] = {}
        g = None if self.start is None else features[self.start]
        g = self._walk(together, codes, g, features, taken)
        del features
        pictures = []
        for index in range(len(lq)):
            only = slice(index, index + 1)
            own_codes = codes_of(codes, only)
            own = {res: feature[only] for res, feature in taken.items()}
            self._walk(above, own_codes, None if g is None else g[only], {}, own)
            inputs = (lq[only],) if self.wants_input else ()
            pictures.append(self.decoder(f_0[only], own, *inputs).float())
        return pictures

    def _walk(
        self,
        resolutions: Sequence[int],
        codes: Sequence[Tensor | None],
        g: Tensor | None,
        features: dict[int, Tensor],
        taken: dict[int, Tensor],
    ) -> Tensor | None:
        """Eq. 3, or Eq. 10 where the bank starts above 4, over some resolutions; what is wanted goes to ``taken``."""
        for res in resolutions:
            g = self.bank.step(res, codes, g)
            if res in self.fusions:
                g = self.fusions[res](g, features[res])
            if res in self.wanted:
                taken[res] = g
        return g


def _shared(part: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A part whose weights are the model's, laid out as channels_last, or a copy in another type."""
    own = {} if dtype != torch.float32 else {id(each): each for each in part.parameters()}
    part = copy.deepcopy(part, own).to(dtype).eval()
    for parent in [*part.modules()]:
        for name, conv in parent.named_children():
            if type(conv) is nn.Conv2d and can_share(conv):
                setattr(parent, name, SharedConv(conv.to(memory_format=torch.channels_last)))
    return part


def _copied(part: nn.Module, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(part).to(dtype).requires_grad_(False).eval()
