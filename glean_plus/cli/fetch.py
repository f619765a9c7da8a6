"""List the published weights that fit here, and fetch some.

    glean-plus fetch
    glean-plus fetch stylegan2_cat_256 glean_cat_16x --cache weights
    glean-plus fetch hf://OWNER/REPO/FILE@REVISION

Fetched files are where configs look for them: in $GLEAN_PLUS_CACHE, or else in torch.hub's cache; those of hf:// in the
Hugging Face hub's.
"""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

from glean_plus.cli.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('names', nargs='*', metavar='NAME', help='what to fetch: a name of the list, a URL, or hf://OWNER/REPO/FILE')
    parser.add_argument('--list', action='store_true', help='list all there is, as without a name')
    parser.add_argument('--cache', type=Path, help='folder for the files')


def run(args: argparse.Namespace) -> None:
    from glean_plus.weights.catalogue import CATALOGUE
    from glean_plus.weights.fetch import fetch, is_address
    from glean_plus.weights.listing import listing

    for name in args.names:
        if name not in CATALOGUE and not is_address(name):
            close = difflib.get_close_matches(name.lower(), CATALOGUE)
            hint = f'did you mean {" or ".join(close)}?' if close else '--list lists what there is'
            raise UsageError(f'there is no {name!r} in the catalogue; {hint}')
    for name in args.names:
        if is_address(name):
            print(fetch(name, args.cache))
            continue
        card = CATALOGUE[name]
        path = fetch(card, args.cache)
        print(f'{path}\n  {card.licence}')
        if card.config:
            print(f'  mim test glean_plus {card.config}.py --checkpoint {path}')
    if args.list or not args.names:
        print(listing(args.cache))
