"""Where faces are in an image of any size and kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from glean_plus.inference.faces.align import alignment, crop
from glean_plus.inference.image import Picture
from glean_plus.utils.images.arrays import from_unit, quantize

# Sides of the image in which faces are looked for: the longer one at most, the shorter one at least, and how much it
# is enlarged for that at most.
LONGEST, SHORTEST, ENLARGED = 1600, 512, 4
# Degrees from which on a face is turned upright and looked at once more, in a square of how many pixels, and how far
# from the middle of that it may then be, as a share.
TURNED, UPRIGHT, OFF = 10, 256, 0.2

Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A face, in pixels of its image.

    Attributes:
        box: Left, top, right, bottom; may reach beyond the image.
        score: 0 to 1, as its detector counts.
        points: Left and right eye, nose, left and right corner of the mouth, as seen in the image.
    """

    box: tuple[float, float, float, float]
    score: float
    points: tuple[Point, Point, Point, Point, Point]

    @classmethod
    def from_arrays(cls, box: np.ndarray, score: float, points: np.ndarray) -> Face:
        """Of (4,), a number and (5, 2)."""
        left, top, right, bottom = map(float, box)
        eye, other_eye, nose, corner, other_corner = ((float(x), float(y)) for x, y in points)
        return cls((left, top, right, bottom), float(score), (eye, other_eye, nose, corner, other_corner))

    @property
    def size(self) -> float:
        """The shorter side of the box."""
        left, top, right, bottom = self.box
        return min(right - left, bottom - top)

    @property
    def centre(self) -> Point:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    def scaled(self, x: float, y: float) -> Face:
        """The same in the image enlarged by ``x`` and ``y``."""
        factors = np.array([x, y])
        box, points = ((np.reshape(each, (-1, 2)) + 0.5) * factors - 0.5 for each in (self.box, self.points))
        return Face.from_arrays(box.ravel(), self.score, points)

    def content(self) -> dict[str, Any]:
        """For JSON."""
        points = [[round(x, 2), round(y, 2)] for x, y in self.points]
        return dict(box=[round(each, 2) for each in self.box], score=round(self.score, 4), points=points)


class Detector(Protocol):
    """Finds faces.

    Attributes:
        facts: What it is, for a manifest.
    """

    facts: Mapping[str, Any]

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Those in (H, W, 3) uint8, RGB."""
        ...


def find_faces(detector: Detector, picture: Picture) -> list[Face]:
    """Faces of an image, from top to bottom.

    A large image is shrunk and a small one enlarged for the detector. It looks at turned faces once more, upright:
    MTCNN's landmarks are off by 11% of the distance of the eyes at 45 degrees, and by 2% then.
    """
    image = shown = _shown(picture)
    height, width = image.shape[:2]
    factor = min(LONGEST / max(height, width), max(1, min(SHORTEST / min(height, width), ENLARGED)))
    if factor != 1:
        size = [max(1, round(side * factor)) for side in (width, height)]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    faces = [face.scaled(width / image.shape[1], height / image.shape[0]) for face in detector(image)]
    return sorted(
        (_seen_upright(detector, shown, face) for face in faces), key=lambda face: (face.centre[1], face.centre[0])
    )


def _seen_upright(detector: Detector, image: np.ndarray, face: Face) -> Face:
    """The face, if it is turned with the landmarks that it has when upright."""
    square = alignment(face.points, (image.shape[0], image.shape[1]))
    if square is None or abs(square.angle) < TURNED:
        return face
    upright = from_unit(crop(image, 255, square, UPRIGHT))
    near = [(math.dist(each.centre, (UPRIGHT / 2,) * 2), each) for each in detector(upright)]
    distance, nearest = min(near, key=lambda each: each[0], default=(math.inf, face))
    if distance > OFF * UPRIGHT:
        return face
    points = square.to_image((np.array(nearest.points) + 0.5) / UPRIGHT) - 0.5
    return Face.from_arrays(np.array(face.box), max(face.score, nearest.score), points)


def _shown(picture: Picture) -> np.ndarray:
    """Its colours as (H, W, 3) uint8."""
    layers = picture.layers
    image = picture.opaque()[..., :layers.colours]
    if image.dtype != np.uint8:
        image = quantize(image * np.float32(255 / layers.white))
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
