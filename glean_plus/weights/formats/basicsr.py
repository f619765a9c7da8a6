"""BasicSR's StyleGAN2 (``params_ema``), which GFPGAN and its kin train: rosinality's network, filters not stored."""

from __future__ import annotations

from torch import Tensor

from glean_plus.weights.formats.rules import Format, noise_map, to
from glean_plus.weights.formats.stylegan2 import add_discriminator_filters, add_filters_and_noises


def _name(name: str) -> str:
    return {'style_conv1': 'conv1'}.get(name, name.replace('style_convs', 'convs'))


LAYER = r'(style_conv1|style_convs\.\d+|to_rgb1|to_rgbs\.\d+)'

GENERATOR = (
    to(r'style_mlp\.(\d+)\.weight', lambda i: f'style_mapping.{i}.linear.weight_orig'),
    to(r'style_mlp\.(\d+)\.bias', lambda i: f'style_mapping.{i}.bias'),
    to(r'constant_input\.weight', 'constant_input.input'),
    to(r'noises\.noise(\d+)', lambda i: f'injected_noise_{i}', noise_map),
    to(r'(style_conv1|style_convs\.\d+)\.weight', lambda name: f'{_name(name)}.noise_injector.weight'),
    to(r'(style_conv1|style_convs\.\d+)\.activate\.bias', lambda name: f'{_name(name)}.activate.bias'),
    to(LAYER + r'\.modulated_conv\.weight', lambda name: f'{_name(name)}.conv.weight_orig'),
    to(LAYER + r'\.modulated_conv\.modulation\.weight',
       lambda name: f'{_name(name)}.conv.style_modulation.linear.weight_orig'),
    to(LAYER + r'\.modulated_conv\.modulation\.bias', lambda name: f'{_name(name)}.conv.style_modulation.bias'),
    to(r'(to_rgb1|to_rgbs\.\d+)\.bias', lambda name: f'{name}.bias'),
)  # fmt: skip

DISCRIMINATOR = (
    to(r'conv_body\.0\.0\.weight', 'convs.0.0.conv.weight_orig'),
    to(r'conv_body\.0\.1\.bias', 'convs.0.1.bias', Tensor.flatten),
    to(r'conv_body\.(\d+)\.conv1\.0\.weight', lambda i: f'convs.{i}.conv1.0.conv.weight_orig'),
    to(r'conv_body\.(\d+)\.conv1\.1\.bias', lambda i: f'convs.{i}.conv1.1.bias', Tensor.flatten),
    to(r'conv_body\.(\d+)\.conv2\.1\.weight', lambda i: f'convs.{i}.conv2.1.conv.weight_orig'),
    to(r'conv_body\.(\d+)\.conv2\.2\.bias', lambda i: f'convs.{i}.conv2.2.bias', Tensor.flatten),
    to(r'conv_body\.(\d+)\.skip\.1\.weight', lambda i: f'convs.{i}.skip.1.conv.weight_orig'),
    to(r'final_conv\.0\.weight', 'final_conv.0.conv.weight_orig'),
    to(r'final_conv\.1\.bias', 'final_conv.1.bias', Tensor.flatten),
    to(r'final_linear\.(\d)\.weight', lambda i: f'final_linear.{i}.linear.weight_orig'),
    to(r'final_linear\.(\d)\.bias', lambda i: f'final_linear.{i}.bias'),
)

BASICSR = (
    Format('BasicSR StyleGAN2', 'StyleGAN2', ('constant_input.weight', 'style_conv1.modulated_conv.weight'), GENERATOR,
           add_filters_and_noises),
    Format('BasicSR StyleGAN2 discriminator', 'StyleGAN2 discriminator',
           ('conv_body.0.0.weight', 'final_linear.1.weight'), DISCRIMINATOR, add_discriminator_filters),
)  # fmt: skip
