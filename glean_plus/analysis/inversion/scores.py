"""A config's metrics, of images that no model of MMagic's has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from glean_plus.analysis.errors import InversionError
from glean_plus.registry import METRICS


class Scores:
    """The metrics of a config's validation that judge the prediction, so that the means stand beside a restorer's.

    Its other metrics, of bicubic or gray images, are what `mim test` prints.

    Raises:
        InversionError: If there is no such metric.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        evaluators = config.get('val_evaluator') or []
        evaluators = [evaluators] if isinstance(evaluators, Mapping) else evaluators
        metrics = [metric for evaluator in evaluators for metric in evaluator['metrics']]
        metrics = [dict(metric) for metric in metrics if metric.get('pred_key', 'pred_img') == 'pred_img']
        if not metrics:
            raise InversionError('With ground truths, the config needs a metric of the prediction in val_evaluator.')
        self.metrics = [METRICS.build(metric) for metric in metrics]
        self.count = 0

    def add(self, result: np.ndarray, truth: np.ndarray, given: np.ndarray) -> None:
        """Result, ground truth and input of one image, (H, W, 3) uint8 RGB."""
        pred, gt, lq = (self._as_in_a_test(image) for image in (result, truth, given))
        sample = dict(output=dict(pred_img=pred), gt_img=gt, input=lq)
        for metric in self.metrics:
            metric.process(None, [sample])
        self.count += 1

    def means(self) -> dict[str, float]:
        """Key of each metric -> its mean over the images so far."""
        result: dict[str, float] = {}
        for metric in self.metrics:
            metric.size = self.count
            result.update({key: float(value) for key, value in metric.evaluate().items()})
        return result

    @staticmethod
    def _as_in_a_test(image: np.ndarray) -> torch.Tensor:
        """(C, H, W), 0 to 255, BGR as all of MMagic's."""
        return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).float()
