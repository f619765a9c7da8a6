"""Labeled Faces in the Wild, 13,233 faces of 250 px, and its subset "A"."""

from __future__ import annotations

from pathlib import Path

from glean_plus.prepare.files import folder_of, images_below, shown
from glean_plus.prepare.items import Item, Listing

FOLDERS = ('lfw', 'lfw_funneled', 'lfw-deepfunneled/lfw-deepfunneled', 'lfw-deepfunneled', '.')
SUFFIXES = {'Jr', 'Sr', 'II', 'III', 'IV'}


def surname(person: str) -> str:
    """`Abdel_Aziz_Al-Hakim` -> `Al-Hakim`; of a person with one name, that."""
    words = [word for word in person.split('_') if word not in SUFFIXES]
    return words[-1] if words else person


def read(source: Path, subset: str = 'surname') -> Listing:
    """`lfw/Name_Surname/Name_Surname_0001.jpg`.

    Args:
        source: The folder with `lfw` in it, or that itself.
        subset: Who is taken. 'surname': those whose surname starts with A, the paper's words (section 5.5). 'name':
            those whose name does, which is what LFW's own `lfw-a.tgz` holds. 'all': everybody.
    """
    root = folder_of(source, FOLDERS, 'LFW')
    paths, listing = images_below(root, r'([^/]+)/\1_\d{4}\.\w+', base=source)
    for path in paths:
        person = path.split('/')[0]
        word = {'surname': surname(person), 'name': person, 'all': 'A'}[subset]
        if word.upper().startswith('A'):
            listing.items.append(Item(Path(path).stem, shown(root / path, source), str(root / path)))
    return listing
