"""BigGAN's and BigGAN-deep's blocks with what is constant of them resolved: both normalisations, repetition, gamma."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.accel.layers import Conv, weight_of
from glean_plus.models.banks.biggan import BigGANBank, ConditionalBatchNorm, ResBlock, SelfAttention
from glean_plus.models.banks.biggan_deep import BigGANDeepBank, DeepResBlock


class Norm:
    """Conditional batch norm and ReLU: a scale and a shift of each channel, linear in the code.

    Args:
        layer: The module.
        code: The code (1, code_dim) of all pictures, or None if each has its own.
        roll: By how much the bank's weights take the code rolled.
        dtype: Of the maps.
    """

    def __init__(self, layer: ConditionalBatchNorm, code: Tensor | None, roll: int, dtype: torch.dtype) -> None:
        self.dtype = dtype
        gain, bias = (weight_of(part).roll(roll, 1) for part in (layer.gain, layer.bias))
        # (x - mean) / std * (1 + gain c) + bias c
        factor = (layer.bn.running_var + layer.bn.eps).rsqrt()
        mean = layer.bn.running_mean * factor
        self.weight = torch.cat([factor[:, None] * gain, bias - mean[:, None] * gain])
        self.bias = torch.cat([factor, -mean])
        self.constant = None if code is None else self._affine(code)

    def _affine(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """(N, code_dim) -> scale and shift (N, C), float32."""
        scale, shift = F.linear(code.float(), self.weight, self.bias).chunk(2, dim=1)
        return scale, shift

    def __call__(self, x: Tensor, code: Tensor, out: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and (N or 1, code_dim) -> (N, C, H, W), in ``out`` if it is given, which may be x."""
        affine = self._affine(code) if self.constant is None else self.constant
        scale, shift = (each.to(self.dtype)[:, :, None, None] for each in affine)
        return F.relu_(torch.addcmul(shift, x, scale, out=out))


class NormedConv:
    """A convolution, then conditional batch norm and ReLU, whose constants are in the convolution's weights.

    Args:
        conv: The convolution.
        norm: What follows it.
        dtype: Of the maps.
        up: Double the size by repetition first.
    """

    def __init__(self, conv: nn.Module, norm: Norm, dtype: torch.dtype, up: bool = False) -> None:
        self.norm = norm
        self.conv = Conv(weight_of(conv), conv.bias, dtype, up, None if norm.constant is None else norm.constant)

    def __call__(self, x: Tensor, code: Tensor) -> Tensor:
        x = self.conv(x)
        return F.relu_(x) if self.norm.constant is not None else self.norm(x, code, out=x)


def add_repeated(y: Tensor, x: Tensor) -> Tensor:
    """Add x (N, C, H, W), or half as large and with every sample repeated, to y in place."""
    if y.shape[2:] == x.shape[2:]:
        return y.add_(x)
    y.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).add_(x[:, :, :, None, :, None])
    return y


class FoldedResBlock:
    """BigGAN's block; arguments as :class:`Norm`'s."""

    def __init__(self, block: ResBlock, code: Tensor | None, roll: int, dtype: torch.dtype) -> None:
        norms = [Norm(layer, code, roll, dtype) for layer in (block.bn1, block.bn2)]
        self.norm = norms[0]
        self.conv1 = NormedConv(block.conv1.conv, norms[1], dtype, up=True)
        self.conv2 = Conv(weight_of(block.conv2.conv), block.conv2.conv.bias, dtype)
        self.shortcut = Conv(weight_of(block.shortcut.conv), block.shortcut.conv.bias, dtype)

    def __call__(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.conv1(self.norm(x, code), code)
        return add_repeated(self.conv2(y), self.shortcut(x))


class FoldedDeepResBlock:
    """BigGAN-deep's block; arguments as :class:`Norm`'s."""

    def __init__(self, block: DeepResBlock, code: Tensor | None, roll: int, dtype: torch.dtype) -> None:
        self.norm, *others = (Norm(layer, code, roll, dtype) for layer in (block.bn1, block.bn2, block.bn3, block.bn4))
        convs = (block.conv1.conv, block.conv2.conv, block.conv3.conv)
        self.convs = [
            NormedConv(conv, norm, dtype, up=block.up and conv is block.conv2.conv)
            for conv, norm in zip(convs, others)
        ]
        self.last = Conv(weight_of(block.conv4.conv), block.conv4.conv.bias, dtype)
        self.out_channels = block.out_channels

    def __call__(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.norm(x, code)
        for conv in self.convs:
            y = conv(y, code)
        return add_repeated(self.last(y), x[:, :self.out_channels])


class FoldedAttention:
    """Self-attention: its three projections are one convolution, and gamma is in the last one's weights."""

    def __init__(self, layer: SelfAttention, dtype: torch.dtype) -> None:
        weights = [weight_of(part.conv) for part in (layer.theta, layer.phi, layer.g)]
        self.widths = [len(weight) for weight in weights]
        self.project = Conv(torch.cat(weights), None, dtype)
        self.last = Conv(layer.gamma * weight_of(layer.o.conv), None, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).split(self.widths, dim=1)
        query = query.flatten(2).transpose(1, 2)                                     # [N, HW, C/8]
        key = F.max_pool2d(key, 2).flatten(2)                                        # [N, C/8, HW/4]
        value = F.max_pool2d(value, 2).flatten(2).transpose(1, 2)                    # [N, HW/4, C/2]
        attended = F.softmax(query @ key, dim=-1, dtype=torch.float32).to(value.dtype) @ value
        attended = attended.transpose(1, 2).unflatten(2, x.shape[2:])
        return self.last(attended.contiguous(memory_format=torch.channels_last)).add_(x)


class FoldedBigGAN:
    """Both BigGANs for :class:`FoldedModel`.

    Args:
        bank: The bank.
        codes: The code (1, code_dim) of each layer that all pictures share; None where each has its own.
        dtype: Of the maps.
    """

    def __init__(
        self, bank: BigGANBank | BigGANDeepBank, codes: Sequence[Tensor | None], dtype: torch.dtype
    ) -> None:
        self.dtype = dtype
        deep = isinstance(bank, BigGANDeepBank)
        roll = bank.shared_dim if deep else 0  # BigGAN-deep takes the noise first
        fold = FoldedDeepResBlock if deep else FoldedResBlock
        self.constant: Tensor | None = None
        if bank.start_res == 4:
            shape = (4, 4, bank.channels[4]) if deep else (bank.channels[4], 4, 4)
            weight = weight_of(bank.noise2feat).roll(roll, 1).unflatten(0, shape)
            bias = bank.noise2feat.bias.unflatten(0, shape)
            if not deep:  # to channels_last
                weight, bias = weight.permute(1, 2, 0, 3), bias.permute(1, 2, 0)
            start = weight.flatten(0, 2).contiguous(), bias.flatten().clone()
            if codes[0] is None:
                self.start = start
            else:
                self.constant = self._start(codes[0], *start)
        self.blocks = {}
        self.attentions = {}
        for res in bank.resolutions:
            if res > 4:
                names, layers = bank.names_of(res), bank.layers_of(res)
                self.blocks[res] = [
                    (layer, fold(bank.conv_blocks[name], codes[layer], roll, dtype))
                    for name, layer in zip(names, layers)
                ]
                if res in bank.attention:
                    self.attentions[res] = FoldedAttention(bank.conv_blocks[names[-1]], dtype)

    def step(self, resolution: int, codes: Sequence[Tensor | None], feature: Tensor | None = None) -> Tensor:
        """See :meth:`LatentBank.step`."""
        if resolution == 4:
            return self._start(codes[0], *self.start) if self.constant is None else self.constant
        if feature is None:
            raise ValueError(f'The block at {resolution} needs a feature of the resolution below; only 4 needs none.')
        g = feature
        for layer, block in self.blocks[resolution]:
            g = block(g, codes[layer])
        return self.attentions[resolution](g) if resolution in self.attentions else g

    def _start(self, code: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        start = F.linear(code.float(), weight, bias).to(self.dtype)
        return start.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
