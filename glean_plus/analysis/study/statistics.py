"""Whether one row is better than another, image by image.

The unit is a test image, or a group of images that are variants of one thing. Each unit has one number a row: the
metric, averaged over the row's seeds and, for a group, over its images. The two rows' numbers of a unit make a pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from glean_plus.analysis.study.definition import StudyError

RESAMPLES = 10_000
CONFIDENCE = 0.95

STATEMENT = (
    'Each unit (test image, or group of images) has the difference, row minus reference, of the metric averaged '
    'over the seeds of each. p: two-sided Wilcoxon signed-rank test of the differences (scipy.stats.wilcoxon, zero '
    'differences left out), not corrected for the number of rows. Interval: 95 %, percentile bootstrap of the mean '
    f'difference over units ({RESAMPLES:,} resamples, seed 0). Seeds: in how many of the pairs (seed of the row, seed '
    'of the reference) the row has the better mean.'
)


@dataclass(frozen=True)
class PairedTest:
    """The mean difference, row minus reference."""

    units: int  # how many pairs
    difference: float  # their mean difference
    low: float  # the bootstrap confidence interval of it
    high: float
    p: float  # of the Wilcoxon signed-rank test; 1 if no pair differs

    def text(self, digits: int) -> str:
        """The difference and its interval."""
        return f'{self.difference:+.{digits}f} [{self.low:+.{digits}f}, {self.high:+.{digits}f}]'


def seed_average(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Image -> the mean over the runs, each image -> value.

    Raises:
        StudyError: If the runs tested other images.
    """
    for run in runs[1:]:
        _same_images(runs[0], run)
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}


def group_average(values: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, float]:
    """Group -> the mean over its images.

    Raises:
        StudyError: If an image has no group.
    """
    if lost := [name for name in values if name not in groups]:
        raise StudyError(f'{len(lost)} test images are in no group, the first of them {lost[0]!r}.')
    members: dict[str, list[float]] = {}
    for name, value in values.items():
        members.setdefault(groups[name], []).append(value)
    return {group: float(np.mean(numbers)) for group, numbers in members.items()}


def paired_test(row: Mapping[str, float], reference: Mapping[str, float]) -> PairedTest:
    """Compare unit by unit; both are unit -> number.

    Raises:
        StudyError: If they have other units, or fewer than two, or a number is not finite.
    """
    _same_images(reference, row)
    differences = np.array([row[name] - reference[name] for name in reference])
    if len(differences) < 2:
        raise StudyError(f'A paired test needs two images or more, but there are {len(differences)}.')
    if not np.isfinite(differences).all():
        raise StudyError(f'{np.sum(~np.isfinite(differences))} differences are not finite: there is no paired test.')
    low, high = percentile_interval(differences[resamples(len(differences))].mean(axis=1))
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return PairedTest(len(differences), float(differences.mean()), low, high, p)


def resamples(count: int) -> np.ndarray:
    """Indices of ``count`` units in each bootstrap sample, (RESAMPLES, count); the same every time."""
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The confidence interval of a statistic by its values in the bootstrap samples, (RESAMPLES,)."""
    low, high = np.percentile(values, [50 * (1 - CONFIDENCE), 100 - 50 * (1 - CONFIDENCE)])
    return float(low), float(high)


def better_pairs(row: Sequence[float], reference: Sequence[float], lower_is_better: bool) -> int:
    """In how many pairs of seeds the row's mean is the better one."""
    sign = -1 if lower_is_better else 1
    return sum(sign * (ours - theirs) > 0 for ours in row for theirs in reference)


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds, with n - 1; None for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _same_images(a: Mapping[str, float], b: Mapping[str, float]) -> None:
    if a.keys() != b.keys():
        odd = sorted(a.keys() ^ b.keys())
        raise StudyError(f'Two runs tested different images: {len(odd)} are in one only, such as {odd[0]!r}. '
                         'Delete test.json in the folder of the one that is out of date, and give the command again.')
