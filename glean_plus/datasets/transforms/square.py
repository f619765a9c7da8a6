"""Images of any size to the one size that a network with a StyleGAN inside takes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from glean_plus.registry import TRANSFORMS
from glean_plus.utils.images.arrays import quantize


@TRANSFORMS.register_module()
class SquareResize(BaseTransform):
    """Crops the middle square and resizes it to (size, size, C), uint8: by area to shrink, else bicubic.

    Section 5.1 says that data are resized to the generator's size, and not how. Cropped and not squeezed, because
    faces of another aspect are none of the bank's.

    Args:
        size: Side of the result in pixels.
        key: Key of the image, (H, W, C), 0 to 255.

    Raises:
        ValueError: If the size is not positive.
    """

    def __init__(self, size: int, key: str = 'img') -> None:
        if size < 1:
            raise ValueError(f'size must be positive, but is {size}.')
        self.size = size
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results[self.key]
        height, width, channels = image.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[top:top + side, left:left + side]
        if side != self.size:
            interpolation = cv2.INTER_AREA if self.size < side else cv2.INTER_CUBIC
            image = cv2.resize(image.astype(np.float32), (self.size, self.size), interpolation=interpolation)
        image = image.reshape(self.size, self.size, channels)
        results[self.key] = np.ascontiguousarray(quantize(image.astype(np.float32)))
        return results
