"""CelebA-HQ, 30,000 faces of 1024 px, in the forms that are about."""

from __future__ import annotations

import re
from pathlib import Path

from glean_plus.prepare.files import ENDINGS, folder_of, images_below, shown
from glean_plus.prepare.items import Item, Listing

FOLDERS = ('CelebA-HQ-img', 'data1024x1024', 'celeba-1024', '.')


def read(source: Path) -> Listing:
    """Numbered images:

    - `CelebA-HQ-img/0.jpg` of CelebAMask-HQ, from 0;
    - `data1024x1024/00001.jpg` of the shared folder that GLEAN's authors name, from 1;
    - `00000.png`, or `imgHQ00000.npy` and `.npz` with one uint8 image, dumps of the original HDF5 file, from 0.

    They are renamed to count from 00001, as in GLEAN's list of its hundred test faces. A folder counts from 0 if it has
    an image 0, or if its numbers are not padded.
    """
    root = folder_of(source, FOLDERS, 'CelebA-HQ')
    paths, listing = images_below(root, r'(imgHQ)?\d+\.\w+', endings=(*ENDINGS, '.npy', '.npz'), base=source)
    digits = {path: re.sub(r'\D', '', Path(path).stem) for path in paths}
    from_zero = any(int(each) == 0 or (str(int(each)) == each and len(each) < 5) for each in digits.values())
    for path in sorted(paths, key=lambda path: (int(digits[path]), path)):
        name = f'{int(digits[path]) + from_zero:05d}'
        listing.items.append(Item(name, shown(root / path, source), str(root / path)))
    return listing
