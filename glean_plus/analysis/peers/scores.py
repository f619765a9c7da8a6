"""Scores of a result: a table of them, and their computation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Score:
    """A score and how it is shown."""

    metric: str  # class that measures it in a test, by whose name its direction is known
    digits: int  # behind the point
    compared: bool = False  # it has a confidence interval of its difference to the baseline

    @property
    def lower_is_better(self) -> bool:
        from glean_plus.metrics.directions import LOWER_IS_BETTER  # torch comes with it

        return LOWER_IS_BETTER[self.metric]


SCORES: Mapping[str, Score] = {
    'PSNR': Score('PSNRMetric', 2, compared=True),
    'SSIM': Score('SSIMMetric', 4),
    'ST-LPIPS': Score('STLPIPSMetric', 4, compared=True),
    'NIQE': Score('NIQEMetric', 2),
    'LR-PSNR': Score('LRConsistency', 2),
}


class Scorer:
    """Measures results by scores of these names; networks are read once."""

    def __init__(self, names: Sequence[str] = tuple(SCORES)) -> None:
        from glean_plus import metrics

        options = {'ST-LPIPS': dict(net='vgg', channel_order='rgb'), 'NIQE': dict(channel_order='rgb')}
        self.metrics = {name: getattr(metrics, SCORES[name].metric)(**options.get(name, {})) for name in names}

    def __call__(self, lq: np.ndarray, result: np.ndarray, gt: np.ndarray) -> dict[str, float | None]:
        """Input, result and ground truth, (H, W, 3) uint8 RGB -> a number for each of the names.

        NIQE is None where an image is too small for it, or too flat.
        """
        from glean_plus.metrics.niqe import BLOCK

        small, pred, target = (image.transpose(2, 0, 1) for image in (lq, result, gt))
        numbers: dict[str, float | None] = {}
        for name, metric in self.metrics.items():
            if name == 'NIQE' and (pred.shape[1] // BLOCK) * (pred.shape[2] // BLOCK) < 2:
                numbers[name] = None
                continue
            number = metric.process_image({'LR-PSNR': small, 'NIQE': None}.get(name, target), pred, None)
            numbers[name] = number if math.isfinite(number) else None
        return numbers
