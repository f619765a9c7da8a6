"""Faces upright, in the square that FFHQ has them in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy import ndimage

from glean_plus.inference.axis import mirrored
from glean_plus.utils.imresize import matlab_resize

# Where FFHQ's aligned faces have eyes, nose and corners of the mouth, in pixels of 512 x 512 (facexlib, GFPGAN).
TEMPLATE_SIZE = 512
TEMPLATE = np.array([
    (192.98138, 239.94708), (318.90277, 240.1936), (256.63416, 314.01935),
    (201.26117, 371.41043), (313.08905, 371.15118),
])  # fmt: skip
# Of a face that fills its image, the square may be larger than that; of what is larger still, points are no face's.
LARGEST = 4
REACH = 4  # pixels that the interpolation looks beyond the square


@dataclass(frozen=True)
class Alignment:
    """A square in an image, turned by any angle.

    Attributes:
        matrix: (2, 3), a point of the image -> one of the unit square. Pixels are areas: the first reaches from 0 to
            1, its middle is 0.5.
    """

    matrix: np.ndarray

    @property
    def side(self) -> float:
        """Of the square, in pixels of the image."""
        return 1 / math.sqrt(abs(np.linalg.det(self.matrix[:, :2])))

    @property
    def angle(self) -> float:
        """By which the face is turned, in degrees."""
        return math.degrees(math.atan2(self.matrix[0, 1], self.matrix[0, 0]))

    def to_square(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) of the image -> of the square."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) of the square -> of the image."""
        return (points - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T

    @property
    def corners(self) -> np.ndarray:
        """(4, 2), of the image."""
        return self.to_image(np.array([(0.0, 0.0), (1, 0), (0, 1), (1, 1)]))


def alignment(points: Sequence[tuple[float, float]], shape: tuple[int, int]) -> Alignment | None:
    """The square whose template lies best on five points, outliers aside: turned, enlarged and moved.

    Args:
        points: Left and right eye, nose, left and right corner of the mouth, in pixels.
        shape: Height and width of the image.

    Returns:
        None for points that are no face's: all in one place, or so far apart that the square dwarfs the image.
    """
    given = np.asarray(points, np.float64) + 0.5
    wanted = (TEMPLATE + 0.5) / TEMPLATE_SIZE
    # In pixels of the template: the search for outliers ends at differences that matter there.
    matrix = cv2.estimateAffinePartial2D(given, wanted * TEMPLATE_SIZE, method=cv2.LMEDS)[0]
    if matrix is None or not np.isfinite(matrix).all():
        return None
    matrix = matrix / TEMPLATE_SIZE
    size = abs(np.linalg.det(matrix[:, :2])) * (LARGEST * max(shape)) ** 2
    return Alignment(matrix) if size > 1 else None


def sample(planes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Cubic splines through (C, h, w) at points (..., 2) -> (C, ...) float32; the edges are mirrored.

    Args:
        planes: As :func:`splines` makes them.
        points: Pixels are areas, see :class:`Alignment`.
    """
    places = (points[..., 1] - 0.5, points[..., 0] - 0.5)
    return np.stack([
        ndimage.map_coordinates(plane, places, output=np.float32, order=3, mode='mirror', prefilter=False)
        for plane in planes
    ])  # fmt: skip


def splines(planes: np.ndarray) -> np.ndarray:
    """Coefficients of the splines that go through (C, h, w)."""
    return np.stack([ndimage.spline_filter(plane, 3, output=np.float32, mode='mirror') for plane in planes])


def centres(size: int) -> np.ndarray:
    """(size, size, 2), middles of the pixels of a unit square."""
    line = (np.arange(size) + 0.5) / size
    return np.stack(np.meshgrid(line, line), axis=-1)


def crop(image: np.ndarray, white: float, square: Alignment, size: int) -> np.ndarray:
    """Levels (H, W, C) -> what the square holds, (size, size, C) float32, 0 to 1.

    Beyond its edges the image is mirrored. A square with more pixels is sampled at a multiple of ``size`` and shrunk
    by MATLAB's bicubic, as training images are.
    """
    fine = size * max(1, math.ceil(square.side / size - 0.01))
    low = np.floor(square.corners.min(axis=0)).astype(int) - REACH
    extent = np.ceil(square.corners.max(axis=0)).astype(int) + REACH - low
    rows, columns = (mirrored(int(low[i]), int(extent[i]), image.shape[1 - i]).numpy() for i in (1, 0))
    region = np.moveaxis(image[rows][:, columns], 2, 0).astype(np.float32) / np.float32(white)
    sampled = sample(splines(region), square.to_image(centres(fine)) - low)
    small = matlab_resize(torch.from_numpy(sampled), (size, size)).clamp(0, 1)
    return np.ascontiguousarray(np.moveaxis(small.numpy(), 0, 2))
