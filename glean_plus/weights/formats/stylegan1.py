"""Conversions to StyleGAN(1): shared parts, and differences of MMagic's StyleGAN1Generator from NVlabs' network.

| | NVlabs, GenForce | MMagic |
|---|---|---|
| noise | one strength a channel | one a layer |
| up-sampling layer | conv, blur, noise, bias, leaky ReLU | conv, bias, **leaky ReLU**, blur, noise, leaky ReLU |
| instance norm | epsilon 1e-8 | 1e-5 |
| gain of affine and ToRGB weights | 1 | sqrt(2) |
| gain of mapping weights | sqrt(2) | 1 |
| scale of a style | 1 + affine | affine |

The gains and the scale are taken into the weights here. The first three cannot be: a converted file keeps one noise
strength a channel (1, C, 1, 1), by which ``official=True`` of its arguments is told, and only a network of the official
order gives the official image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glean_plus.weights.formats.rules import binomial, log2, times

FUSED = '128|256|512|1024'  # resolutions whose up-sampling is fused with the convolution

linear = times(math.sqrt(2))
torgb = times(1 / math.sqrt(2))


def affine(bias: Tensor) -> Tensor:
    """(2C,): 1 is added to the scales, which come first, not to the shifts."""
    scale, shift = bias.chunk(2)
    return torch.cat([scale + 1, shift])


def block(resolution: int) -> str:
    return f'convs.{log2(resolution) - 2}'


def finish(state: dict[str, Tensor]) -> dict[str, str]:
    """Fold the constant's bias into the constant, and add the blur filters, which no format stores."""
    state['convs.0.conv1.input'] = state['convs.0.conv1.input'] + state.pop('first_bias').reshape(1, -1, 1, 1)
    filled = {}
    for key in list(state):
        if key.endswith('.conv1.0.conv.bias'):
            name = key.replace('0.conv.bias', '1.kernel')
            state[name] = binomial((1, 2, 1))
            filled[name] = 'filter [1, 2, 1], which the format has in its code'
    return filled
