"""CelebA, 202,599 faces (https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)."""

from __future__ import annotations

from pathlib import Path

from glean_plus.prepare.files import folder_of, images_below, shown
from glean_plus.prepare.items import Item, Listing

FOLDERS = tuple(
    f'{parent}{name}'
    for name in ('img_align_celeba_png', 'img_align_celeba/img_align_celeba', 'img_align_celeba', 'img_celeba')
    for parent in ('', 'Img/', 'celeba/')
) + ('.',)


def read(source: Path) -> Listing:
    """`img_align_celeba/000001.jpg` (aligned and cropped, 178 x 218) or `img_celeba/000001.jpg` (in the wild).

    Where both are there, the aligned are read; name the other folder itself to have it. The number is the ID, so the
    first 500 in order are the paper's IDs 1 to 500.
    """
    root = folder_of(source, FOLDERS, 'CelebA')
    paths, listing = images_below(root, r'\d{6}\.\w+', base=source)
    for path in paths:
        listing.items.append(Item(Path(path).stem, shown(root / path, source), str(root / path)))
    return listing
