"""An image enlarged by bicubic, row by row: what is behind the faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from glean_plus.inference.consistency import BLOCK, Pyramid
from glean_plus.inference.image import Picture, levels

HALO = 2  # rows that bicubic sees beyond


def bicubic_rows(pictures: Sequence[Picture], scale: int) -> Iterator[list[np.ndarray]]:
    """Rows (h, s W, K) of each image of one size and kind, enlarged by MATLAB's bicubic, from the top."""
    images, layers = [picture.opaque() for picture in pictures], pictures[0].layers
    pyramid, height = Pyramid(scale), len(images[0])
    for top in range(0, height, BLOCK):
        bottom = min(top + BLOCK, height)
        if scale == 1:
            yield [picture.image[top:bottom].copy() for picture in pictures]
            continue
        begin, end = max(top - HALO, 0), min(bottom + HALO, height)
        rows = slice(scale * (top - begin), scale * (bottom - begin))
        yield [levels(pyramid.up(layers.tensor(image[begin:end]))[:, rows], image.dtype.name) for image in images]
