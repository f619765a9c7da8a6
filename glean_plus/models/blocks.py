"""Blocks that encoder, decoder and baselines are made of: ESRGAN's dense blocks and the pixel shuffle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.ops import LRELU_SLOPE

# ESRGAN's: weights start at a tenth of He et al.'s and branches are scaled down, so that many residual blocks train.
INIT_SCALE = 0.1
RESIDUAL_SCALE = 0.2


@torch.no_grad()
def init_like_he(module: nn.Module, scale: float = 1.0) -> None:
    """Start all convolutions at ``scale`` times the normal distribution of He et al., without bias."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
            layer.weight *= scale
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_parts(module: nn.Module) -> None:
    """Call ``init_weights`` of the parts that have it, as MMEngine's modules do."""
    for part in module.children():
        start = getattr(part, 'init_weights', None)
        if start is not None:
            start()


class DenseBlock(nn.Module):
    """Five convolutions, each given the input and what all before it gave; their last is added to the input.

    Args:
        channels: Width of the input and the result.
        growth: Width of what each convolution but the last adds.
    """

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    conv3: nn.Conv2d
    conv4: nn.Conv2d
    conv5: nn.Conv2d

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        for index in range(5):
            width = channels if index == 4 else growth
            self.add_module(f'conv{index + 1}', nn.Conv2d(channels + index * growth, width, 3, 1, 1))
        self.lrelu = nn.LeakyReLU(LRELU_SLOPE, inplace=True)
        init_like_he(self, INIT_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            features.append(self.lrelu(conv(torch.cat(features, dim=1))))
        return self.conv5(torch.cat(features, dim=1)) * RESIDUAL_SCALE + x


class RRDB(nn.Module):
    """Residual-in-residual dense block (Wang et al., ESRGAN, section 3.1): three dense blocks, added to the input.

    Args:
        channels, growth: As for :class:`DenseBlock`.
    """

    def __init__(self, channels: int, growth: int = 32) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(channels, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * RESIDUAL_SCALE + x


class PixelShuffleUp(nn.Module):
    """Convolution to four times the channels, which a pixel shuffle turns into twice the sides (Shi et al., CVPR 2016).

    (N, in_channels, H, W) -> (N, out_channels, 2 H, 2 W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.upsample_conv = nn.Conv2d(in_channels, 4 * out_channels, 3, 1, 1)
        init_like_he(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.upsample_conv(x), 2)
