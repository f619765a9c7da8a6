"""Scores of a result: a table of them, and their computation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    """Measures results; networks are read once."""

    def __init__(self, names: Sequence[str] = tuple(SCORES)) -> None:
        from glean_plus.metrics import LRConsistency, NIQEMetric, PSNRMetric, SSIMMetric, STLPIPSMetric

        self.names = names
        self.psnr, self.ssim = PSNRMetric(), SSIMMetric()
        self.naturalness = NIQEMetric(channel_order='rgb')
        self.consistency = LRConsistency()
        if 'ST-LPIPS' in names:  # it reads its network
            self.perceptual = STLPIPSMetric('vgg', channel_order='rgb')

    def __call__(self, lq: np.ndarray, result: np.ndarray, gt: np.ndarray) -> dict[str, float | None]:
        """Input, result and ground truth, (H, W, 3) uint8 RGB -> a number for each of the names.

        NIQE is None where an image is too small for it, or too flat.
        """
        small, pred, truth = (image.transpose(2, 0, 1) for image in (lq, result, gt))
        measures: dict[str, Callable[[], float | None]] = {
            'PSNR': lambda: self.psnr.process_image(truth, pred, None),
            'SSIM': lambda: self.ssim.process_image(truth, pred, None),
            'ST-LPIPS': lambda: self.perceptual.process_image(truth, pred, None),
            'NIQE': lambda: self._niqe(pred),
            'LR-PSNR': lambda: self.consistency.process_image(small, pred, None),
        }
        return {name: measures[name]() for name in self.names}

    def _niqe(self, pred: np.ndarray) -> float | None:
        from glean_plus.metrics.niqe import BLOCK

        if (pred.shape[1] // BLOCK) * (pred.shape[2] // BLOCK) < 2:
            return None
        number = self.naturalness.process_image(None, pred, None)
        return number if math.isfinite(number) else None
