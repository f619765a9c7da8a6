"""The split: designs and documents are held out, each whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glean_plus.prepare.crops import rank
from glean_plus.prepare.items import DataError
from glean_plus.prepare.text.corpus import Document
from glean_plus.prepare.text.fonts import Font
from glean_plus.prepare.text.scripts import SCRIPTS

LARGEST_SHARE = 0.5  # a document with more of a script's characters is for training


def held_out_designs(fonts: Sequence[Font], share: float, seed: int) -> set[str]:
    """``share`` of the designs, rounded up, among those with the same scripts; none where there is only one."""
    groups: dict[tuple[str, ...], set[str]] = {}
    for design in {font.design for font in fonts}:
        scripts = {script for font in fonts if font.design == design for script in font.scripts}
        groups.setdefault(tuple(sorted(scripts)), set()).add(design)
    chosen: set[str] = set()
    for designs in groups.values():
        if len(designs) > 1:
            ordered = sorted(designs, key=lambda design: rank(design, seed))
            chosen.update(ordered[:math.ceil(share * len(designs))])
    return chosen


def held_out_documents(documents: Sequence[Document], share: float, seed: int) -> set[str]:
    """Names of documents with ``share`` of each script's characters, or a little more."""
    chosen: set[str] = set()
    for script in SCRIPTS:
        own = [document for document in documents if document.script == script]
        total, taken = sum(document.size for document in own), 0
        for document in sorted(own, key=lambda document: rank(document.name, seed)):
            if taken >= share * total:
                break
            if document.size <= LARGEST_SHARE * total:
                chosen.add(document.name)
                taken += document.size
    return chosen


def check_sides(fonts: Sequence[Font], documents: Sequence[Document], designs: set[str], names: set[str]) -> list[str]:
    """The scripts that have fonts and documents on both sides.

    Raises:
        DataError: If there is none.
    """
    good = []
    for script in SCRIPTS:
        sides = {font.design in designs for font in fonts if script in font.scripts}
        texts = {document.name in names for document in documents if document.script == script}
        if sides == texts == {False, True}:
            good.append(script)
    if not good:
        raise DataError('No script has two designs of fonts and two documents, one for training and one for tests: '
                        f'give more of them ({len({font.design for font in fonts})} designs, '
                        f'{len(documents)} documents).')  # fmt: skip
    return good
