"""A GLEAN for inference: the same pictures in less time and memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.inference.conv import Conv3x3, ThinConv, nhwc
from glean_plus.inference.maps import inside, padded, with_border
from glean_plus.inference.style import StyleBlock, StyleLayer
from glean_plus.inference.winograd import Workspace
from glean_plus.models.banks.stylegan2 import StyleGAN2Bank
from glean_plus.models.codes import LearnedCodes
from glean_plus.models.decoder import GLEANDecoder
from glean_plus.models.glean import GLEAN, check_size
from glean_plus.models.ops import LRELU_SLOPE

DTYPES = (torch.float32, torch.bfloat16)


class FoldedGLEAN(nn.Module):
    """What ``model.fold()`` makes: called as the model, with its weights as they were then.

    * Learned codes are the same for every picture, so LightGLEAN's modulated convolutions are plain ones here. Codes
      that depend on the picture scale the maps between the convolutions, not the weights of each picture.
    * Convolutions with stride 1 multiply half or a quarter as often, by Winograd's algorithm.
    * A map is worked on in strips that stay in cache, with noise, bias and activation of a strip at once; features are
      written to where their concatenation is read. Pictures of a batch are finished one after the other.

    It is no module for training, and not for two threads at a time. It shares the encoder and the codes with the model,
    in float32, and needs nothing else of it. It stays on the device of the model.

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

    @torch.inference_mode()
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
        """The bank up to the input's resolution, fused with the encoder's features: g with its border."""
        images = len(maps[self.in_size])
        if self.start_res > 4:
            g = with_border(maps[self.start_res // 2])
        for res in self.resolutions:
            if res > self.in_size:
                break
            width, fusion = self.channels[res], self.fusions.get(res)
            both = padded(images, res, res, width if fusion is None else 2 * width, like=maps[self.in_size])
            own = inside(both)[..., :width]
            if res == 4:
                self._start(own, codes[0])
            else:
                self.blocks[res](g, own, codes, self.workspace)
            g = both
            if fusion is not None:
                inside(both)[..., width:].copy_(maps[res])
                g = padded(images, res, res, width, like=both)
                fusion(both, inside(g), self.workspace)
        return g

    def _start(self, out: Tensor, code: Tensor | None) -> None:
        """The block at 4, from the constant."""
        if self.first is None or code is None:
            raise RuntimeError('A bank without a block at 4 has nothing to start from.')
        constant = with_border(self.constant.expand(len(out), -1, -1, -1))
        if self.first.constant:
            self.first(constant, out, self.workspace)
            return
        scale, out_scale = self.first.scales(code)
        constant *= scale.to(self.dtype)[:, None, None]
        self.first(constant, out, self.workspace, out_scale)

    def _above_input(self, f_0: Tensor, g: Tensor, codes: Sequence[Tensor | None], picture: Tensor) -> None:
        """f_0 and the bank's feature g, with its border, of one image -> ``picture`` (C', out_size, out_size)."""
        d = with_border(f_0)
        for res, stage in self.stages.items():
            width, block = stage.out_channels // 4, self.blocks[res]
            both = padded(1, res, res, width + (block.channels if res in self.joined else 0), like=d)
            stage(d, inside(both)[..., :width], self.workspace)
            d = both
            if res in self.joined:
                feature = inside(both)[..., width:]
            elif any(above in self.joined for above in self.resolutions if above > res):
                feature = inside(padded(1, res, res, block.channels, like=both))
            else:
                continue  # nothing of the bank is asked for from here on
            block(g, feature, codes, self.workspace)
            if res < self.out_size:
                g = with_border(feature)
        if self.hidden is not None:
            hidden = padded(1, self.out_size, self.out_size, self.hidden.out_channels, like=d)
            self.hidden(d, inside(hidden), self.workspace, _leaky_relu)
            d = hidden
        self.last(d[0], picture, self.workspace)


def _leaky_relu(part: Tensor, top: int) -> None:
    F.leaky_relu_(part, LRELU_SLOPE)
