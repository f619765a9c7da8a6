"""FFHQ, 70,000 faces of 1024 px (https://github.com/NVlabs/ffhq-dataset)."""

from __future__ import annotations

from pathlib import Path

from glean_plus.prepare.files import folder_of, images_below, shown
from glean_plus.prepare.items import Item, Listing


def read(source: Path) -> Listing:
    """`images1024x1024/00000/00000.png` or, downloaded flat, `images1024x1024/00000.png`; or that folder itself.

    The names stay, as GLEAN's list has them: 00000.png.
    """
    root = folder_of(source, ('images1024x1024', 'images', '.'), 'FFHQ')
    paths, listing = images_below(root, r'(\d{5}/)?\d{5}\.\w+', base=source)
    for path in paths:
        listing.items.append(Item(Path(path).stem, shown(root / path, source), str(root / path)))
    return listing
