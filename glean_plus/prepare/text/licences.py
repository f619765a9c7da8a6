"""Licences, from the copyright file that a Debian package carries."""

from __future__ import annotations

import functools
import re
from pathlib import Path

SHORT, BEGINNING = 60, 120  # characters of a licence's name, and of one that is not known
KNOWN = {
    'OFL-1.1': r'SIL Open Font|openfontlicense|scripts\.sil\.org/OFL|\bOFL\b',
    'Apache-2.0': r'Apache License',
    'GUST-Font-License': r'GUST Font',
    'Bitstream-Vera': r'Bitstream Vera|dejavu-fonts',
    'GPL': r'GNU General Public|GPL',
}
# Forbids commercial use; "bundling with commercial and non commercial products" does not.
NON_COMMERCIAL = re.compile(
    r'(?<!commercial and )(?<!commercial or )\bnon[- ]?commercial|\bby-nc\b|\bpersonal use only|\bonly for personal',
    re.IGNORECASE,
)


def non_commercial(text: str) -> bool:
    """Whether a licence's text allows no commercial use, which none of the free licences does."""
    return NON_COMMERCIAL.search(text) is not None


def licence_of_package(path: Path, root: Path) -> str:
    """The licences that the copyright file beside ``path`` names: `usr/share/doc/*/copyright` in a folder around it.

    Empty where there is none, or where it names no known one; ``root`` is where the search ends.
    """
    for folder in path.parents:
        if (folder / 'usr' / 'share' / 'doc').is_dir():
            return licences_below(folder / 'usr' / 'share' / 'doc')
        if folder == root:
            return ''
    return ''


@functools.cache
def licences_below(folder: Path) -> str:
    names: dict[str, None] = {}
    for file in sorted(folder.glob('*/copyright')):
        text = file.read_text(encoding='utf-8', errors='replace')
        for block in re.split(r'\n\s*\n', text):
            # The files of the packaging itself have a licence of their own.
            if not re.search(r'(?mi)^Files:\s*debian/', block):
                names.update((name[:SHORT].strip(), None) for name in re.findall(r'(?m)^License:[ \t]*(\S.*)$', block))
        if not names:  # not in Debian's machine-readable form
            names.update((name, None) for name, pattern in KNOWN.items() if re.search(pattern, text, re.IGNORECASE))
    return '; '.join(names)


def known_licence(text: str) -> str:
    """The name of the licence that a text is of or points to; its beginning where that is none of :data:`KNOWN`."""
    found = (name for name, pattern in KNOWN.items() if re.search(pattern, text, re.IGNORECASE))
    return next(found, text[:BEGINNING])
