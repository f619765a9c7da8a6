"""The input of colorization."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from glean_plus.registry import TRANSFORMS
from glean_plus.utils.color import rgb_to_lab
from glean_plus.utils.images import arrays

# Type of an image -> its white; MMagic's floats are 0 to 255.
WHITES = dict(arrays.WHITES, float32=255, float64=255)


@TRANSFORMS.register_module()
class LabLightness(BaseTransform):
    """L of CIE Lab, of a colour image ("pseudo-gray") as of a gray photograph (appendix A).

    Writes ``results['img']``, (H, W, 1) float32: 2.55 L, 0 to 255, not rounded, so that L passes exactly.

    Args:
        key: Key of the image: ``gt`` where it is the ground truth too, ``img`` for photographs without. (H, W, 3), in
            the order that ``results['<key>_channel_order']`` says (BGR if nothing), (H, W, 1) or (H, W); 8 or 16
            bits, or floats of 0 to 255.

    Raises:
        ValueError: (when called) On another number of channels or type.
    """

    def __init__(self, key: str = 'gt') -> None:
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = np.asarray(results[self.key])
        image = image[..., None] if image.ndim == 2 else image
        if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype.name not in WHITES:
            where = results.get(f'{self.key}_path', f'`{self.key}`')
            raise ValueError(
                f'{where}: lightness needs 1 or 3 channels of {", ".join(WHITES)}, but there are {image.shape} of '
                f"{image.dtype}. Load it with color_type='color'."
            )
        if results.get(f'{self.key}_channel_order', 'bgr').lower() == 'bgr':
            image = image[:, :, ::-1]
        channels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))
        lab = rgb_to_lab(channels.expand(3, -1, -1) / WHITES[image.dtype.name])
        results['img'] = 2.55 * lab[0].numpy()[..., None]
        results['img_color_type'] = 'grayscale'
        return results
