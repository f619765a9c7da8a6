"""Restored faces back into the rows of an enlarged image, without seams."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from glean_plus.inference.faces.align import Alignment, sample, splines
from glean_plus.utils.imresize import matlab_resize

# Shares of the square's side: what does not count at its edges, where a network sees zeros beyond, and over how much
# more the face fades in.
MARGIN, FEATHER = 1 / 32, 1 / 8
# How fast a face's claim falls from the middle of its square, where the squares of several overlap.
CLAIM = 1 / 6
# Pixels that a face has at most for each of the photo's before it is turned back: less costs sharpness, more aliases.
DENSITY = 1.15
ROWS = 64  # at a time


class Patch:
    """A restored face and where it belongs.

    Args:
        result: (n, n, C), 0 to 1.
        square: Where it was, in the image.
        scale: By how much the image is enlarged.
        shape: Height and width of the enlarged image.

    Attributes:
        top, bottom, left, right: What it touches of the enlarged image.
    """

    def __init__(self, result: np.ndarray, square: Alignment, scale: int, shape: Sequence[int]) -> None:
        self.square, self.scale = square, scale
        self.size = min(len(result), math.ceil(DENSITY * square.side * scale))
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(result, 2, 0)))
        if self.size < len(result):
            planes = matlab_resize(planes, (self.size, self.size))
        self.planes = splines(planes.numpy())
        self.left, self.top, self.right, self.bottom = extent(square, scale, shape)

    def at(self, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of rows ``top`` to ``bottom``, its columns: colours (h, w, C), how opaque it is, and its claim, (h, w)."""
        x = (np.arange(self.left, self.right) + 0.5) / self.scale
        y = (np.arange(top, bottom) + 0.5) / self.scale
        places = self.square.to_square(np.stack(np.meshgrid(x, y), axis=-1))
        opacity = _fade(places[..., 0]) * _fade(places[..., 1])
        claim = np.exp(-np.square(places - 0.5).sum(axis=-1) / (2 * CLAIM**2))
        colours = np.moveaxis(sample(self.planes, places * self.size), 0, 2)
        return colours, opacity.astype(np.float32), claim.astype(np.float32)


def extent(square: Alignment, scale: int, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a square touches of the enlarged image."""
    corners = scale * square.corners
    limits = (shape[1], shape[0])
    low = [max(0, math.floor(corners[:, i].min())) for i in (0, 1)]
    high = [min(limits[i], math.ceil(corners[:, i].max())) for i in (0, 1)]
    return low[0], low[1], high[0], high[1]


def _fade(place: np.ndarray) -> np.ndarray:
    """0 at the edges of the unit square and beyond, 1 inside, smooth between."""
    inward = (np.minimum(place, 1 - place) - MARGIN) / FEATHER
    return np.square(np.sin(math.pi / 2 * inward.clip(0, 1)))


def paste(part: np.ndarray, top: int, patches: Sequence[Patch], colours: int, white: float) -> None:
    """Put faces into rows of an image; where no face is, not a level changes.

    Where several overlap, the one whose middle is nearer counts more.

    Args:
        part: (h, W, K) levels, changed in place.
        top: The first row's number.
        patches: The faces.
        colours: How many of the channels are colours: opacity stays.
        white: The highest level, 1 for floats.
    """
    for begin in range(0, len(part), ROWS):
        rows = part[begin:begin + ROWS]
        first, last = top + begin, top + begin + len(rows)
        touched = [each for each in patches if each.top < last and each.bottom > first and each.left < each.right]
        if not touched:
            continue
        left, right = min(each.left for each in touched), max(each.right for each in touched)
        shape = (len(rows), right - left)
        mixed, weight, rest = (np.zeros((*shape, colours), np.float32), np.zeros(shape, np.float32),
                               np.ones(shape, np.float32))  # fmt: skip
        for each in touched:
            begin_row, end_row = max(first, each.top), min(last, each.bottom)
            where = np.s_[begin_row - first:end_row - first, each.left - left:each.right - left]
            values, opacity, claim = each.at(begin_row, end_row)
            share = opacity * claim
            mixed[where] += share[..., None] * values
            weight[where] += share
            rest[where] *= 1 - opacity
        inside = weight > 0
        region = rows[:, left:right, :colours]
        over = rest[inside][:, None]
        faces = mixed[inside] / weight[inside][:, None]
        blended = over * region[inside] + (1 - over) * np.float32(white) * faces.clip(0, 1)
        region[inside] = blended if part.dtype.kind == 'f' else blended.round()
