"""An image of an input and its result, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glean_plus.inference.base import Restored
from glean_plus.inference.image import Meta, Picture
from glean_plus.inference.png_stream import PngWriter
from glean_plus.inference.write import fitting
from glean_plus.utils.files import whole_or_not_at_all
from glean_plus.utils.images.arrays import WHITES, from_unit


def compared(
    rows: Iterator[np.ndarray], picture: Picture, made: Restored, path: Path
) -> Iterator[np.ndarray]:
    """The same rows; on their way they are written to ``path``, right of the input, enlarged without smoothing.

    It has the colour profile of both, and so is gray where both are.
    """
    height, width, channels = made.shape
    given_height, given_width = picture.image.shape[:2]
    columns = np.arange(width) * given_width // width  # the input's that are shown
    colours = 1 if channels < 3 else 3
    meta, _ = fitting('.png', Meta(icc=picture.kept(channels).icc))
    with whole_or_not_at_all(path) as file:
        writer, top = PngWriter(file, height, 2 * width, colours, meta=meta), 0
        for part in rows:
            lines = np.arange(top, top + len(part)) * given_height // height
            given = _shown(picture.image[lines[0]:lines[-1] + 1], colours)[lines - lines[0]][:, columns]
            writer.write(np.concatenate([given, _shown(part, colours)], axis=1))
            top += len(part)
            yield part
        writer.close()


def _shown(image: np.ndarray, colours: int) -> np.ndarray:
    """(H, W, K) of any type -> (H, W, colours) uint8, on white where it is transparent."""
    image = image / np.float32(WHITES[image.dtype.name])
    opacity = image[..., -1:] if image.shape[2] in (2, 4) else 1
    colour = image[..., :1 if image.shape[2] < 3 else 3]
    shown = from_unit(colour * opacity + (1 - opacity))
    return np.broadcast_to(shown, (*image.shape[:2], colours))
