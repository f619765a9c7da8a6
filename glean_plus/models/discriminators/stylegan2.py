"""StyleGAN2's discriminator with any channel table (Karras et al., CVPR 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks.stylegan2 import Bias, channel_table
from glean_plus.models.ops import FIR, LRELU_SLOPE, SQRT2, EqualizedLinear, EqualizedParameter, fir_filter
from glean_plus.registry import MODELS
from glean_plus.weights import load_strict, read_pretrained
from glean_plus.weights.formats.layout import PublishedNetwork, count, side


class EqualizedConv(nn.Module):
    """Convolution with equalised learning rate, (N, in, H, W) -> (N, out, H', W').

    The bias, if any, and a gain on both are handed in, as the activation behind it is folded into them.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        fan_in = in_channels * kernel_size**2
        self.conv = EqualizedParameter(out_channels, in_channels, kernel_size, kernel_size, fan_in=fan_in)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor, bias: Tensor | None = None, gain: float = 1.0) -> Tensor:
        weight = (self.conv.weight * gain).to(x.dtype)
        bias = None if bias is None else (bias * gain).to(x.dtype)
        return F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)


class Blur(FIR):
    """FIR filter before a strided convolution."""

    def __init__(self, padding: int, down: int = 1) -> None:
        super().__init__()
        self.padding, self.down = padding, down

    def forward(self, x: Tensor) -> Tensor:
        return fir_filter(x, self.kernel, (self.padding, self.padding), down=self.down)


class ConvAct(nn.Sequential):
    """[Blur,] convolution, bias and scaled leaky ReLU."""

    def forward(self, x: Tensor, gain: float = SQRT2) -> Tensor:
        *blur, conv, activate = self
        for layer in blur:
            x = layer(x)
        return F.leaky_relu(conv(x, activate.bias, gain), LRELU_SLOPE, inplace=True)


class ResBlock(nn.Module):
    """Residual block that halves the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvAct(EqualizedConv(in_channels, in_channels, 3, padding=1), Bias(in_channels))
        self.conv2 = ConvAct(
            Blur(padding=2), EqualizedConv(in_channels, out_channels, 3, stride=2), Bias(out_channels)
        )
        # A 1x1 convolution of stride 2 reads every other sample only, so the filter keeps only those.
        self.skip = nn.Sequential(Blur(padding=1, down=2), EqualizedConv(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        blur, conv = self.skip
        # (sqrt(2) lrelu(a) + b) / sqrt(2)
        return self.conv2(self.conv1(x), gain=1.0) + conv(blur(x), gain=1 / SQRT2)


class MinibatchStd(nn.Module):
    """Appends one channel with the spread of the features over groups of images."""

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        group = min(n, self.group_size)
        if n % group:
            raise ValueError(f'A batch of {n} cannot be split into groups of {group}; set mbstd_group to a divisor.')
        y = x.float().reshape(group, n // group, c, h, w)                    # [GMCHW]
        y = (y.var(dim=0, unbiased=False) + 1e-8).sqrt()                     # [MCHW]
        y = y.mean(dim=(1, 2, 3), keepdim=True)                              # [M111]
        return torch.cat([x, y.to(x.dtype).repeat(group, 1, h, w)], dim=1)


@MODELS.register_module()
class StyleGAN2BankDiscriminator(PublishedNetwork):
    """Scores images: (N, img_channels, in_size, in_size) -> logits (N, 1).

    MMagic's ``StyleGANv2Discriminator`` with any channel table, under autocast of any type, and with the same
    state-dict keys.

    Args:
        in_size: Side of the images, a power of two.
        img_channels: Their channels.
        channels: Width per resolution from 4 on; the published table if None.
        channel_multiplier: 2 for config-f, 1 for config-e; only used with the published table.
        mbstd_group: Images a group of the minibatch standard deviation.
        pretrained: ``dict(checkpoint=path or URL, prefix='discriminator')``, loaded by :meth:`init_weights`.
    """

    architecture = 'StyleGAN2 discriminator'
    origin = 'MMagic'
    anchors = ('convs.0.0.conv.weight_orig', 'final_linear.1.linear.weight_orig')
    discriminator = True

    def __init__(
        self,
        in_size: int,
        img_channels: int = 3,
        channels: Mapping[int, int] | None = None,
        channel_multiplier: int = 2,
        mbstd_group: int = 4,
        pretrained: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.pretrained = pretrained
        table = channel_table(channels, channel_multiplier)
        whole = [2**i for i in range(2, int(math.log2(in_size)) + 1)]
        if in_size not in whole or any(res not in table for res in whole):
            raise ValueError(f'in_size {in_size} must be a power of two in the channel table, which has {list(table)}.')
        self.in_size = in_size
        self.config = dict(in_size=in_size, img_channels=img_channels, channels={res: table[res] for res in whole})
        blocks: list[nn.Module] = [ConvAct(EqualizedConv(img_channels, table[in_size], 1), Bias(table[in_size]))]
        blocks += [ResBlock(table[res], table[res // 2]) for res in reversed(whole[1:])]
        self.convs = nn.Sequential(*blocks)
        self.mbstd_layer = MinibatchStd(mbstd_group)
        width = table[4]
        self.final_conv = ConvAct(EqualizedConv(width + 1, width, 3, padding=1), Bias(width))
        self.final_linear = nn.Sequential(
            EqualizedLinear(width * 16, width, activate=True), EqualizedLinear(width, 1)
        )

    @classmethod
    def hyperparameters(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        levels = count(state, r'convs\.(\d+)\.conv1\.')
        channels = {side(levels): state['convs.0.1.bias'].shape[0]}
        for i in range(1, levels + 1):
            channels[side(levels - i)] = state[f'convs.{i}.conv2.2.bias'].shape[0]
        image = state['convs.0.0.conv.weight_orig'].shape[1]
        return dict(in_size=side(levels), img_channels=image, channels=dict(sorted(channels.items())))

    def init_weights(self) -> None:
        """Load ``pretrained``, if there is any. MMEngine's runner calls this before training."""
        if self.pretrained is not None:
            state, source = read_pretrained(self.pretrained, type(self), self.config, self.state_dict().keys())
            load_strict(self, state, source, 'Discriminator')

    def forward(self, x: Tensor) -> Tensor:
        x = self.mbstd_layer(self.convs(x))
        return self.final_linear(self.final_conv(x).flatten(1))
