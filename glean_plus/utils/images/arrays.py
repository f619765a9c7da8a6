"""Tensors of pixel values -> arrays that image files are written from."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def to_array(image: Tensor) -> np.ndarray:
    """(C, H, W), 0 to 255 -> (H, W, 3) uint8."""
    array = image.detach().cpu().float().round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
