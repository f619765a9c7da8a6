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
        self.up, self.padding = up, weight.shape[-1] // 2
        weight = repeating_kernel(weight) if up else weight
        self.weight = weight.detach().to(dtype, copy=True, memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W), or (N, K, 2H, 2W)."""
        if self.up:
            return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)
        return F.conv2d(x, self.weight, self.bias, padding=self.padding)
