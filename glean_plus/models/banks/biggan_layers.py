"""What both BigGANs are built from, and folded: normalized convolutions, conditional batch norm, self-attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.folding import FoldedConv, FoldedLayer, FoldedLinear, tracing, weight_of
from glean_plus.models.spectral_norm import SpectralConv2d, SpectralLinear, SpectralOptions


class Conv(nn.Module):
    """Holds a spectrally normalised convolution where MMagic's keys have it."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, sn: SpectralOptions, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = SpectralConv2d(in_channels, out_channels, kernel_size, bias, **sn)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in the code, followed by a ReLU."""

    def __init__(self, channels: int, code_dim: int, sn: SpectralOptions) -> None:
        super().__init__()
        self.gain = SpectralLinear(code_dim, channels, False, **sn)
        self.bias = SpectralLinear(code_dim, channels, False, **sn)
        self.bn = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """(N, channels, H, W) and (N or 1, code_dim) -> (N, channels, H, W)."""
        x = self.bn(x)
        gain, bias = (layer(code).to(x.dtype)[:, :, None, None] for layer in (self.gain, self.bias))  # [NC11]
        return F.relu(torch.addcmul(bias, x, 1 + gain), inplace=True)


class SelfAttention(nn.Module):
    """Every position attends to the positions of the feature at half the size (Zhang et al., ICML 2019)."""

    def __init__(self, channels: int, sn: SpectralOptions) -> None:
        super().__init__()
        if channels < 8:
            raise ValueError(f'Self-attention needs 8 channels or more, but its resolution has {channels}.')
        self.theta = Conv(channels, channels // 8, 1, sn, bias=False)
        self.phi = Conv(channels, channels // 8, 1, sn, bias=False)
        self.g = Conv(channels, channels // 2, 1, sn, bias=False)
        self.o = Conv(channels // 2, channels, 1, sn, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.theta(x).flatten(2).transpose(1, 2)                     # [N, HW, C/8]
        key = F.max_pool2d(self.phi(x), 2).flatten(2)                        # [N, C/8, HW/4]
        value = F.max_pool2d(self.g(x), 2).flatten(2).transpose(1, 2)        # [N, HW/4, C/2]
        attended = F.softmax(query @ key, dim=-1).to(value.dtype) @ value    # [N, HW, C/2]
        attended = self.o(attended.transpose(1, 2).unflatten(2, x.shape[2:]))
        return x + self.gamma.to(x.dtype) * attended.to(x.dtype)


def upsample(x: Tensor) -> Tensor:
    """Double height and width by repetition."""
    return F.interpolate(x, scale_factor=2, mode='nearest')


class FoldedNorm(nn.Module):
    """Conditional batch norm and ReLU: a scale and a shift of each channel, linear in the code.

    Args:
        layer: The module.
        code: The code (1, code_dim) of all images, or None if each has its own.
        roll: By how much the bank's weights take the code rolled.
    """

    def __init__(self, layer: ConditionalBatchNorm, code: Tensor | None, roll: int) -> None:
        super().__init__()
        gain, bias = (weight_of(part).detach().roll(roll, 1) for part in (layer.gain, layer.bias))
        # (x - mean) / std * (1 + gain c) + bias c
        factor = (layer.bn.get_buffer('running_var') + layer.bn.eps).rsqrt()
        mean = layer.bn.get_buffer('running_mean') * factor
        weight = torch.cat([factor[:, None] * gain, bias - mean[:, None] * gain])
        self.affine = FoldedLinear(weight, torch.cat([factor, -mean]), code)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        scale, shift = (each.to(x.dtype)[:, :, None, None] for each in self.affine(code).chunk(2, dim=1))
        x = torch.addcmul(shift, x, scale)
        return F.relu(x) if tracing() else F.relu_(x)  # OpenVINO takes no such chain in place


class FoldedNormedConv(nn.Module):
    """A convolution, then conditional batch norm and ReLU, whose constants are in the convolution's weights."""

    def __init__(self, conv: Conv, norm: FoldedNorm, dtype: torch.dtype, up: bool = False) -> None:
        super().__init__()
        weight, bias, constant = weight_of(conv.conv), conv.conv.bias, norm.affine.constant
        if constant is not None:
            scale, shift = constant[0].chunk(2)
            weight, bias = weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift
        self.conv = FoldedConv.of(weight, bias, dtype, 'repeat' if up else None)
        self.norm = norm if constant is None else None

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        x = self.conv(x)
        return F.relu_(x) if self.norm is None else self.norm(x, code)


def folded_conv(conv: Conv, dtype: torch.dtype) -> FoldedConv:
    """A convolution that nothing constant follows."""
    return FoldedConv.of(weight_of(conv.conv), conv.conv.bias, dtype)


class FoldedStart(FoldedLayer):
    """The linear layer, (N, code_dim) -> (N, C, 4, 4).

    Args:
        weight: (16 C, code_dim), the channels last.
        bias: (16 C,).
        dtype: Of the maps.
        code: The code (1, code_dim) of all images, or None if each has its own.
    """

    index = 0

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, code: Tensor | None) -> None:
        super().__init__()
        self.linear, self.dtype = FoldedLinear(weight, bias, code), dtype

    def forward(self, x: Tensor | None, code: Tensor | None, noise: Tensor | None) -> Tensor:
        return self.linear(code).to(self.dtype).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)


class FoldedAttention(FoldedLayer):
    """Self-attention: its three projections are one convolution, and gamma is in the last one's weights."""

    def __init__(self, layer: SelfAttention, dtype: torch.dtype) -> None:
        super().__init__()
        weights = [weight_of(part.conv) for part in (layer.theta, layer.phi, layer.g)]
        self.widths = [len(weight) for weight in weights]
        self.project = FoldedConv.of(torch.cat(weights), None, dtype)
        self.last = FoldedConv.of(layer.gamma * weight_of(layer.o.conv), None, dtype)

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        query, key, value = self.project(x).split(self.widths, dim=1)
        query = query.flatten(2).transpose(1, 2)                             # [N, HW, C/8]
        key = F.max_pool2d(key, 2).flatten(2)                                # [N, C/8, HW/4]
        value = F.max_pool2d(value, 2).flatten(2).transpose(1, 2)            # [N, HW/4, C/2]
        attended = F.softmax(query @ key, dim=-1, dtype=torch.float32).to(value.dtype) @ value
        attended = attended.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.last(attended.contiguous(memory_format=torch.channels_last))


class OutputLayer(nn.Module):
    """Feature to image, before the tanh."""

    def __init__(self, in_channels: int, out_channels: int, sn: SpectralOptions) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv = SpectralConv2d(in_channels, out_channels, 3, True, **sn)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.bn(x), inplace=True))
