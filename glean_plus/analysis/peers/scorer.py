"""Measures results."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from glean_plus.analysis.peers.scores import MOST_DB, SCORES
from glean_plus.metrics import LRConsistency, NIQEMetric, PSNRMetric, SSIMMetric, STLPIPSMetric
from glean_plus.metrics.niqe import BLOCK


class Scorer:
    """Measures results; networks are read once.

    Args:
        names: Of :data:`SCORES`.
    """

    def __init__(self, names: Sequence[str] = tuple(SCORES)) -> None:
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
            'PSNR': lambda: min(self.psnr.process_image(truth, pred, None), MOST_DB),
            'SSIM': lambda: self.ssim.process_image(truth, pred, None),
            'ST-LPIPS': lambda: self.perceptual.process_image(truth, pred, None),
            'NIQE': lambda: self._niqe(pred),
            'LR-PSNR': lambda: min(self.consistency.process_image(small, pred, None), MOST_DB),
        }
        return {name: measures[name]() for name in self.names}

    def _niqe(self, pred: np.ndarray) -> float | None:
        if (pred.shape[1] // BLOCK) * (pred.shape[2] // BLOCK) < 2:
            return None
        number = self.naturalness.process_image(None, pred, None)
        return number if math.isfinite(number) else None
