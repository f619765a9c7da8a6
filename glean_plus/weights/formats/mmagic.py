"""The canonical layouts: the names that our networks give their tensors, most of which are MMagic's."""

from __future__ import annotations

from glean_plus.weights.formats.layout import published_networks
from glean_plus.weights.formats.rules import Format, leave, to

RULES = (
    leave(r'w_avg', 'mean code; a bank takes the mean of its mapping network'),  # of MMagic's models, beside the module
    to(r'(.+)', r'\1'),
)


def canonical() -> list[Format]:
    """The format of each of our networks that can be told by its keys."""
    return [
        Format(f'{network.origin} {name}', name, network.anchors, RULES, foreign=False)
        for name, network in published_networks().items() if network.anchors
    ]
