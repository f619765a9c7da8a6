"""rosinality's stylegan2-pytorch (``g_ema``, ``g``, ``d``): MMagic's StyleGAN2 under other names.

Up-sampling kernels, equalised weights, learning-rate multipliers and the affine bias of 1 are all the same there.
"""

from __future__ import annotations

from torch import Tensor

from glean_plus.weights.formats.rules import Format, leave, noise_map, to
from glean_plus.weights.formats.stylegan2 import add_noises

GENERATOR = (
    to(r'style\.(\d+)\.weight', lambda i: f'style_mapping.{i}.linear.weight_orig'),
    to(r'style\.(\d+)\.bias', lambda i: f'style_mapping.{i}.bias'),
    to(r'input\.input', 'constant_input.input'),
    to(r'noises\.noise_(\d+)', lambda i: f'injected_noise_{i}', noise_map),
    to(r'(conv1|convs\.\d+)\.noise\.weight', lambda name: f'{name}.noise_injector.weight'),
    to(r'(conv1|convs\.\d+)\.activate\.bias', lambda name: f'{name}.activate.bias', Tensor.flatten),
    to(r'(convs\.\d+)\.conv\.blur\.kernel', lambda name: f'{name}.conv.blur.kernel'),
    to(r'(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)\.conv\.weight', lambda name: f'{name}.conv.weight_orig'),
    to(r'(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)\.conv\.modulation\.weight',
       lambda name: f'{name}.conv.style_modulation.linear.weight_orig'),
    to(r'(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)\.conv\.modulation\.bias',
       lambda name: f'{name}.conv.style_modulation.bias'),
    to(r'(to_rgb1|to_rgbs\.\d+)\.bias', lambda name: f'{name}.bias'),
    to(r'(to_rgbs\.\d+)\.upsample\.kernel', lambda name: f'{name}.upsample.kernel'),
    leave(r'latent_avg', 'mean code; a bank takes the mean of its mapping network'),
)  # fmt: skip

DISCRIMINATOR = (
    to(r'convs\.0\.0\.weight', 'convs.0.0.conv.weight_orig'),
    to(r'convs\.0\.1\.bias', 'convs.0.1.bias', Tensor.flatten),
    to(r'(convs\.\d+\.conv1\.0|convs\.\d+\.conv2\.1|convs\.\d+\.skip\.1)\.weight',
       lambda name: f'{name}.conv.weight_orig'),
    to(r'(convs\.\d+\.conv1\.1|convs\.\d+\.conv2\.2)\.bias', lambda name: f'{name}.bias', Tensor.flatten),
    to(r'(convs\.\d+\.(?:conv2|skip)\.0)\.kernel', lambda name: f'{name}.kernel'),
    to(r'final_conv\.0\.weight', 'final_conv.0.conv.weight_orig'),
    to(r'final_conv\.1\.bias', 'final_conv.1.bias', Tensor.flatten),
    to(r'final_linear\.(\d)\.weight', lambda i: f'final_linear.{i}.linear.weight_orig'),
    to(r'final_linear\.(\d)\.bias', lambda i: f'final_linear.{i}.bias'),
)  # fmt: skip

ROSINALITY = (
    Format('rosinality StyleGAN2', 'StyleGAN2', ('input.input', 'conv1.conv.modulation.bias'), GENERATOR, add_noises),
    Format('rosinality StyleGAN2 discriminator', 'StyleGAN2 discriminator',
           ('convs.0.0.weight', 'convs.1.conv2.0.kernel', 'final_linear.1.weight'), DISCRIMINATOR),
)  # fmt: skip
