"""Naturalness without a truth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmagic.evaluation.metrics.metrics_utils import obtain_data
from mmagic.evaluation.metrics.niqe import niqe
from mmagic.registry import METRICS

from glean_plus.metrics.base import PictureMetric

BLOCK = 96  # pixels


@METRICS.register_module()
class NIQEMetric(PictureMetric):
    """NIQE (Mittal et al., 2013) of the prediction alone; lower is better. Key ``NIQE``.

    MMagic's function, which gives its authors' numbers, in a metric that fits: MMagic's own takes the pictures of a
    test, (C, H, W), for (H, W, C), never looks at its ``key``, wants a truth that it does not use, and by default
    measures another gray than the published Y of YCbCr.

    Args:
        crop_border: Pixels left out at each edge.
        convert_to: ``y`` (of MATLAB's YCbCr, as published) or ``gray``.
        **kwargs: As :class:`PictureMetric`; ``pred_key`` names the picture.

    Raises:
        ValueError: On another conversion, or at a picture of less than two blocks of 96 x 96 pixels.
    """

    lower_is_better = True

    def __init__(self, crop_border: int = 0, convert_to: str = 'y', **kwargs: Any) -> None:
        if convert_to not in ('y', 'gray'):
            raise ValueError(f"convert_to must be 'y' or 'gray', but is {convert_to!r}.")
        if crop_border < 0:
            raise ValueError(f'crop_border must be at least 0, but is {crop_border}.')
        super().__init__('NIQE', **kwargs)
        self.crop_border, self.convert_to = crop_border, convert_to

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            pred = obtain_data(sample['output'], self.pred_key)
            pictures = pred[None] if pred.ndim == 3 else pred
            numbers = [self.process_image(None, each, None) for each in pictures]
            self.results.append({self.metric: sum(numbers) / len(numbers)})

    def process_image(self, gt: Any, pred: Any, mask: Any) -> float:
        image = torch.as_tensor(pred, dtype=torch.float32).cpu()
        height, width = (side - 2 * self.crop_border for side in image.shape[-2:])
        if (height // BLOCK) * (width // BLOCK) < 2:
            raise ValueError(
                f'NIQE compares blocks of {BLOCK} x {BLOCK} pixels and wants two of them, but the picture is '
                f'{image.shape[-1]} x {image.shape[-2]} with crop_border={self.crop_border}.'
            )
        if image.shape[0] == 1:
            image = image.expand(3, -1, -1)
        if self.order == 'rgb':
            image = image.flip(0)
        with warnings.catch_warnings():
            # Of flat blocks, which have no statistics; the function leaves them out.
            warnings.filterwarnings('ignore', 'Mean of empty slice|invalid value encountered', RuntimeWarning)
            return float(niqe(image.numpy(), self.crop_border, input_order='CHW', convert_to=self.convert_to))
