"""Naturalness without a ground truth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmagic.evaluation.metrics.metrics_utils import obtain_data
from mmagic.evaluation.metrics.niqe import niqe

from glean_plus.metrics.base import PictureMetric, Unmeasurable, check_crop_border, size
from glean_plus.registry import METRICS

BLOCK = 96  # pixels


@METRICS.register_module()
class NIQEMetric(PictureMetric):
    """NIQE (Mittal et al., 2013) of the prediction alone; lower is better. Key ``NIQE``.

    MMagic's function, which gives its authors' numbers, in a metric that fits: MMagic's own takes the images of a
    test, (C, H, W), for (H, W, C), never looks at its ``key``, wants a ground truth that it does not use, and by
    default measures another gray than the published Y of YCbCr. An image without two blocks of 96 x 96 pixels that have
    texture has no NIQE.

    Args:
        crop_border: Pixels left out at each edge.
        convert_to: ``y`` (of MATLAB's YCbCr, as published) or ``gray``.
        **kwargs: As :class:`PictureMetric`; ``pred_key`` names the image.

    Raises:
        ValueError: On another conversion, or a negative border.

    Example:
        >>> image = np.random.default_rng(0).uniform(0, 255, (3, 192, 192))
        >>> 10 < NIQEMetric().process_image(None, image, None) < 200  # noise
        True
    """

    def __init__(self, crop_border: int = 0, convert_to: str = 'y', **kwargs: Any) -> None:
        if convert_to not in ('y', 'gray'):
            raise ValueError(f"convert_to must be 'y' or 'gray', but is {convert_to!r}.")
        self.crop_border, self.convert_to = check_crop_border(crop_border), convert_to
        super().__init__('NIQE', **kwargs)

    def images(self, sample: Mapping[str, Any]) -> tuple[None, Any]:
        return None, obtain_data(sample['output'], self.pred_key)

    def process_image(self, gt: Any, pred: Any, mask: Any) -> float:
        image = torch.as_tensor(pred, dtype=torch.float32).cpu()
        height, width = (side - 2 * self.crop_border for side in image.shape[-2:])
        if max(height, 0) // BLOCK * (max(width, 0) // BLOCK) < 2:
            raise Unmeasurable(
                f'NIQE compares blocks of {BLOCK}x{BLOCK} pixels and needs two of them, but the image is {size(image)} '
                f'with crop_border={self.crop_border}'
            )
        if image.shape[0] == 1:
            image = image.expand(3, -1, -1)
        if self.order == 'rgb':
            image = image.flip(0)
        with warnings.catch_warnings():
            # Of flat blocks, which have no statistics; the function leaves them out.
            warnings.filterwarnings('ignore', r'Mean of empty slice|invalid value|divide by zero|Degrees of freedom',
                                    RuntimeWarning)  # fmt: skip
            try:
                number = float(niqe(image.numpy(), self.crop_border, input_order='CHW', convert_to=self.convert_to))
            except np.linalg.LinAlgError:  # of a covariance that is not finite
                number = math.nan
        if not math.isfinite(number):
            raise Unmeasurable('too few of its blocks have texture: they are flat')
        return number
