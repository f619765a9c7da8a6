"""Licences, from the copyright file that a Debian package carries."""

from __future__ import annotations

import functools
import re
from pathlib import Path

SHORT = 60  # characters of a licence's name


def licence_of_package(path: Path, root: Path) -> str:
    """The licences that the copyright file beside ``path`` names: `usr/share/doc/*/copyright` in a folder around it.

    Empty where there is none, or where it is not in Debian's machine-readable form; ``root`` is where the search ends.
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
    return '; '.join(names)
