"""What folded banks are made of: convolutions with constant weights on channels_last maps, by PyTorch's operations.

All of it can be traced, so this is also what is exported.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.containers import ModuleDict, ModuleList
from glean_plus.models.ops import depthwise, repeating_kernel
from glean_plus.models.spectral_norm import SpectralNorm

if TYPE_CHECKING:
    from glean_plus.models.banks import LatentBank

# At so few positions and from so many channels on, a convolution spends most of its time on rearranging the weights,
# and a matrix product does not: on CPUs, it is up to 4 times as fast at 16 positions, and 1.9 times at 64.
FEW, MANY = 64, 1024


def tracing() -> bool:
    """Whether a graph is being made, by ``torch.jit.trace`` or by ``torch.export``."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def weight_of(layer: SpectralNorm | nn.Conv2d | nn.Linear) -> Tensor:
    """A layer's weight in evaluation mode, its spectral normalization resolved."""
    return layer.plain_weight() if isinstance(layer, SpectralNorm) else layer.weight


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    """A convolution padded by half its kernel: (N, C, H, W), (K, C, k, k) -> (N, K, H', W'), all channels_last."""
    kernel = weight.shape[-1]
    padding = kernel // 2
    height, width = ((size - 1) // stride + 1 for size in x.shape[2:])
    pays = min(weight.shape[:2]) >= MANY and len(x) * height * width <= FEW
    if not pays or x.device.type != 'cpu' or kernel == 1 or tracing():
        return F.conv2d(x, weight, bias, stride, padding)
    x = F.pad(x, (padding,) * 4).permute(0, 2, 3, 1)
    rows, columns = (
        [slice(first, first + stride * (size - 1) + 1, stride) for first in range(kernel)] for size in (height, width)
    )
    patches = torch.cat([x[:, row, column] for row in rows for column in columns], dim=3)    # [N, H', W', kkC]
    return F.linear(patches, weight.permute(0, 2, 3, 1).flatten(1), bias).permute(0, 3, 1, 2)


class FoldedFIR(nn.Module):
    """A FIR filter (4, 4) or (3, 3) of each channel, padded by one pixel: (N, C, H, W) -> (N, C, H', W')."""

    weight: Tensor

    def __init__(self, kernel: Tensor, channels: int) -> None:
        super().__init__()
        self.register_buffer('weight', depthwise(kernel, channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.to(x.dtype), padding=1, groups=len(self.weight))


class FoldedConv(nn.Module):
    """Convolution with constant weights, padded by half its kernel.

    Args:
        weight: (K, C, k, k).
        bias: (K,), or None.
        stride: Of the convolution.
        up: None; ``repeat``: double the size by repetition first, k being 3 (on CPUs, one transposed convolution of
            kernel 4 takes 0.3 to 0.55 of the time of both); ``fir``: StyleGAN2's up-sampling, a transposed convolution
            with stride 2 and then ``fir``.
        fir: Kernel of the FIR filter, (4, 4).
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: int = 1, up: str | None = None, fir: Tensor | None = None
    ) -> None:
        super().__init__()
        self.weight, self.bias, self.stride, self.up = weight, bias, stride, up
        self.fir = None if fir is None else FoldedFIR(fir, weight.shape[1])

    @classmethod
    def of(
        cls,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        up: str | None = None,
        fir: Tensor | None = None,
    ) -> FoldedConv:
        """From copies in a type of the maps, so that what is folded does not change with the model."""
        if up is not None:
            weight = repeating_kernel(weight) if up == 'repeat' else weight.transpose(0, 1)
        weight = weight.detach().to(dtype, copy=True, memory_format=torch.channels_last)
        bias = None if bias is None else bias.detach().to(dtype, copy=True)
        own_bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        return cls(nn.Parameter(weight, requires_grad=False), own_bias, 1, up, fir)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H', W')."""
        if self.up is None:
            return convolve(x, self.weight, self.bias, self.stride)
        fir = self.fir
        if fir is None:
            return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)
        x = fir(F.conv_transpose2d(x, self.weight, stride=2))
        return x if self.bias is None else x.add_(self.bias.view(1, -1, 1, 1))


class FoldedLinear(nn.Module):
    """A linear layer of the code, in float32: (N, code_dim) -> (N, K), or (1, K) of the one code of all images.

    Args:
        weight: (K, code_dim).
        bias: (K,).
        code: The code (1, code_dim) of all images, or None if each has its own.

    Attributes:
        constant: The result (1, K) where there is one code; otherwise None.
    """

    weight: Tensor  # this and the bias are not there where the result is constant
    bias: Tensor
    constant: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor, code: Tensor | None) -> None:
        super().__init__()
        own = code is None
        self.register_buffer('weight', weight.detach().clone() if own else None)
        self.register_buffer('bias', bias.detach().clone() if own else None)
        self.register_buffer('constant', None if code is None else F.linear(code.float(), weight, bias).detach())

    def forward(self, code: Tensor | None) -> Tensor:
        return F.linear(needed(code).float(), self.weight, self.bias) if self.constant is None else self.constant


def fold_convolutions(part: nn.Module, dtype: torch.dtype, shared: bool) -> nn.Module:
    """A copy of a part of a network in another type, its plain convolutions as :class:`FoldedConv`.

    Args:
        part: The module.
        dtype: Of the maps.
        shared: In float32, use the weights of the part itself, which are laid out as channels_last.
    """
    own = {id(each): each for each in part.parameters()} if shared and dtype == torch.float32 else {}
    part = copy.deepcopy(part, own).to(dtype).eval()
    if not own:
        part.requires_grad_(False)
    for parent in [*part.modules()]:
        for name, conv in parent.named_children():
            if type(conv) is nn.Conv2d and _is_plain(conv):
                conv.to(memory_format=torch.channels_last)
                setattr(parent, name, FoldedConv(conv.weight, conv.bias, conv.stride[0]))
    return part


def _is_plain(conv: nn.Conv2d) -> bool:
    """Whether it is padded with zeros by half its kernel and has no other options that :func:`convolve` lacks."""
    (rows, columns), (down, across) = conv.kernel_size, conv.stride
    plain = conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == 'zeros'
    return plain and rows == columns and down == across and conv.padding == (rows // 2, rows // 2)


def missing_feature(resolution: int) -> ValueError:
    """What a step raises that is given no feature to start from."""
    return ValueError(f'The block at {resolution} needs a feature of the resolution below; only 4 needs none.')


def needed(code: Tensor | None) -> Tensor:
    """The code of a layer that takes one, which banks and folded models keep among the codes of all layers.

    Raises:
        ValueError: If there is none.
    """
    if code is None:
        raise ValueError('A layer of the bank needs a code, but is given None.')
    return code


def tile_noises(
    maps: Mapping[int, Sequence[Tensor]], size: tuple[int, int], corner: tuple[int, int]
) -> dict[int, list[Tensor]]:
    """Noise maps (1, 1, h, w) by resolution, repeated without end -> parts of them for an image of another size.

    Args:
        maps: Of each block.
        size: Height and width of the image, in pixels of the last block.
        corner: Row and column of the endless image at which it begins.
    """
    tiled: dict[int, list[Tensor]] = {}
    for res, own in maps.items():
        shrink, tiled[res] = max(maps) // res, []
        for noise in own:
            rows, columns = (
                torch.arange(first // shrink, first // shrink + length // shrink, device=noise.device) % side
                for first, length, side in zip(corner, size, noise.shape[2:])
            )
            tiled[res].append(noise[:, :, rows][:, :, :, columns])
    return tiled


class FoldedLayer(nn.Module):
    """A layer of a folded bank.

    Args:
        noise: Its fixed noise map (1, 1, H, W), float32; None if it adds none.

    Attributes:
        index: Of its code; None if it takes none.
    """

    index: int | None = None
    noise: Tensor | None

    def __init__(self, noise: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer('noise', None if noise is None else noise.detach().clone())

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        """x (N, C, H, W), code (N or 1, dim) and the noise map in place of its own -> (N, K, H', W')."""
        raise NotImplementedError


class ConvolvingLayer(FoldedLayer):
    """A layer that is a convolution between scales, then bias, noise and leaky ReLU, and nothing more.

    Attributes:
        constant: It has the same code for all images, whose scales are in its weights.
        conv: The convolution, with the bias if the code is constant.
        bias: (K,), float32.
    """

    index: int
    constant: bool
    conv: FoldedConv
    bias: Tensor
    noise: Tensor

    def scales(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, style_channels) -> scales of the inputs (N, C) and of the results (N, K), float32."""
        raise NotImplementedError

    def release(self) -> None:
        """Free the weights of the convolution, once something else has them; the layer cannot be called any more."""
        self.add_module('conv', None)


class FoldedBank(nn.Module):
    """A latent bank for inference, as its ``fold`` makes it.

    Args:
        layers: Of each resolution, in order.
        start: What the first block starts from, (1, C, 4, 4); None if it takes a feature, or its code alone.
        constant: The feature at 4 is the same for all images, as the code of its layers is.
    """

    start: Tensor | None
    constant: Tensor | None

    def __init__(
        self, layers: Mapping[int, Sequence[FoldedLayer]], start: Tensor | None = None, constant: bool = False
    ) -> None:
        super().__init__()
        self.resolutions = tuple(layers)
        self.start_res = self.resolutions[0]
        self.layers = ModuleDict({str(res): ModuleList(each) for res, each in layers.items()})
        self.register_buffer('start', start)
        self.register_buffer('constant', None)
        if constant:
            self.constant = self._run(4, start, [None] * len(layers[4]))
            del self.layers['4'], self.start

    def step(
        self,
        resolution: int,
        codes: Sequence[Tensor | None],
        feature: Tensor | None = None,
        noises: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """See :meth:`LatentBank.step`; of what is constant the result may have N = 1."""
        if resolution == 4:
            if self.constant is not None:
                return self.constant
            feature = self.start
        elif feature is None:
            raise missing_feature(resolution)
        own = [None if layer.index is None else codes[layer.index] for layer in self.layers[str(resolution)]]
        return self._run(resolution, feature, own, noises)

    def _run(
        self,
        resolution: int,
        feature: Tensor | None,
        codes: Sequence[Tensor | None],
        noises: Sequence[Tensor] | None = None,
    ) -> Tensor:
        result: Any = feature  # None only before a first layer that starts from its code
        for number, (layer, code) in enumerate(zip(self.layers[str(resolution)], codes)):
            result = layer(result, code, layer.noise if noises is None else noises[number])
        return result

    def tiled_noises(self, size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> dict[int, list[Tensor]]:
        """See :meth:`LatentBank.tiled_noises`; the strength of the noise is in the maps."""
        maps = {res: [layer.noise for layer in self.layers[str(res)] if layer.noise is not None]
                for res in self.resolutions}  # fmt: skip
        return tile_noises(maps, size, corner) if any(maps.values()) else {}


class CopiedBank(nn.Module):
    """A bank that does not say how it folds: a copy, as it is."""

    def __init__(self, bank: LatentBank, dtype: torch.dtype) -> None:
        super().__init__()
        self.bank = copy.deepcopy(bank).to(dtype).requires_grad_(False).eval()
        self.resolutions, self.start_res = bank.resolutions, bank.start_res
        self.step, self.tiled_noises = self.bank.step, self.bank.tiled_noises
        self.layers: dict[str, Sequence[FoldedLayer]] = {}
        self.constant = None
