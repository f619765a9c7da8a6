"""CAT, about 10,000 cats (Zhang et al., ECCV 2008)."""

from __future__ import annotations

from pathlib import Path

from glean_plus.prepare.files import folder_of, images_below, shown
from glean_plus.prepare.items import Item, Listing


def read(source: Path) -> Listing:
    """`CAT_00` to `CAT_06`, each with `00000001_000.jpg` and `00000001_000.jpg.cat`, points of the head, not used here.

    The names stay, as in GLEAN's list of its hundred test cats.
    """
    root = source if (source / 'CAT_00').is_dir() else folder_of(source, ('cats', '.'), 'CAT')
    paths, listing = images_below(root, r'(CAT_0\d/)?\d{8}_\d{3}\.\w+', base=source)
    for path in sorted(paths, key=lambda path: (Path(path).name, path)):
        listing.items.append(Item(Path(path).stem, shown(root / path, source), str(root / path)))
    return listing
