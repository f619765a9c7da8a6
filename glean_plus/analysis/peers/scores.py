"""What a result is measured by, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_DB = 100.0  # equal images would have infinitely many


@dataclass(frozen=True)
class Score:
    """How a number is shown.

    Attributes:
        metric: Class that measures it in a test, by whose name its direction is known.
        digits: Behind the point.
        compared: It has a confidence interval of its difference to the baseline.
    """

    metric: str
    digits: int
    compared: bool = False

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
