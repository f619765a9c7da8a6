"""rosinality's stylegan2-pytorch (``g_ema``, ``g``, ``d``): MMagic's StyleGAN2 under other names.

Up-sampling kernels, equalised weights, learning-rate multipliers and the affine bias of 1 are all the same there.
"""

from __future__ import annotations

from torch import Tensor

from glean_plus.weights.formats.rules import Format, Rule, leave, noise_map, to
from glean_plus.weights.formats.stylegan2 import add_noises

LAYER = r'(conv1|convs\.\d+|to_rgb1|to_rgbs\.\d+)'

GENERATOR = (
    to(r'style\.(\d+)\.weight', r'style_mapping.\1.linear.weight_orig'),
    to(r'style\.(\d+)\.bias', r'style_mapping.\1.bias'),
    to(r'input\.input', 'constant_input.input'),
    to(r'noises\.noise_(\d+)', r'injected_noise_\1', noise_map),
    to(r'(conv1|convs\.\d+)\.noise\.weight', r'\1.noise_injector.weight'),
    to(r'(conv1|convs\.\d+)\.activate\.bias', r'\1.activate.bias', Tensor.flatten),
    to(r'(convs\.\d+)\.conv\.blur\.kernel', r'\1.conv.blur.kernel'),
    to(LAYER + r'\.conv\.weight', r'\1.conv.weight_orig'),
    to(LAYER + r'\.conv\.modulation\.weight', r'\1.conv.style_modulation.linear.weight_orig'),
    to(LAYER + r'\.conv\.modulation\.bias', r'\1.conv.style_modulation.bias'),
    to(r'(to_rgb1|to_rgbs\.\d+)\.bias', r'\1.bias'),
    to(r'(to_rgbs\.\d+)\.upsample\.kernel', r'\1.upsample.kernel'),
    leave(r'latent_avg', 'mean code; a bank takes the mean of its mapping network'),
)


def discriminator(body: str) -> tuple[Rule, ...]:
    """Its table, but for filters; ``body`` is the name of its blocks."""
    return (
        to(rf'{body}\.0\.0\.weight', 'convs.0.0.conv.weight_orig'),
        to(rf'{body}\.0\.1\.bias', 'convs.0.1.bias', Tensor.flatten),
        to(rf'{body}\.(\d+\.conv1\.0|\d+\.conv2\.1|\d+\.skip\.1)\.weight', r'convs.\1.conv.weight_orig'),
        to(rf'{body}\.(\d+\.conv1\.1|\d+\.conv2\.2)\.bias', r'convs.\1.bias', Tensor.flatten),
        to(r'final_conv\.0\.weight', 'final_conv.0.conv.weight_orig'),
        to(r'final_conv\.1\.bias', 'final_conv.1.bias', Tensor.flatten),
        to(r'final_linear\.(\d)\.weight', r'final_linear.\1.linear.weight_orig'),
        to(r'final_linear\.(\d)\.bias', r'final_linear.\1.bias'),
    )


DISCRIMINATOR = (*discriminator('convs'), to(r'(convs\.\d+\.(?:conv2|skip)\.0)\.kernel', r'\1.kernel'))

ROSINALITY = (
    Format('rosinality StyleGAN2', 'StyleGAN2', ('input.input', 'conv1.conv.modulation.bias'), GENERATOR, add_noises),
    Format('rosinality StyleGAN2 discriminator', 'StyleGAN2 discriminator',
           ('convs.0.0.weight', 'convs.1.conv2.0.kernel', 'final_linear.1.weight'), DISCRIMINATOR),
)  # fmt: skip
