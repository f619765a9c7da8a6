"""NVlabs' stylegan2-ada-pytorch pickles (``G_ema``, ``G``, ``D``).

Their up-sampling kernels are already turned (the layers convolve where MMagic's correlate), and their weights are
scaled by demodulation alone, which no constant factor changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glean_plus.weights.errors import WeightsError, shown
from glean_plus.weights.formats.rules import (
    Format,
    as_vector,
    check_filter,
    image_bias,
    leave,
    log2,
    noise_map,
    refuse,
    times,
    to,
    with_batch,
)
from glean_plus.weights.formats.stylegan2 import FILTER, UP_GAIN, layer, noise, to_rgb

CONV = r'synthesis\.b(\d+)\.(conv[01])\.'
TORGB = r'synthesis\.b(\d+)\.torgb\.'

GENERATOR = (
    refuse(r'mapping\.embed\..+', 'it is conditioned on classes'),
    refuse(r'synthesis\.b\d+\.skip\..+', 'its architecture is resnet, not skip'),
    to(r'mapping\.fc(\d+)\.weight', lambda i: f'style_mapping.{i + 1}.linear.weight_orig'),
    to(r'mapping\.fc(\d+)\.bias', lambda i: f'style_mapping.{i + 1}.bias'),
    to(r'synthesis\.b4\.const', 'constant_input.input', with_batch),
    to(CONV + r'weight', lambda r, c: f'{layer(r, c)}.conv.weight_orig', with_batch),
    to(CONV + r'bias', lambda r, c: f'{layer(r, c)}.activate.bias'),
    to(CONV + r'noise_strength', lambda r, c: f'{layer(r, c)}.noise_injector.weight', as_vector),
    to(CONV + r'noise_const', noise, noise_map),
    to(CONV + r'affine\.weight', lambda r, c: f'{layer(r, c)}.conv.style_modulation.linear.weight_orig'),
    to(CONV + r'affine\.bias', lambda r, c: f'{layer(r, c)}.conv.style_modulation.bias'),
    to(r'synthesis\.b(\d+)\.(conv0)\.resample_filter', lambda r, c: f'{layer(r, c)}.conv.blur.kernel', times(UP_GAIN)),
    to(TORGB + r'weight', lambda r: f'{to_rgb(r)}.conv.weight_orig', with_batch),
    to(TORGB + r'bias', lambda r: f'{to_rgb(r)}.bias', image_bias),
    to(TORGB + r'affine\.weight', lambda r: f'{to_rgb(r)}.conv.style_modulation.linear.weight_orig'),
    to(TORGB + r'affine\.bias', lambda r: f'{to_rgb(r)}.conv.style_modulation.bias'),
    leave(r'synthesis\.b4\.resample_filter', 'filter of the first block, which does not up-sample'),
    to(r'synthesis\.b(\d+)\.resample_filter', lambda r: f'{to_rgb(r)}.upsample.kernel', times(UP_GAIN)),
    leave(r'synthesis\.b\d+\.conv1\.resample_filter', 'filter of a layer that does not up-sample'),
    leave(r'mapping\.w_avg', 'mean code; a bank takes the mean of its mapping network'),
)

# Blocks are numbered from the largest resolution down, which only all of the keys tell: see number_stages.
BLOCK = r'b([1-9][0-9]*)\.'

DISCRIMINATOR = (
    refuse(r'mapping\..+', 'it is conditioned on classes'),
    to(BLOCK + r'fromrgb\.weight', 'convs.0.0.conv.weight_orig'),
    to(BLOCK + r'fromrgb\.bias', 'convs.0.1.bias'),
    to(BLOCK + r'conv0\.weight', r'res\1.conv1.0.conv.weight_orig'),
    to(BLOCK + r'conv0\.bias', r'res\1.conv1.1.bias'),
    to(BLOCK + r'conv1\.weight', r'res\1.conv2.1.conv.weight_orig'),
    to(BLOCK + r'conv1\.bias', r'res\1.conv2.2.bias'),
    to(BLOCK + r'conv1\.resample_filter', r'res\1.conv2.0.kernel'),
    to(BLOCK + r'skip\.weight', r'res\1.skip.1.conv.weight_orig'),
    to(BLOCK + r'skip\.resample_filter', r'res\1.skip.0.kernel'),
    to(r'b4\.conv\.weight', 'final_conv.0.conv.weight_orig'),
    to(r'b4\.conv\.bias', 'final_conv.1.bias'),
    to(r'b4\.fc\.weight', 'final_linear.0.linear.weight_orig'),
    to(r'b4\.fc\.bias', 'final_linear.0.bias'),
    to(r'b4\.out\.weight', 'final_linear.1.linear.weight_orig'),
    to(r'b4\.out\.bias', 'final_linear.1.bias'),
    leave(r'(?:b\d+\.(?:fromrgb\.|conv0\.)?|b4\.conv\.)resample_filter', 'filter of a layer that does not down-sample',
          check_filter(FILTER)),
)  # fmt: skip


def number_stages(state: dict) -> dict[str, str]:
    """``res256.…`` -> ``convs.1.…`` for the largest resolution, and so on down."""
    stages = {key: log2(int(key[3:].split('.')[0])) for key in state if key.startswith('res')}
    order = sorted({*stages.values()}, reverse=True)
    for key, stage in stages.items():
        state[f'convs.{order.index(stage) + 1}.{key.split(".", 1)[1]}'] = state.pop(key)
    return {}


def generator_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The learning-rate multiplier of the mapping network, and a look at what the layers do.

    Raises:
        WeightsError: On an activation or an architecture that the bank does not have.
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key.endswith('.activation') and key.startswith(('mapping.fc', 'synthesis.')) and '.affine' not in key:
            expect(key, value, ('lrelu', 'linear'))
        elif key.endswith('.architecture'):
            expect(key, value, ('skip',))
        elif key.endswith('.use_noise'):
            expect(key, value, (True,))
        elif key == 'mapping.fc0.bias_gain':
            found['lr_mlp'] = value
    return found


def discriminator_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in settings.items():
        if key.endswith('.architecture'):
            expect(key, value, ('resnet',))
        elif key == 'b4.mbstd.num_channels':
            expect(key, value, (1,))
    group = settings.get('b4.mbstd.group_size')
    return {} if group is None else {'mbstd_group': group}


def expect(key: str, value: Any, known: tuple) -> None:
    if value not in known:
        raise WeightsError(f'its {key} is {shown(value)}; a bank knows {" or ".join(map(repr, known))}.')


NVLABS_TORCH = (
    Format('NVlabs StyleGAN2 (PyTorch)', 'StyleGAN2', ('synthesis.b4.const', 'synthesis.b4.conv1.affine.bias'),
           GENERATOR, settings=generator_settings),
    Format('NVlabs StyleGAN2 discriminator (PyTorch)', 'StyleGAN2 discriminator', ('b4.out.weight', 'b4.fc.weight'),
           DISCRIMINATOR, number_stages, discriminator_settings),
)  # fmt: skip
