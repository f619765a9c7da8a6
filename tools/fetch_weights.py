"""List the published weights that fit here, and fetch some.

    python tools/fetch_weights.py
    python tools/fetch_weights.py stylegan2_cat_256 glean_cat_16x --cache weights

Fetched files are where configs look for them: in $GLEAN_PLUS_CACHE, or else in torch.hub's cache.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from pathlib import Path

from glean_plus.utils.terminal import Parser
from glean_plus.weights import CATALOGUE, Card, WeightsError, read_card
from glean_plus.weights.fetch import cached_path, fetch

SHIPPED = Path(__file__).resolve().parents[1] / 'configs' / 'weights'


def state(card: Card, cache: Path | None) -> str:
    if card.url is None:
        return 'shipped'
    return 'cached' if cached_path(card, cache).is_file() else '-'


def listing(cards: list[Card], cache: Path | None) -> str:
    """A line for each card, in columns."""
    rows = [('name', 'kind', 'bank', 'data', 'size', 'file', 'licence')]
    for card in cards:
        size = f'{card.size / 1e6:.1f} MB' if card.size else '?'
        data = textwrap.shorten(card.data, 36, placeholder=' ...')
        rows.append((card.name, card.kind, card.architecture, data, size, state(card, cache), card.licence))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', help='what to fetch')
    parser.add_argument('--list', action='store_true', help='list all there is, as without a name')
    parser.add_argument('--cache', type=Path, help='folder for the files')
    args = parser.parse_args()

    for name in args.names:
        if name not in CATALOGUE:
            close = difflib.get_close_matches(name, CATALOGUE) or CATALOGUE
            parser.error(f'there is no {name!r} in the catalogue; did you mean {" or ".join(close)}?')
    for name in args.names:
        card = CATALOGUE[name]
        try:
            path = fetch(card, args.cache)
        except WeightsError as error:
            sys.exit(str(error))
        print(f'{path}\n  {card.licence}')
        if card.config:
            print(f'  mim test glean_plus {card.config}.py --checkpoint {path}')
    if args.list or not args.names:
        shipped = [read_card(path) for path in sorted(SHIPPED.glob('*.json'))]
        print(listing([*CATALOGUE.values(), *shipped], args.cache))


if __name__ == '__main__':
    main()
