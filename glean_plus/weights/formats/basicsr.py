"""BasicSR's StyleGAN2 (``params_ema``), which GFPGAN and its kin train: rosinality's network, filters not stored."""

from __future__ import annotations

from glean_plus.weights.formats.rosinality import discriminator
from glean_plus.weights.formats.rules import Format, noise_map, to
from glean_plus.weights.formats.stylegan2 import add_discriminator_filters, add_filters_and_noises

# MMagic's names of these layers have no `style_`.
LAYER = r'(?=style_conv|to_rgb)(?:style_)?(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)'

GENERATOR = (
    to(r'style_mlp\.(\d+)\.weight', r'style_mapping.\1.linear.weight_orig'),
    to(r'style_mlp\.(\d+)\.bias', r'style_mapping.\1.bias'),
    to(r'constant_input\.weight', 'constant_input.input'),
    to(r'noises\.noise(\d+)', r'injected_noise_\1', noise_map),
    to(r'style_(conv1|convs\.\d+)\.weight', r'\1.noise_injector.weight'),
    to(r'style_(conv1|convs\.\d+)\.activate\.bias', r'\1.activate.bias'),
    to(LAYER + r'\.modulated_conv\.weight', r'\1.conv.weight_orig'),
    to(LAYER + r'\.modulated_conv\.modulation\.weight', r'\1.conv.style_modulation.linear.weight_orig'),
    to(LAYER + r'\.modulated_conv\.modulation\.bias', r'\1.conv.style_modulation.bias'),
    to(r'(to_rgb1|to_rgbs\.\d+)\.bias', r'\1.bias'),
)  # fmt: skip

BASICSR = (
    Format('BasicSR StyleGAN2', 'StyleGAN2', ('constant_input.weight', 'style_conv1.modulated_conv.weight'), GENERATOR,
           add_filters_and_noises),
    Format('BasicSR StyleGAN2 discriminator', 'StyleGAN2 discriminator',
           ('conv_body.0.0.weight', 'final_linear.1.weight'), discriminator('conv_body'), add_discriminator_filters),
)  # fmt: skip
