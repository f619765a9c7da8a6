"""The published and the shipped weights as a table."""

from __future__ import annotations

import textwrap
from pathlib import Path

from glean_plus.utils.resources import data_folder
from glean_plus.utils.tables import aligned
from glean_plus.weights.cards import Card, read_card
from glean_plus.weights.catalogue import CATALOGUE
from glean_plus.weights.fetch import cached_path


def listing(cache: Path | None = None) -> str:
    """A line for each card, in columns; ``cache`` is where fetched files are looked for."""
    shipped = [read_card(path) for path in sorted((data_folder('configs') / 'weights').glob('*.json'))]
    rows = [('name', 'kind', 'bank', 'data', 'size', 'file', 'licence')]
    for card in (*CATALOGUE.values(), *shipped):
        size = f'{card.size / 1e6:.1f} MB' if card.size else '?'
        data = textwrap.shorten(card.data, 36, placeholder=' ...')
        rows.append((card.name, card.kind, card.architecture, data, size, state(card, '-', cache), card.licence))
    return '\n'.join(aligned(rows))


def state(card: Card, absent: str, cache: Path | None = None) -> str:
    """Whether the weights of a card are here; ``absent`` is the word where they are not."""
    if card.url is None:
        return 'shipped'
    return 'cached' if cached_path(card, cache).is_file() else absent
