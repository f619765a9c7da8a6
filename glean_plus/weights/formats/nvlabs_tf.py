"""NVlabs' TensorFlow pickles of StyleGAN2, StyleGAN2-ADA and StyleGAN (``Gs``, ``G``, ``D``).

TensorFlow orders a kernel (H, W, in, out) and a matrix (in, out). StyleGAN2's up-sampling kernels are turned by 180
degrees when the network runs; so here they are turned once. Both add 1 to the scales of a style when they use them.
StyleGAN up-samples and convolves in two steps below 128 px and in one, transposed step from 128 px on
(``fused_scale``), which reads the kernel turned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from glean_plus.weights.formats.nvlabs_torch import expect, number_stages
from glean_plus.weights.formats.rules import (
    Format,
    Rule,
    as_vector,
    chain,
    flipped,
    image_bias,
    leave,
    log2,
    noise_map,
    plus_one,
    refuse,
    to,
    with_batch,
)
from glean_plus.weights.formats.stylegan1 import FUSED, affine, block, finish, linear, torgb
from glean_plus.weights.formats.stylegan2 import add_discriminator_filters, add_filters, layer, to_rgb


def kernel(tensor: Tensor) -> Tensor:
    """(H, W, in, out) -> (out, in, H, W)."""
    return tensor.permute(3, 2, 0, 1)


def matrix(tensor: Tensor) -> Tensor:
    """(in, out) -> (out, in)."""
    return tensor.t()


MAPPING = (
    refuse(r'mapping/Label(?:Embed|Concat)/.+', 'it is conditioned on classes'),
    leave(r'(?:synthesis/)?lod', 'progress of training, over at 0'),
    leave(r'dlatent_avg', 'mean code; a bank takes the mean of its mapping network'),
)


def _conv(resolution: int, kind: str) -> str:
    return layer(resolution, 'conv0' if kind == 'Conv0_up' else 'conv1')


LAYER = r'synthesis/(\d+)x\d+/(Conv|Conv0_up|Conv1)/'
RGB = r'synthesis/(\d+)x\d+/ToRGB/'

GENERATOR = (
    *MAPPING,
    refuse(r'synthesis/ToRGB_lod.+', 'it has one ToRGB at the end only: configs A to D'),
    refuse(r'synthesis/\d+x\d+/Skip/.+', 'its architecture is resnet, not skip'),
    to(r'mapping/Dense(\d+)/weight', lambda i: f'style_mapping.{i + 1}.linear.weight_orig', matrix),
    to(r'mapping/Dense(\d+)/bias', lambda i: f'style_mapping.{i + 1}.bias'),
    to(r'synthesis/4x4/Const/const', 'constant_input.input'),
    to(r'synthesis/noise(\d+)', r'injected_noise_\1', noise_map),
    to(r'synthesis/(\d+)x\d+/(Conv0_up)/weight', lambda r, c: f'{_conv(r, c)}.conv.weight_orig',
       chain(kernel, flipped, with_batch)),
    to(LAYER + r'weight', lambda r, c: f'{_conv(r, c)}.conv.weight_orig', chain(kernel, with_batch)),
    to(LAYER + r'bias', lambda r, c: f'{_conv(r, c)}.activate.bias'),
    to(LAYER + r'noise_strength', lambda r, c: f'{_conv(r, c)}.noise_injector.weight', as_vector),
    to(LAYER + r'mod_weight', lambda r, c: f'{_conv(r, c)}.conv.style_modulation.linear.weight_orig', matrix),
    to(LAYER + r'mod_bias', lambda r, c: f'{_conv(r, c)}.conv.style_modulation.bias', plus_one),
    to(RGB + r'weight', lambda r: f'{to_rgb(r)}.conv.weight_orig', chain(kernel, with_batch)),
    to(RGB + r'bias', lambda r: f'{to_rgb(r)}.bias', image_bias),
    to(RGB + r'mod_weight', lambda r: f'{to_rgb(r)}.conv.style_modulation.linear.weight_orig', matrix),
    to(RGB + r'mod_bias', lambda r: f'{to_rgb(r)}.conv.style_modulation.bias', plus_one),
)  # fmt: skip

STAGE = r'([1-9][0-9]*)x\d+/'  # see number_stages

DISCRIMINATOR = (
    refuse(r'(?:LabelEmbed|Mapping\d+)/.+', 'it is conditioned on classes'),
    refuse(r'FromRGB_lod.+', 'its architecture is not resnet: configs A to D'),
    leave(r'lod', 'progress of training, over at 0'),
    to(r'\d+x\d+/FromRGB/weight', 'convs.0.0.conv.weight_orig', kernel),
    to(r'\d+x\d+/FromRGB/bias', 'convs.0.1.bias'),
    to(STAGE + r'Conv0/weight', r'res\1.conv1.0.conv.weight_orig', kernel),
    to(STAGE + r'Conv0/bias', r'res\1.conv1.1.bias'),
    to(STAGE + r'Conv1_down/weight', r'res\1.conv2.1.conv.weight_orig', kernel),
    to(STAGE + r'Conv1_down/bias', r'res\1.conv2.2.bias'),
    to(STAGE + r'Skip/weight', r'res\1.skip.1.conv.weight_orig', kernel),
    to(r'4x4/Conv/weight', 'final_conv.0.conv.weight_orig', kernel),
    to(r'4x4/Conv/bias', 'final_conv.1.bias'),
    to(r'4x4/Dense0/weight', 'final_linear.0.linear.weight_orig', matrix),
    to(r'4x4/Dense0/bias', 'final_linear.0.bias'),
    to(r'Output/weight', 'final_linear.1.linear.weight_orig', matrix),
    to(r'Output/bias', 'final_linear.1.bias'),
)

STYLEGAN1_DISCRIMINATOR = (refuse(r'.+', 'the discriminator of StyleGAN(1) is another network'),)

OLD_CONV = r'synthesis/(\d+)x\d+/(Const|Conv0_up|Conv1|Conv)/'


def stylegan1_rules(state: Mapping[str, Tensor], truncation: float) -> Sequence[Rule]:
    size = 2 << sum(key.startswith('synthesis/ToRGB_lod') and key.endswith('/bias') for key in state)
    return (
        *MAPPING,
        to(r'mapping/Dense(\d+)/weight', lambda i: f'style_mapping.{i + 1}.linear.weight_orig', chain(matrix, linear)),
        to(r'mapping/Dense(\d+)/bias', lambda i: f'style_mapping.{i + 1}.bias'),
        to(r'synthesis/4x4/Const/const', 'convs.0.conv1.input'),
        to(r'synthesis/noise(\d+)', r'injected_noise_\1', noise_map),
        to(rf'synthesis/({FUSED})x\d+/(Conv0_up)/weight', lambda r, c: f'{block(r)}.conv1.0.conv.weight_orig',
           chain(kernel, flipped)),
        to(r'synthesis/(\d+)x\d+/Conv0_up/weight', lambda r: f'{block(r)}.conv1.0.conv.weight_orig', kernel),
        to(r'synthesis/(\d+)x\d+/Conv1?/weight', lambda r: f'{block(r)}.conv2.conv.weight_orig', kernel),
        to(r'synthesis/4x4/Const/bias', 'first_bias'),
        to(r'synthesis/(\d+)x\d+/Conv0_up/bias', lambda r: f'{block(r)}.conv1.0.conv.bias'),
        to(r'synthesis/(\d+)x\d+/Conv1?/bias', lambda r: f'{block(r)}.conv2.conv.bias'),
        to(OLD_CONV + r'Noise/weight', lambda r, c: f'{block(r)}.noise_injector{_half(c)}.weight', image_bias),
        to(OLD_CONV + r'StyleMod/weight', lambda r, c: f'{block(r)}.adain{_half(c)}.affine.weight_orig',
           chain(matrix, torgb)),
        to(OLD_CONV + r'StyleMod/bias', lambda r, c: f'{block(r)}.adain{_half(c)}.affine.bias', affine),
        to(r'synthesis/ToRGB_lod(\d+)/weight', lambda lod: f'to_rgbs.{log2(size) - 2 - lod}.conv.weight_orig',
           chain(kernel, torgb)),
        to(r'synthesis/ToRGB_lod(\d+)/bias', lambda lod: f'to_rgbs.{log2(size) - 2 - lod}.conv.bias'),
    )  # fmt: skip


def _half(kind: str) -> int:
    return 1 if kind in ('Const', 'Conv0_up') else 2


def _discriminator_finish(state: dict[str, Tensor]) -> dict[str, str]:
    number_stages(state)
    return add_discriminator_filters(state)


# Arguments of the network's function that change what it computes, and the values that a bank knows; None: the default.
KNOWN: dict[str, tuple] = {
    'architecture': ('skip', 'resnet'),
    'nonlinearity': ('lrelu',),
    'mapping_nonlinearity': ('lrelu',),
    'normalize_latents': (True,),
    'use_noise': (True,),
    'use_wscale': (True,),
    'use_styles': (True,),
    'use_pixel_norm': (False,),
    'use_instance_norm': (True,),
    'const_input_layer': (True,),
    'fused_modconv': (True, False),
    'fused_scale': ('auto',),
    'resample_kernel': ([1, 3, 3, 1],),
    'blur_filter': ([1, 2, 1],),
    'mbstd_num_features': (1,),
}


def settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``static_kwargs`` -> arguments of the bank; refuses a network that computes something else."""
    given = {key[len('static_kwargs.'):]: value for key, value in settings.items() if key.startswith('static_kwargs.')}
    for key, known in KNOWN.items():
        value = given.get(key)
        if value is not None:
            expect(key, list(value) if isinstance(value, (tuple, list, np.ndarray)) else value, known)
    return given


def generator_settings(found: Mapping[str, Any]) -> dict[str, Any]:
    return {'lr_mlp': settings(found).get('mapping_lrmul', 0.01)}


def discriminator_settings(found: Mapping[str, Any]) -> dict[str, Any]:
    return {'mbstd_group': settings(found).get('mbstd_group_size', 4)}


NVLABS_TF = (
    Format('NVlabs StyleGAN2 (TensorFlow)', 'StyleGAN2', ('synthesis/4x4/Const/const', 'synthesis/4x4/Conv/mod_bias'),
           GENERATOR, add_filters, generator_settings),
    Format('NVlabs StyleGAN (TensorFlow)', 'StyleGAN1',
           ('synthesis/4x4/Const/const', 'synthesis/4x4/Const/StyleMod/bias'), stylegan1_rules, finish,
           generator_settings),
    Format('NVlabs StyleGAN2 discriminator (TensorFlow)', 'StyleGAN2 discriminator',
           ('4x4/Dense0/weight', 'Output/weight'), DISCRIMINATOR, _discriminator_finish, discriminator_settings),
    Format('NVlabs StyleGAN discriminator (TensorFlow)', 'StyleGAN2 discriminator',
           ('4x4/Dense0/weight', '4x4/Dense1/weight'), STYLEGAN1_DISCRIMINATOR),
)  # fmt: skip
