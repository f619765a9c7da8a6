"""A folder of one's own images."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from glean_plus.prepare.files import images_below
from glean_plus.prepare.items import Item, Listing, safe_name


def read(source: Path) -> Listing:
    """Every image below ``source``, in any folder; the folders stay.

    Two of one name, such as a/1.jpg and a/1.png, keep their endings: a/1.jpg.png and a/1.png.png.
    """
    paths, listing = images_below(source, note_others=True)
    stems = Counter(os.path.splitext(path)[0] for path in paths)
    for path in paths:
        stem = os.path.splitext(path)[0]
        name = stem if stems[stem] == 1 else path
        listing.items.append(Item(safe_name(name), path, str(source / path)))
    return listing
