"""Pixel values: the ranges of their types, and how they are rounded to those that a file holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# Type of an image -> its highest value; the lowest is 0.
WHITES: Mapping[str, float] = {'uint8': 255, 'uint16': 65535, 'float32': 1, 'float64': 1}


def quantize(values: np.ndarray, kind: str = 'uint8') -> np.ndarray:
    """Floats of 0 to a type's highest value -> that type: clipped, and rounded half to even if it is of integers."""
    rounded = values if WHITES[kind] == 1 else values.round()
    return rounded.clip(0, WHITES[kind]).astype(kind)


def from_unit(values: np.ndarray, kind: str = 'uint8') -> np.ndarray:
    """Floats of 0 to 1 -> a type of ``WHITES``: clipped, and rounded if it is an integer type."""
    return quantize(values * WHITES[kind], kind)


def to_array(image: Tensor) -> np.ndarray:
    """(C, H, W), 0 to 255 -> (H, W, 3) uint8."""
    array = quantize(image.detach().cpu().float().permute(1, 2, 0).numpy())
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
