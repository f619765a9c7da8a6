"""MMagic's and mmgeneration's own keys, which are the canonical ones."""

from __future__ import annotations

from glean_plus.weights.formats.rules import Format, leave, to

# What MMagic's models carry beside the tensors of the module.
AVERAGE = leave(r'w_avg', 'mean code; a bank takes the mean of its mapping network')


def _same(name: str, architecture: str, *anchors: str) -> Format:
    rules = (AVERAGE, to(r'(.+)', lambda key: str(key)))
    return Format(name, architecture, anchors, rules, foreign=False)


MMAGIC = (
    _same('MMagic StyleGAN2', 'StyleGAN2', 'constant_input.input', 'conv1.conv.style_modulation.bias'),
    _same('MMagic StyleGAN2 discriminator', 'StyleGAN2 discriminator', 'convs.0.0.conv.weight_orig',
          'final_linear.1.linear.weight_orig'),
    _same('MMagic StyleGAN1', 'StyleGAN1', 'convs.0.conv1.input', 'convs.0.adain1.affine.bias'),
    _same('MMagic BigGAN', 'BigGAN', 'noise2feat.bias', 'conv_blocks.0.shortcut.conv.bias'),
    _same('MMagic BigGAN-deep', 'BigGAN-deep', 'noise2feat.bias', 'conv_blocks.0.conv4.conv.bias'),
    _same('MMagic BigGAN discriminator', 'BigGAN discriminator', 'decision.bias', 'conv_blocks.0.conv1.conv.bias'),
)  # fmt: skip
