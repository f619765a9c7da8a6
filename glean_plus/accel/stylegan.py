"""The blocks of StyleGAN and StyleGAN2 with what is constant of them resolved, by PyTorch's operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.accel.layers import Conv
from glean_plus.models.banks.stylegan1 import AdaIN, StyleBlock, StyleGAN1Bank, adaptive_instance_norm
from glean_plus.models.banks.stylegan1 import Conv as EqualizedConv
from glean_plus.models.banks.stylegan2 import StyleConv, StyleGAN2Bank
from glean_plus.models.ops import LRELU_SLOPE, SQRT2, fir_filter

Bank = TypeVar('Bank', StyleGAN1Bank, StyleGAN2Bank)


class Noise:
    """The fixed noise of a layer, and the leaky ReLU after it.

    Args:
        strength: (1,), or (1, C, 1, 1).
        noise: (1, 1, H, W).
        dtype: Of the maps.
    """

    def __init__(self, strength: Tensor, noise: Tensor, dtype: torch.dtype) -> None:
        # One strength for all channels is in the map; others would make it as large as the features.
        self.strength = None if strength.numel() == 1 else strength.to(dtype, copy=True)
        self.noise = (noise if self.strength is not None else strength * noise).to(dtype, copy=True)

    def __call__(self, x: Tensor) -> Tensor:
        """Changes x (N, C, H, W)."""
        x = x.add_(self.noise) if self.strength is None else x.addcmul_(self.strength, self.noise)
        return F.leaky_relu_(x, LRELU_SLOPE)


class FoldedStyleBank(ABC, Generic[Bank]):
    """What both StyleGANs share, for :class:`FoldedModel`.

    Args:
        bank: The bank.
        codes: The code (1, style_channels) of each layer that all pictures share; None where each has its own.
        dtype: Of the maps.
    """

    def __init__(self, bank: Bank, codes: Sequence[Tensor | None], dtype: torch.dtype) -> None:
        self.layers_of = {res: bank.layers_of(res) for res in bank.resolutions}
        self.blocks = {res: self._fold(bank, res, codes, dtype) for res in bank.resolutions}
        self.constant: Tensor | None = None
        if bank.start_res == 4 and codes[0] is not None:  # the same feature for all pictures
            self.constant = self.step(4, codes)

    @abstractmethod
    def _fold(self, bank: Bank, resolution: int, codes: Sequence[Tensor | None], dtype: torch.dtype) -> Block:
        """The block of a resolution."""

    def step(self, resolution: int, codes: Sequence[Tensor | None], feature: Tensor | None = None) -> Tensor:
        """See :meth:`LatentBank.step`."""
        if resolution == 4 and self.constant is not None:
            return self.constant
        return self.blocks[resolution](feature, [codes[layer] for layer in self.layers_of[resolution]])


# ---- StyleGAN


class FoldedAdaIN:
    """Instance norm, whose statistics are each picture's own, scaled and shifted as the code says.

    Args:
        layer: The module.
        code: The code (1, style_channels) of all pictures, or None if each has its own.
    """

    def __init__(self, layer: AdaIN, code: Tensor | None) -> None:
        self.weight, self.bias, self.eps = layer.affine.weight.clone(), layer.affine.bias.clone(), layer.eps
        self.constant = None if code is None else self._affine(code)

    def _affine(self, code: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = F.linear(code.float(), self.weight, self.bias).chunk(2, dim=1)
        return scale, shift

    def __call__(self, x: Tensor, code: Tensor | None) -> Tensor:
        """(N, C, H, W) and (N or 1, style_channels) -> (N, C, H, W)."""
        scale, shift = self._affine(code) if self.constant is None else self.constant
        images = max(len(x), len(scale))
        # One picture after the other: channels of several cannot be merged where they are next to each other in memory.
        parts = (part.expand(images, *part.shape[1:]).split(1) for part in (x, scale, shift))
        normed = [adaptive_instance_norm(*each, eps=self.eps) for each in zip(*parts)]
        return normed[0] if images == 1 else torch.cat(normed)


class FoldedStyleBlock:
    """StyleGAN's block: two layers, each a convolution, noise, leaky ReLU and AdaIN.

    Args:
        block: The module.
        noises, codes: Of its two layers, see :class:`FoldedStyleBank`.
        dtype: Of the maps.
    """

    def __init__(
        self, block: StyleBlock, noises: Sequence[Tensor], codes: Sequence[Tensor | None], dtype: torch.dtype
    ) -> None:
        injectors = (block.noise_injector1, block.noise_injector2)
        self.noises = [Noise(injector.weight, noise, dtype) for injector, noise in zip(injectors, noises)]
        self.norms = [FoldedAdaIN(layer, code) for layer, code in zip((block.adain1, block.adain2), codes)]
        self.conv2 = _conv(block.conv2, dtype)
        self.start: Tensor | None = None
        if block.first:
            start = block.conv1.input.to(dtype, copy=True, memory_format=torch.channels_last)
            self.start = self.noises[0](start)
        else:
            conv, blur = block.conv1
            self.conv1, self.blur, self.official = _conv(conv, dtype), blur.kernel.clone(), block.conv1.official
            self.bias: Tensor | None = None
            if self.official:  # the blur would lessen it at the edge
                self.bias = conv.conv.bias.to(dtype, copy=True).view(1, -1, 1, 1)
                self.conv1.bias = None

    def __call__(self, x: Tensor | None, codes: Sequence[Tensor | None]) -> Tensor:
        y = self._first(x)
        y = self.norms[0](y, codes[0])
        return self.norms[1](self.noises[1](self.conv2(y)), codes[1])

    def _first(self, x: Tensor | None) -> Tensor:
        """The first layer up to its AdaIN."""
        if self.start is not None:
            return self.start
        x = self.conv1(x)
        if self.bias is None:
            return self.noises[0](fir_filter(F.leaky_relu_(x, LRELU_SLOPE), self.blur, (1, 1)))
        return self.noises[0](fir_filter(x, self.blur, (1, 1)).add_(self.bias))


def _conv(layer: EqualizedConv, dtype: torch.dtype) -> Conv:
    return Conv(layer.conv.weight, layer.conv.bias, dtype, layer.upsample)


class FoldedStyleGAN1(FoldedStyleBank[StyleGAN1Bank]):
    """A ``StyleGAN1Bank``."""

    def _fold(
        self, bank: StyleGAN1Bank, resolution: int, codes: Sequence[Tensor | None], dtype: torch.dtype
    ) -> Block:
        layers = bank.layers_of(resolution)
        noises = [getattr(bank, f'injected_noise_{layer}') for layer in layers]
        return FoldedStyleBlock(bank.convs[str(layers[0] // 2)], noises, [codes[layer] for layer in layers], dtype)


# ---- StyleGAN2


class FoldedStyleConv:
    """StyleGAN2's layer: with a constant code a convolution; with a code for each picture, one between two scales.

    Args:
        layer: The module.
        noise: (1, 1, H, W).
        code: The code (1, style_channels) of all pictures, or None if each has its own.
        dtype: Of the maps.
    """

    def __init__(self, layer: StyleConv, noise: Tensor, code: Tensor | None, dtype: torch.dtype) -> None:
        modulation = layer.conv.style_modulation
        self.constant, self.dtype = code is not None, dtype
        self.weight, self.bias = modulation.linear.weight.clone(), modulation.bias * modulation.lr_mul
        weight = layer.conv.weight_orig[0] * layer.conv.scale
        self.energy = weight.float().square().sum(dim=(2, 3))                        # [KC], for the demodulation
        if code is not None:
            scale, out_scale = self._scales(code)
            weight = weight * scale[0, :, None, None] * out_scale[0, :, None, None, None]
        self.upsample = hasattr(layer.conv, 'blur')
        self.conv = weight.transpose(0, 1) if self.upsample else weight
        self.conv = self.conv.to(dtype, copy=True, memory_format=torch.channels_last)
        self.blur = layer.conv.blur.kernel.clone() if self.upsample else None
        self.shift = (layer.activate.bias * SQRT2).to(dtype).view(1, -1, 1, 1)
        self.noise = Noise(layer.noise_injector.weight * SQRT2, noise, dtype)

    def _scales(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """(N, style_channels) -> scales of the inputs (N, C) and of the results (N, K), float32."""
        scale = F.linear(code.float(), self.weight, self.bias)
        return scale, SQRT2 * (scale.square() @ self.energy.t() + 1e-8).rsqrt()

    def __call__(self, x: Tensor, code: Tensor | None) -> Tensor:
        """(N, C, H, W) and (N, style_channels) -> (N, K, H, W), or twice the size."""
        if not self.constant:
            scale, out_scale = (each.to(self.dtype)[:, :, None, None] for each in self._scales(code))
            x = x * scale
        if self.blur is None:
            x = F.conv2d(x, self.conv, padding=1)
        else:
            x = fir_filter(F.conv_transpose2d(x, self.conv, stride=2), self.blur, (1, 1))
        x = x.add_(self.shift) if self.constant else torch.addcmul(self.shift, x, out_scale, out=x)
        return self.noise(x)


class FoldedStyleConvs:
    """The layers of a resolution of StyleGAN2, from the constant (1, C, 4, 4) if there is one."""

    def __init__(self, convs: Sequence[FoldedStyleConv], start: Tensor | None) -> None:
        self.convs, self.start = convs, start

    def __call__(self, x: Tensor | None, codes: Sequence[Tensor | None]) -> Tensor:
        first, *others = self.convs
        feature = first(self.start if x is None else x, codes[0])
        for conv, code in zip(others, codes[1:]):
            feature = conv(feature, code)
        return feature


class FoldedStyleGAN2(FoldedStyleBank[StyleGAN2Bank]):
    """A ``StyleGAN2Bank``."""

    def _fold(
        self, bank: StyleGAN2Bank, resolution: int, codes: Sequence[Tensor | None], dtype: torch.dtype
    ) -> Block:
        convs = []
        for layer in bank.layers_of(resolution):
            module = bank.conv1 if layer == 0 else bank.convs[str(layer - 1)]
            convs.append(FoldedStyleConv(module, getattr(bank, f'injected_noise_{layer}'), codes[layer], dtype))
        start = bank.constant_input.input.to(dtype, copy=True) if resolution == 4 else None
        return FoldedStyleConvs(convs, start)


Block = Union[FoldedStyleBlock, FoldedStyleConvs]
