"""Frames of an animation, as a file has them -> what a viewer shows.

PIL decodes the parts alone. Composing them, it differs from browsers and FFmpeg where a GIF clears a frame or leaves a
part of its canvas free, and where a PNG goes back to the frame before.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from PIL import Image

from glean_plus.utils.images.arrays import quantize

KEEP, CLEAR, RESTORE = range(3)


class Part(NamedTuple):
    """What a frame draws.

    Attributes:
        file: An image file of its own, which PIL reads.
        left, top: Where it begins.
        time: For how long the frame is shown, in seconds.
        after: What becomes of the part then: it stays (``KEEP``), is transparent (``CLEAR``), or is what it was before
            (``RESTORE``).
        replaces: Where it is transparent, so is the frame; otherwise what was before is seen there.
    """

    file: bytes
    left: int
    top: int
    time: Fraction
    after: int = KEEP
    replaces: bool = False


def composed(parts: Iterable[Part], width: int, height: int) -> Iterator[tuple[np.ndarray, Fraction]]:
    """Each frame, (H, W, 4) uint8 RGBA, and its time; what is beyond the size is left out."""
    canvas = np.zeros((height, width, 4), np.uint8)
    for part in parts:
        before = canvas.copy() if part.after == RESTORE else canvas
        place = canvas[part.top:, part.left:]
        with Image.open(io.BytesIO(part.file)) as image:
            drawn = rgba(image)[:place.shape[0], :place.shape[1]]
        place = place[:drawn.shape[0], :drawn.shape[1]]
        if drawn.size and not part.replaces:
            drawn = np.asarray(Image.alpha_composite(Image.fromarray(place), Image.fromarray(drawn)))
        place[:] = drawn
        yield canvas.copy(), part.time
        if part.after == CLEAR:
            place[:] = 0
        canvas = before


def rgba(image: Image.Image) -> np.ndarray:
    """(H, W, 4) uint8 of an image of PIL's; 16 bits become 8."""
    if image.mode.startswith('I'):
        image = Image.fromarray(quantize(np.asarray(image) / 257))
    return np.asarray(image.convert('RGBA'))
