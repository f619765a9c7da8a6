"""What the metrics here have in common."""

from __future__ import annotations

from typing import Any

import torch
from mmagic.evaluation.metrics.base_sample_wise_metric import BaseSampleWiseMetric
from torch import Tensor

ORDERS = ('rgb', 'bgr')


class PictureMetric(BaseSampleWiseMetric):
    """A number for each picture, whose mean is reported.

    Pictures come as (C, H, W), 0 to 255, in the order ``channel_order``.

    Args:
        metric: Key of the result; ``<prefix>/<metric>`` with a prefix.
        channel_order: ``rgb`` or ``bgr``, the order of the pictures. MMagic turns all pictures of a test into BGR,
            whatever order they were loaded in.
        device: Where networks run.
        **kwargs: ``gt_key``, ``pred_key``, ``collect_device`` and ``prefix``, as MMagic's metrics.

    Raises:
        ValueError: On another order.
    """

    #: Which way is better.
    lower_is_better: bool
    #: Of the number; empty if it has none.
    unit = ''

    def __init__(self, metric: str, channel_order: str = 'bgr', device: str = 'cpu', **kwargs: Any) -> None:
        if channel_order not in ORDERS:
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', but is {channel_order!r}.")
        self.metric = metric
        super().__init__(device=device, **kwargs)
        self.order = channel_order

    def prepare_image(self, image: Any) -> Tensor:
        """(C, H, W), 0 to 255 -> (1, 3, H, W), RGB, -1 to 1; gray is repeated."""
        image = torch.as_tensor(image, dtype=torch.float32, device=self.device)
        if image.shape[0] == 1:
            image = image.expand(3, -1, -1)
        if self.order == 'bgr':
            image = image.flip(0)
        return image[None] / 127.5 - 1
