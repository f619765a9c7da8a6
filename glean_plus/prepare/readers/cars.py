"""Stanford Cars, 16,185 cars (Krause et al., 3dRR 2013)."""

from __future__ import annotations

from pathlib import Path

from glean_plus.prepare.files import folder_of, images_below, shown
from glean_plus.prepare.items import Item, Listing

FOLDERS = ('cars_test', 'cars_train', 'car_ims', '.')


def read(source: Path) -> Listing:
    """`cars_test/00001.jpg`; where that is missing `cars_train/`, or `car_ims/000001.jpg`; or that folder itself.

    Whole images: the boxes and classes of `devkit/*.mat` are not used.
    """
    root = folder_of(source, FOLDERS, 'Stanford Cars')
    paths, listing = images_below(root, r'(cars_\w+/)?\d{5,6}\.\w+', base=source)
    for path in paths:
        listing.items.append(Item(Path(path).stem, shown(root / path, source), str(root / path)))
    listing.notes.append(f'Reading {root}')
    return listing
