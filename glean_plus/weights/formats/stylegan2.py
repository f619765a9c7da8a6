"""Shared parts of conversions to StyleGAN2: canonical names, and tensors that some formats have in their code."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from glean_plus.weights.formats.rules import binomial, log2

FILTER = (1, 3, 3, 1)
IN_CODE = 'filter [1, 3, 3, 1], which the format has in its code'
UP_GAIN = 4.0  # an up-sampling filter keeps the mean although three of four samples are zeros


def layer(resolution: int, conv: str) -> str:
    """Canonical name of a style layer: ``conv`` is conv0, which up-samples, or conv1; 4 px has only conv1."""
    return 'conv1' if resolution == 4 else f'convs.{2 * log2(resolution) - 6 + int(conv[-1])}'


def noise(resolution: int, conv: str) -> str:
    """Canonical name of that layer's fixed noise."""
    return 'injected_noise_0' if resolution == 4 else f'injected_noise_{2 * log2(resolution) - 5 + int(conv[-1])}'


def to_rgb(resolution: int) -> str:
    return 'to_rgb1' if resolution == 4 else f'to_rgbs.{log2(resolution) - 3}'


def add_filters(state: dict[str, Tensor]) -> dict[str, str]:
    """The up-sampling filters, for formats that do not store them."""
    filled = {}
    for key in list(state):
        if match := re.fullmatch(r'convs\.(\d*[02468])\.activate\.bias', key):
            filled[f'convs.{match.group(1)}.conv.blur.kernel'] = IN_CODE
        elif match := re.fullmatch(r'to_rgbs\.(\d+)\.bias', key):
            filled[f'to_rgbs.{match.group(1)}.upsample.kernel'] = IN_CODE
    state.update({key: binomial(FILTER, UP_GAIN) for key in filled if key not in state})
    return filled


def add_noises(state: dict[str, Tensor]) -> dict[str, str]:
    """Fixed noise for files without any, which early versions wrote: drawn from seed 0, the same every time."""
    if any(key.startswith('injected_noise_') for key in state):
        return {}
    layers = 1 + sum(bool(re.fullmatch(r'convs\.\d+\.activate\.bias', key)) for key in state)
    generator = torch.Generator().manual_seed(0)
    filled = {}
    for i in range(layers):
        size = 2 ** ((i + 5) // 2)
        state[f'injected_noise_{i}'] = torch.randn(1, 1, size, size, generator=generator)
        filled[f'injected_noise_{i}'] = 'the file holds no fixed noise: drawn from seed 0'
    return filled


def add_filters_and_noises(state: dict[str, Tensor]) -> dict[str, str]:
    return add_filters(state) | add_noises(state)


def add_discriminator_filters(state: dict[str, Tensor]) -> dict[str, str]:
    filled = {}
    for key in list(state):
        if match := re.fullmatch(r'convs\.(\d+)\.conv1\.1\.bias', key):
            for part in ('conv2', 'skip'):
                name = f'convs.{match.group(1)}.{part}.0.kernel'
                state[name] = binomial(FILTER)
                filled[name] = IN_CODE
    return filled
