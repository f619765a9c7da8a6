"""What the metrics here have in common."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmagic.evaluation.metrics.base_sample_wise_metric import BaseSampleWiseMetric
from mmagic.evaluation.metrics.metrics_utils import obtain_data
from mmengine.logging import print_log
from torch import Tensor

from glean_plus.errors import GleanError
from glean_plus.metrics.directions import EXACT, LEFT_OUT, lower_is_better
from glean_plus.weights.errors import brief

ORDERS = ('rgb', 'bgr')
MAX_PSNR = 100.0  # dB; stands for the infinite PSNR of equal images, as is usual
WHY = 'left_out'  # key of a result without a number
SHOWN = 3  # of the images that a warning names


class Unmeasurable(GleanError, ValueError):
    """A metric does not exist for an image: too small, without content, or not finite."""


class PictureMetric(BaseSampleWiseMetric):
    """A number for each image, whose mean is reported.

    Images come as (C, H, W), 0 to 255, in the order ``channel_order``. An image for which the metric does not exist is
    left out of the mean, named in a warning, and counted in the result as ``<metric>-left-out``; if that are all, there
    is no mean.

    Args:
        metric: Key of the result; ``<prefix>/<metric>`` with a prefix.
        channel_order: ``rgb`` or ``bgr``, the order of the images. MMagic turns all images of a test into BGR,
            whatever order they were loaded in.
        device: Where networks run.
        **kwargs: ``gt_key``, ``pred_key``, ``collect_device`` and ``prefix``, as MMagic's metrics.

    Raises:
        ValueError: On another order.
    """

    #: Of the number; empty if it has none.
    unit = ''
    #: What stands for an exact image, if there is such a number; these are counted as ``<metric>-exact``.
    exact: float | None = None

    def __init__(self, metric: str, channel_order: str = 'bgr', device: str = 'cpu', **kwargs: Any) -> None:
        if channel_order not in ORDERS:
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', but is {channel_order!r}.")
        self.metric = metric
        super().__init__(device=device, **kwargs)
        self.order = channel_order

    @property
    def lower_is_better(self) -> bool | None:
        """Which way is better."""
        return lower_is_better(type(self))

    def prepare_image(self, image: Any) -> Tensor:
        """(C, H, W), 0 to 255 -> (1, 3, H, W), RGB, -1 to 1; gray is repeated."""
        image = torch.as_tensor(image, dtype=torch.float32, device=self.device)
        if image.shape[0] == 1:
            image = image.expand(3, -1, -1)
        if self.order == 'bgr':
            image = image.flip(0)
        return image[None] / 127.5 - 1

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        for sample in data_samples:
            try:
                self.results.append(self.measure(sample))
            except Unmeasurable as error:
                self.results.append({self.metric: None, WHY: f'{image_name(sample)}: {error}'})

    def measure(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a sample; of a sequence of images the mean.

        Raises:
            Unmeasurable: If there is none.
        """
        gt, pred = self.images(sample)
        if not torch.as_tensor(pred).isfinite().all():
            raise Unmeasurable('its prediction has NaN or Inf')
        frames = [(gt, pred)] if pred.ndim <= 3 else [*zip([None] * len(pred) if gt is None else gt, pred)]
        numbers = [float(self.process_image(*frame, None)) for frame in frames]
        number = sum(numbers) / len(numbers)
        if not math.isfinite(number):
            raise Unmeasurable('its values are not finite')
        return {self.metric: number}

    def images(self, sample: Mapping[str, Any]) -> tuple[Any, Any]:
        """Ground truth, if the metric needs one, and prediction of a sample."""
        return obtain_data(sample, self.gt_key, self.device), obtain_data(sample['output'], self.pred_key, self.device)

    def compute_metrics(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        numbers = [result[self.metric] for result in results if WHY not in result]
        found = {self.metric: self.scaling * sum(numbers) / len(numbers)} if numbers else {}
        if self.exact is not None and (exact := sum(number >= self.exact for number in numbers)):
            found[self.metric + EXACT] = exact
        return found | self.left_out(results)

    def left_out(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The entry that counts the images without a number, which are named in a warning; empty if there is none."""
        texts = [result[WHY] for result in results if WHY in result]
        if not texts:
            return {}
        name = f'{self.prefix}/{self.metric}' if self.prefix else self.metric
        more = f' and {len(texts) - SHOWN} more' if len(texts) > SHOWN else ''
        mean = 'they are left out of the mean' if len(texts) < len(results) else 'so there is no mean'
        count = f'{len(texts)} of {len(results)} images'
        text = f'{name} does not exist for {count}, {mean}: {"; ".join(texts[:SHOWN])}{more}.'
        print_log(text, logger='current', level=logging.WARNING)
        return {self.metric + LEFT_OUT: len(texts)}


def image_name(sample: Mapping[str, Any]) -> str:
    """An image's file, or what else its data set calls it."""
    for key in ('gt_path', 'img_path', 'key'):
        if isinstance(name := sample.get(key), (str, Path)) and str(name):
            return brief(str(name))
    return f'image {sample["sample_idx"]}' if 'sample_idx' in sample else 'an image'


def check_pair(gt: Any, pred: Any, smallest: int) -> None:
    """Compare two images' sizes with each other and with the side that a metric needs.

    Raises:
        Unmeasurable: If they do not fit.
    """
    if gt.shape != pred.shape:
        raise Unmeasurable(f'its prediction is {size(pred)}, its ground truth {size(gt)}')
    check_side(pred, smallest)


def check_side(image: Any, smallest: int) -> None:
    """As :func:`check_pair`, of one image."""
    if min(image.shape[-2:]) < smallest:
        raise Unmeasurable(f'it is {size(image)}, less than {smallest} pixels of a side')


def size(image: Any) -> str:
    """Width and height of (C, H, W), for people."""
    return f'{image.shape[-1]}x{image.shape[-2]}'


def check_crop_border(crop_border: int) -> int:
    """The pixels to leave out at each edge, if that is a whole number of at least 0; else a ValueError."""
    if isinstance(crop_border, bool) or not isinstance(crop_border, int) or crop_border < 0:
        raise ValueError(f'crop_border must be a whole number of at least 0, but is {crop_border!r}.')
    return crop_border
