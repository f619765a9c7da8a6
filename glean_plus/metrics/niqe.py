"""NIQE of pictures that have no ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmagic.evaluation.metrics import NIQE
from mmagic.evaluation.metrics.metrics_utils import obtain_data
from mmagic.registry import METRICS


@METRICS.register_module()
class NoReferenceNIQE(NIQE):
    """MMagic's ``NIQE``, which asks for a ``gt_img`` that it never reads, without that; lower is better.

    A picture needs several blocks of 96 px, so 192 px a side at least.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            source = sample['output'] if self.is_predicted else sample
            image = obtain_data(source, self.key)
            self.results.append({self.metric: self.process_image(None, image, None)})
