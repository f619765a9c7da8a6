"""Numbers of a result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from glean_plus.metrics import LRConsistency, NIQEMetric, STLPIPSMetric
from glean_plus.metrics.fidelity import psnr, ssim
from glean_plus.metrics.niqe import BLOCK

MOST_DB = 100.0  # equal images would have infinitely many


@dataclass(frozen=True)
class Score:
    """How a number is shown.

    Attributes:
        lower_is_better: Or higher.
        digits: Behind the point.
        compared: It has a confidence interval of its difference to the baseline.
    """

    lower_is_better: bool
    digits: int
    compared: bool = False


SCORES: Mapping[str, Score] = {
    'PSNR': Score(False, 2, compared=True),
    'SSIM': Score(False, 4),
    'ST-LPIPS': Score(True, 4, compared=True),
    'NIQE': Score(True, 2),
    'LR-PSNR': Score(False, 2),
}


class Scorer:
    """Measures results; networks are read once."""

    def __init__(self) -> None:
        self.perceptual = STLPIPSMetric('vgg', channel_order='rgb')
        self.naturalness = NIQEMetric(channel_order='rgb')
        self.consistency = LRConsistency()

    def __call__(self, lq: np.ndarray, result: np.ndarray, gt: np.ndarray) -> dict[str, float | None]:
        """Input, result and ground truth, (H, W, 3) uint8 RGB -> a number for each of :data:`SCORES`.

        NIQE is None where an image is too small for it, or too flat.
        """
        small, pred, truth = (image.transpose(2, 0, 1) for image in (lq, result, gt))
        return {
            'PSNR': min(float(psnr(gt, result)), MOST_DB),
            'SSIM': float(ssim(gt, result)),
            'ST-LPIPS': self.perceptual.process_image(truth, pred, None),
            'NIQE': self._niqe(pred),
            'LR-PSNR': min(self.consistency.process_image(small, pred, None), MOST_DB),
        }

    def _niqe(self, pred: np.ndarray) -> float | None:
        if (pred.shape[1] // BLOCK) * (pred.shape[2] // BLOCK) < 2:
            return None
        number = self.naturalness.process_image(None, pred, None)
        return number if math.isfinite(number) else None
