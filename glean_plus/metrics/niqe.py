"""NIQE of pictures that have no ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmagic.evaluation.metrics import NIQE
from mmagic.evaluation.metrics.metrics_utils import obtain_data
from mmagic.registry import METRICS


@METRICS.register_module()
class NoReferenceNIQE(NIQE):
    """MMagic's ``NIQE``, which asks for a ``gt_img`` that it never reads, and takes pictures for (H, W, C).

    This one needs no truth, and reads (C, H, W) as MMagic's models give it: BGR, 0 to 255. Lower is better. A picture
    needs several blocks of 96 px, so 192 px a side at least.

    Args:
        key: Key of the picture in the prediction.
        crop_border: Pixels left out at each edge.
        convert_to: ``gray``, or ``y`` of YCbCr.
        prefix, collect_device: As in MMEngine's metrics.
    """

    def __init__(
        self,
        key: str = 'pred_img',
        crop_border: int = 0,
        convert_to: str = 'gray',
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(
            key, crop_border=crop_border, convert_to=convert_to, input_order='CHW', prefix=prefix,
            collect_device=collect_device,
        )  # fmt: skip

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            image = obtain_data(sample['output'], self.key)
            self.results.append({self.metric: self.process_image(None, image, None)})
