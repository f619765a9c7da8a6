"""MMagic's GLEANStyleGANv2 state dict -> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# What MMagic computes and throws away, or never uses: key pattern -> reason.
DROPPED = {
    r'fusion_skip\.': 'fuses the RGB skip, whose result MMagic throws away',
    r'generator\.to_rgbs?\d?\.': 'ToRGB, whose result MMagic throws away',
    r'generator\.style_mapping\.': 'mapping network, which codes from the encoder never pass',
}


def is_mmagic_glean(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of MMagic's GLEANStyleGANv2."""
    return 'encoder.0.0.conv_first.weight' in state and 'generator.constant_input.input' in state


def from_mmagic(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Rename every tensor, dropping those that can never reach the output.

    Args:
        state: Keys without the restorer's ``generator.`` prefix.

    Returns:
        The state dict for :class:`glean_plus.models.glean.GLEAN`, and {dropped key: reason}.
    """
    last_encoder = max(int(key.split('.')[1]) for key in state if key.startswith('encoder.'))
    last_decoder = max(int(key.split('.')[1]) for key in state if key.startswith('decoder.'))
    rules = (
        (rf'encoder\.{last_encoder}\.0\.', r'codes.conv.0.'),
        (rf'encoder\.{last_encoder}\.3\.', r'codes.linear.'),
        (r'encoder\.', r'encoder.stages.'),
        (rf'decoder\.{last_decoder}\.', r'decoder.last.'),
        (r'decoder\.', r'decoder.stages.'),
        (r'fusion_out\.(\d+)\.', lambda match: f'fusions.{4 << int(match.group(1))}.'),
        (r'generator\.', r'bank.'),
    )
    renamed: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    for key, tensor in state.items():
        reason = next((reason for pattern, reason in DROPPED.items() if re.match(pattern, key)), None)
        if reason:
            dropped[key] = reason
            continue
        for pattern, replacement in rules:
            if re.match(pattern, key):
                key = re.sub('^' + pattern, replacement, key)
                break
        renamed[key] = tensor
    return renamed, dropped
