"""Convolutions of constant weights on (N, C, H, W) maps, channels_last, by PyTorch's operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks.stylegan1 import repeating_kernel
from glean_plus.models.spectral_norm import SpectralNorm


def weight_of(layer: nn.Module) -> Tensor:
    """A layer's weight in evaluation mode, its spectral normalisation resolved."""
    weight: Tensor = layer.plain_weight() if isinstance(layer, SpectralNorm) else layer.weight
    return weight


# At so few positions, a convolution spends most of its time on rearranging the weights, and a matrix product does not:
# on CPUs, at 1024 channels and more, it is 1.3 times as fast at 256 positions and 5 to 9 times at 16.
FEW = 256


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    """A convolution padded by half its kernel: (N, C, H, W), (K, C, k, k) -> (N, K, H', W'), all channels_last."""
    kernel = weight.shape[-1]
    padding = kernel // 2
    height, width = ((size - 1) // stride + 1 for size in x.shape[2:])
    if x.device.type != 'cpu' or kernel == 1 or len(x) * height * width > FEW:
        return F.conv2d(x, weight, bias, stride, padding)
    x = F.pad(x, (padding,) * 4).permute(0, 2, 3, 1)
    rows, columns = (
        [slice(first, first + stride * (size - 1) + 1, stride) for first in range(kernel)] for size in (height, width)
    )
    patches = torch.cat([x[:, row, column] for row in rows for column in columns], dim=3)    # [N, H', W', kkC]
    return F.linear(patches, weight.permute(0, 2, 3, 1).flatten(1), bias).permute(0, 3, 1, 2)


def can_share(conv: nn.Conv2d) -> bool:
    """Whether :func:`convolve` does what a convolution does: padded with zeros by half its kernel, and nothing else."""
    (rows, columns), (down, across) = conv.kernel_size, conv.stride
    plain = conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == 'zeros'
    return plain and rows == columns and down == across and conv.padding == (rows // 2, rows // 2)


class SharedConv(nn.Module):
    """A ``Conv2d`` that :func:`can_share` takes, with its weights, which are laid out as channels_last."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.stride = conv.weight, conv.bias, conv.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self.stride)


class Conv:
    """Convolution with stride 1 that keeps the size, or doubles it by repetition first.

    Repetition and convolution are one transposed convolution of kernel 4: measured on CPUs at 64 to 512 channels, it
    takes 0.3 to 0.55 of the time of both.

    Args:
        weight: (K, C, k, k); k is 3 with ``up``.
        bias: (K,), or None.
        dtype: Of the maps.
        up: Double the size first.
        affine: Scale and shift (1, K) of the result, put into weight and bias.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        up: bool = False,
        affine: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        if affine is not None:
            scale, shift = affine[0][0], affine[1][0]
            weight = weight * scale[:, None, None, None]
            bias = shift if bias is None else bias * scale + shift
        self.up = up
        weight = repeating_kernel(weight) if up else weight
        self.weight = weight.detach().to(dtype, copy=True, memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W), or (N, K, 2H, 2W)."""
        if self.up:
            return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)
        return convolve(x, self.weight, self.bias)
