"""A GLEAN for inference: the same pictures in less time and memory."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.inference.conv import Conv3x3, ThinConv, nhwc
from glean_plus.inference.maps import inside, padded, with_border
from glean_plus.inference.style import Scales, StyleBlock, StyleLayer
from glean_plus.inference.winograd import Workspace
from glean_plus.models.banks.stylegan2 import StyleGAN2Bank
from glean_plus.models.codes import LearnedCodes
from glean_plus.models.decoder import GLEANDecoder
from glean_plus.models.glean import GLEAN, check_size
from glean_plus.models.ops import LRELU_SLOPE

DTYPES = (torch.float32, torch.bfloat16)
# Rows of the last resolution in one go, and how many more are computed on each side: three convolutions need three, and
# half of the number must be a multiple of Winograd's 4.
BAND, MARGIN = 128, 8


class FoldedGLEAN(nn.Module):
    """What ``model.fold()`` makes: called as the model, with its weights as they were then.

    * Learned codes are the same for every picture, so LightGLEAN's modulated convolutions are plain ones here. Codes
      that depend on the picture scale the maps between the convolutions, not the weights of each picture.
    * Convolutions with stride 1 multiply half or a quarter as often, by Winograd's algorithm.
    * A map is worked on in strips that stay in cache, with noise, bias and activation of a strip at once; features are
      written to where their concatenation is read. Pictures of a batch are finished one after the other.

    It is no module for training, and not for two threads at a time. In float32 it shares the encoder and what makes
    codes and scales with the model; the rest are copies, and nothing else of the model is needed. It stays on the
    device that the model was on.

    Args:
        model: A GLEAN or LightGLEAN on a ``StyleGAN2Bank`` with a ``GLEANDecoder``. Its encoder's weights are laid out
            as channels_last.
        dtype: float32, which gives the model's pictures up to rounding, or bfloat16.

    Raises:
        TypeError: If the bank or the decoder is another one.
        ValueError: On another type.
    """

    def __init__(self, model: GLEAN, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {DTYPES}, but is {dtype}.')
        for part, kind in ((model.bank, StyleGAN2Bank), (model.decoder, GLEANDecoder)):
            if type(part) is not kind:
                raise TypeError(f'Only a {kind.__name__} can be folded, but the model has a {type(part).__name__}.')
        self.dtype, self.in_size, self.out_size = dtype, model.in_size, model.out_size
        self.encoder, self.codes = model.encoder, model.codes
        if dtype != torch.float32:
            self.encoder, self.codes = (copy.deepcopy(part).to(dtype) for part in (self.encoder, self.codes))
        self.encoder.to(memory_format=torch.channels_last)
        self.workspace = Workspace()
        with torch.no_grad():
            self._prepare(model)

    def _prepare(self, model: GLEAN) -> None:
        bank, decoder, dtype = model.bank, model.decoder, self.dtype
        codes = list(model.codes(torch.empty(0))) if isinstance(model.codes, LearnedCodes) else None
        self.start_res, self.resolutions, self.channels = bank.start_res, bank.resolutions, dict(bank.channels)
        self.joined = set(decoder.resolutions)
        self.first: StyleLayer | None = None
        if bank.start_res == 4:
            code = None if codes is None else codes[0]
            self.first = StyleLayer(bank.conv1, bank.injected_noise_0, code, dtype)
            self.constant = nhwc(bank.constant_input.input).to(dtype)
        self.blocks = {res: StyleBlock(bank, res, codes, dtype) for res in bank.resolutions if res > 4}
        self.fusions = {
            int(res): Conv3x3(conv.weight, conv.bias, dtype, int(res)) for res, conv in model.fusions.items()
        }
        self.stages = {
            res: Conv3x3(stage.upsample_conv.weight, stage.upsample_conv.bias, dtype, res // 2, shuffle=True)
            for res, stage in zip(decoder.stage_resolutions, decoder.stages)
        }
        last = decoder.last
        self.hidden: Conv3x3 | None = None
        if isinstance(last, nn.Sequential):
            self.hidden = Conv3x3(last[0].weight, last[0].bias, dtype, self.out_size)
            last = last[-1]
        self.last = ThinConv(last.weight, last.bias, dtype)

    @torch.no_grad()
    def forward(self, lq: Tensor) -> Tensor:
        """(N, C, in_size, in_size) -> (N, C', out_size, out_size), float32.

        Raises:
            ValueError: On an input of another size.
        """
        check_size(lq, self.in_size, self.out_size)
        features = self.encoder(lq.to(self.dtype, memory_format=torch.channels_last))
        codes = [None if code is None else code.float() for code in self.codes(features[self.encoder.resolutions[-1]])]
        maps = {res: nhwc(feature) for res, feature in features.items()}
        g = self._up_to_input(maps, codes)
        out = lq.new_empty(len(lq), self.last.out_channels, self.out_size, self.out_size, dtype=torch.float32)
        for index, picture in enumerate(out):  # one at a time: the maps above the input's size are large
            only = slice(index, index + 1)
            own = [code if code is None or len(code) == 1 else code[only] for code in codes]
            self._above_input(maps[self.in_size][only], g[only], own, picture)
        return out

    def _up_to_input(self, maps: Mapping[int, Tensor], codes: Sequence[Tensor | None]) -> Tensor:
        """The bank up to the input's resolution, fused with the encoder's features: g."""
        images, work = len(maps[self.in_size]), self.workspace
        if self.start_res > 4:
            g = with_border(maps[self.start_res // 2], work, 'g')
        for res in self.resolutions:
            if res > self.in_size:
                break
            width, fusion = self.channels[res], self.fusions.get(res)
            both = padded(work, 'both', images, res, res, width if fusion is None else 2 * width, maps[self.in_size])
            own = inside(both)[..., :width]
            if res == 4:
                self._start(own, codes[0])
            else:
                scales = self.blocks[res].scales(codes)
                self.blocks[res].scale_input(g, scales)
                self.blocks[res](g, own, scales, work)
            g = padded(work, 'g', images, res, res, width, like=both)
            if fusion is None:
                inside(g).copy_(own)
            else:
                inside(both)[..., width:].copy_(maps[res])
                fusion(both, inside(g), work)
        return inside(g).clone()

    def _start(self, out: Tensor, code: Tensor | None) -> None:
        """The block at 4, from the constant."""
        if self.first is None or code is None:
            raise RuntimeError('A bank without a block at 4 has nothing to start from.')
        constant = with_border(self.constant.expand(len(out), -1, -1, -1), self.workspace, 'g')
        if self.first.constant:
            self.first(constant, out, self.workspace)
        else:
            scale, out_scale = self.first.scales(code)
            self.first(constant.mul_(scale), out, self.workspace, out_scale)

    def _above_input(self, f_0: Tensor, g: Tensor, codes: Sequence[Tensor | None], picture: Tensor) -> None:
        """f_0 and the bank's feature g of one image -> ``picture`` (C', out_size, out_size)."""
        work = self.workspace
        d, g = with_border(f_0, work, 'd'), with_border(g, work, 'g')
        names = itertools.cycle(['e', 'd'])  # what is read and what is written must not share memory
        for res in self.stages:
            block = self.blocks[res]
            scales = block.scales(codes)
            block.scale_input(g, scales)
            if res == self.out_size:
                break
            # The bank's feature is computed for itself or for a later one.
            needed = any(above in self.joined for above in self.resolutions if above >= res)
            both = padded(work, next(names), 1, res, res, self._width(res), like=d)
            feature = self._stage(res, d, g if needed else None, both, scales, 0)
            if feature is not None:
                g = with_border(feature, work, 'g')
            d = both
        name = next(names)
        for top in range(0, self.out_size, BAND):
            self._band(d, g, scales, picture, top, min(top + BAND, self.out_size), name)

    def _width(self, res: int) -> int:
        """Channels of the decoder's map at a resolution, with the bank's feature if it joins."""
        return self.stages[res].out_channels // 4 + (self.channels[res] if res in self.joined else 0)

    def _stage(self, res: int, d: Tensor, g: Tensor | None, both: Tensor, scales: Scales, row: int) -> Tensor | None:
        """Rows of d and g, of half the resolution and with neighbours, -> ``both``; returns the bank's feature."""
        width = self.stages[res].out_channels // 4
        self.stages[res](d, inside(both)[..., :width], self.workspace)
        if g is None:
            return None
        feature = inside(both)[..., width:]
        if res not in self.joined:
            images, height, length = inside(both).shape[:3]
            feature = inside(padded(self.workspace, 'alone', images, height, length, self.channels[res], both))
        self.blocks[res](g, feature, scales, self.workspace, row)
        return feature

    def _band(
        self, d: Tensor, g: Tensor, scales: Scales, picture: Tensor, top: int, bottom: int, name: str
    ) -> None:
        """Rows ``top`` to ``bottom`` of the last resolution, whose maps are the largest.

        Some rows more are computed on both sides, as each convolution needs a neighbour.
        """
        work, res = self.workspace, self.out_size
        first, last = max(top - MARGIN, 0), min(bottom + MARGIN, res)
        rows = slice(first // 2, last // 2 + 2)  # with a neighbour on each side, which the border shifts by one
        both = padded(work, name, 1, last - first, res, self._width(res), like=d)
        joined = g[:, rows] if res in self.joined else None
        self._stage(res, d[:, rows], joined, both, scales, first)
        if self.hidden is None:
            self.last(both[0, top - first:bottom - first + 2], picture[:, top:bottom], work)
            return
        hidden = padded(work, 'hidden', 1, last - first, res, self.hidden.out_channels, like=d)
        planes = self.last.start(last - first, res, work, like=d)

        def finish(part: Tensor, row: int) -> None:
            F.leaky_relu_(part, LRELU_SLOPE)
            self.last.multiply(hidden[0, row + 1:row + 1 + part.shape[1]], planes, row + 1)

        self.hidden(both, inside(hidden), work, finish)
        planes = planes.view(len(planes), last - first + 2, res + 2)[:, top - first:bottom - first + 2]
        self.last.sum(planes, picture[:, top:bottom])
