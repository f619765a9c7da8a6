"""GenForce's StyleGAN and StyleGAN2 (``generator_smooth``, ``generator``): NVlabs' variables under torch's axes.

Kernels keep TensorFlow's turn, and 1 is added to the scales of a style in the code, as there.
"""

from __future__ import annotations

from glean_plus.weights.formats.rules import (
    Format,
    as_vector,
    chain,
    check_filter,
    flipped,
    image_bias,
    leave,
    noise_map,
    plus_one,
    refuse,
    to,
    with_batch,
)
from glean_plus.weights.formats.stylegan1 import affine, finish, linear, torgb
from glean_plus.weights.formats.stylegan2 import FILTER, UP_GAIN, add_filters


def _layer(i: int) -> str:
    return 'conv1' if i == 0 else f'convs.{i - 1}'


def _rgb(i: int) -> str:
    return 'to_rgb1' if i == 0 else f'to_rgbs.{i - 1}'


COMMON = (
    refuse(r'mapping\.label_weight|mapping\.LabelEmbed\..+', 'it is conditioned on classes'),
    to(r'mapping\.dense(\d+)\.bias', lambda i: f'style_mapping.{i + 1}.bias'),
    leave(r'truncation\.w_avg', 'mean code; a bank takes the mean of its mapping network'),
    leave(r'synthesis\.lod', 'progress of training, over at 0'),
)

STYLEGAN2 = (
    *COMMON,
    refuse(r'synthesis\.early_layer\.(?:weight|bias)', 'it starts from a code, not from a constant'),
    refuse(r'synthesis\.skip_layer.+', 'its architecture is resnet, not skip'),
    to(r'mapping\.dense(\d+)\.weight', lambda i: f'style_mapping.{i + 1}.linear.weight_orig'),
    to(r'synthesis\.early_layer\.const', 'constant_input.input'),
    to(r'synthesis\.layer(\d*[13579])\.weight', lambda i: f'{_layer(i)}.conv.weight_orig', chain(flipped, with_batch)),
    to(r'synthesis\.layer(\d+)\.weight', lambda i: f'{_layer(i)}.conv.weight_orig', with_batch),
    to(r'synthesis\.layer(\d+)\.bias', lambda i: f'{_layer(i)}.activate.bias'),
    to(r'synthesis\.layer(\d+)\.noise_strength', lambda i: f'{_layer(i)}.noise_injector.weight', as_vector),
    to(r'synthesis\.layer(\d+)\.noise', r'injected_noise_\1', noise_map),
    to(r'synthesis\.layer(\d+)\.style\.weight', lambda i: f'{_layer(i)}.conv.style_modulation.linear.weight_orig'),
    to(r'synthesis\.layer(\d+)\.style\.bias', lambda i: f'{_layer(i)}.conv.style_modulation.bias', plus_one),
    to(r'synthesis\.output(\d+)\.weight', lambda i: f'{_rgb(i)}.conv.weight_orig', with_batch),
    to(r'synthesis\.output(\d+)\.bias', lambda i: f'{_rgb(i)}.bias', image_bias),
    to(r'synthesis\.output(\d+)\.style\.weight', lambda i: f'{_rgb(i)}.conv.style_modulation.linear.weight_orig'),
    to(r'synthesis\.output(\d+)\.style\.bias', lambda i: f'{_rgb(i)}.conv.style_modulation.bias', plus_one),
    leave(r'synthesis\.(?:layer\d+\.filter|upsample)\.kernel', 'the standard filter, as checked',
          check_filter(FILTER, UP_GAIN)),
)  # fmt: skip


def _half(i: int, part: str) -> str:
    return f'convs.{i // 2}.{part}{i % 2 + 1}'


STYLEGAN1 = (
    *COMMON,
    to(r'mapping\.dense(\d+)\.weight', lambda i: f'style_mapping.{i + 1}.linear.weight_orig', linear),
    to(r'synthesis\.layer0\.const', 'convs.0.conv1.input'),
    to(r'synthesis\.layer0\.bias', 'first_bias'),
    # From 128 px on, layers 10, 12, 14 and 16, up-sampling is a transposed convolution, which reads the kernel turned.
    to(r'synthesis\.layer(10|12|14|16)\.weight', lambda i: f'convs.{i // 2}.conv1.0.conv.weight_orig', flipped),
    to(r'synthesis\.layer(\d*[02468])\.weight', lambda i: f'convs.{i // 2}.conv1.0.conv.weight_orig'),
    to(r'synthesis\.layer(\d*[13579])\.weight', lambda i: f'convs.{i // 2}.conv2.conv.weight_orig'),
    to(r'synthesis\.layer(\d*[02468])\.bias', lambda i: f'convs.{i // 2}.conv1.0.conv.bias'),
    to(r'synthesis\.layer(\d*[13579])\.bias', lambda i: f'convs.{i // 2}.conv2.conv.bias'),
    to(r'synthesis\.layer(\d+)\.apply_noise\.weight', lambda i: _half(i, 'noise_injector') + '.weight', image_bias),
    to(r'synthesis\.layer(\d+)\.apply_noise\.noise', r'injected_noise_\1', noise_map),
    to(r'synthesis\.layer(\d+)\.style\.weight', lambda i: _half(i, 'adain') + '.affine.weight_orig', torgb),
    to(r'synthesis\.layer(\d+)\.style\.bias', lambda i: _half(i, 'adain') + '.affine.bias', affine),
    to(r'synthesis\.output(\d+)\.weight', r'to_rgbs.\1.conv.weight_orig', torgb),
    to(r'synthesis\.output(\d+)\.bias', r'to_rgbs.\1.conv.bias'),
    leave(r'synthesis\.layer\d+\.blur\.kernel', 'the standard filter, as checked', check_filter((1, 2, 1))),
)

GENFORCE = (
    Format('GenForce StyleGAN2', 'StyleGAN2', ('synthesis.early_layer.const', 'synthesis.layer0.style.bias'), STYLEGAN2,
           add_filters),
    Format('GenForce StyleGAN', 'StyleGAN1', ('synthesis.layer0.const', 'synthesis.layer0.apply_noise.weight'),
           STYLEGAN1, finish),
)  # fmt: skip
