"""Image files into a pipeline."""

from __future__ import annotations

from typing import Any

from mmcv.transforms import BaseTransform

from glean_plus.prepare.decode import read_image
from glean_plus.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadPicture(BaseTransform):
    """Reads a local file as ``prepare_data`` does; what is broken is named, and half an image is none.

    Writes ``results[key]``, (H, W, 3) uint8 RGB: upright, on white where it is transparent.

    Args:
        key: Key of the image; ``results['<key>_path']`` is its file.

    Raises:
        PictureError: (when called) If it cannot be read, see :func:`~glean_plus.prepare.decode.decode`.
            ``PictureDataset`` knows what to do then.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = read_image(results[f'{self.key}_path'])
        results[self.key] = image
        results[f'ori_{self.key}_shape'] = image.shape
        results[f'{self.key}_channel_order'] = 'rgb'
        results[f'{self.key}_color_type'] = 'color'
        return results
