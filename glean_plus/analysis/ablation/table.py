"""Numbers of each image and switch, and what a switch changes on average."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from glean_plus.analysis.ablation.switches import MODEL, Switch
from glean_plus.registry import METRICS
from glean_plus.utils.tables import csv_text

PSNR, CHANGE = 'PSNR', 'change'
# --distance -> config of the metric.
DISTANCES = {
    'st-lpips-vgg': dict(type='STLPIPSMetric', net='vgg'),
    'st-lpips-alex': dict(type='STLPIPSMetric', net='alex'),
    'lpips-vgg': dict(type='LPIPSMetric', net='vgg'),
    'lpips-alex': dict(type='LPIPSMetric', net='alex'),
}


class Scores:
    """Metrics of one image, as a test computes them: PSNR in dB, and one of ``DISTANCES`` (lower is better)."""

    def __init__(self, distance: str = 'st-lpips-vgg', device: str = 'cpu') -> None:
        self._metrics = [METRICS.build(dict(type='PSNR')), METRICS.build(DISTANCES[distance] | dict(device=device))]
        self.names = [metric.metric for metric in self._metrics]

    def __call__(self, image: Tensor, truth: Tensor) -> dict[str, float]:
        """Images (C, H, W), 0 to 255, BGR, on the CPU, as in a test."""
        for metric in self._metrics:
            metric.process(None, [dict(output=dict(pred_img=image), gt_img=truth)])
        return {metric.metric: float(metric.results.pop()[metric.metric]) for metric in self._metrics}


@dataclass(frozen=True)
class Mean:
    """Mean over images, and its standard error (None of a single one)."""

    mean: float
    error: float | None


def mean_of(values: Sequence[float]) -> Mean:
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Mean(mean, None)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Mean(mean, math.sqrt(variance / len(values)))


@dataclass
class Table:
    """All numbers.

    ``change`` is the mean absolute difference from the model's own output, in levels of 255, and needs no ground truth.
    """

    switches: Sequence[Switch]  # all, also those that do not apply
    metrics: Sequence[str]  # names of the metrics that need the ground truth
    # Image -> key of a switch -> metric -> number.
    rows: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def add(
        self, name: str, images: Mapping[str, Tensor], truth: Tensor | None, scores: Scores | None
    ) -> dict[str, dict[str, float]]:
        """Add the results of an image, (C, H, W), 0 to 255, by key; returns its numbers."""
        own = images[MODEL]
        row = {}
        for key, image in images.items():
            measured = {} if truth is None or scores is None else scores(image, truth)
            row[key] = measured | {CHANGE: float((image - own).abs().mean())}
        self.rows[name] = row
        return row

    def mean(self, key: str, metric: str) -> Mean | None:
        """Over the images that have this number."""
        values = [row[key][metric] for row in self.rows.values() if metric in row.get(key, {})]
        return mean_of(values) if values else None

    def delta(self, key: str, metric: str) -> Mean | None:
        """Of the same images: the switch less the model."""
        pairs = [(row[key][metric], row[MODEL][metric]) for row in self.rows.values() if metric in row.get(key, {})]
        return mean_of([value - own for value, own in pairs]) if pairs else None

    def summary(self) -> list[dict[str, Any]]:
        """A JSON-like record of each switch."""
        result = []
        for switch in self.switches:
            record: dict[str, Any] = dict(
                key=switch.key, group=switch.group, label=switch.label, applies=switch.applies, note=switch.note
            )
            if not switch.applies:
                result.append(record | dict(reason=switch.reason))
                continue
            for metric in self.metrics:
                if (mean := self.mean(switch.key, metric)) and (delta := self.delta(switch.key, metric)):
                    record[metric] = dict(mean=_json(mean.mean), delta=_json(delta.mean), error=_json(delta.error))
            change = self.mean(switch.key, CHANGE)
            result.append(record | {CHANGE: None if change is None else change.mean})
        return result

    def lines(self) -> list[list[str]]:
        """For readers: a header, and a line for each switch."""
        header = ['switch']
        for metric in self.metrics:
            header += [f'{metric} (dB)' if metric == PSNR else metric, f'delta {metric}']
        lines = [[*header, 'change (levels)']]
        for switch in self.switches:
            line = [switch.label]
            if not switch.applies:
                lines.append([*line, 'does not apply'] + [''] * (len(header) - 1))
                continue
            for metric in self.metrics:
                digits = 2 if metric == PSNR else 4
                mean, delta = self.mean(switch.key, metric), self.delta(switch.key, metric)
                line += [f'{mean.mean:.{digits}f}', _signed(delta, digits)] if mean and delta else ['', '']
            change = self.mean(switch.key, CHANGE)
            lines.append([*line, f'{change.mean:.2f}' if change else ''])
        lines[1][2:-1:2] = [''] * len(self.metrics)  # the model less itself
        return lines

    def csv(self) -> str:
        """A line for each image and switch."""
        columns = (*self.metrics, CHANGE)
        lines = [
            [name, key, *(f'{numbers[each]:.6g}' if each in numbers else None for each in columns)]
            for name, row in self.rows.items() for key, numbers in row.items()
        ]  # fmt: skip
        return csv_text([['picture', 'switch', *columns], *lines])


def _signed(delta: Mean, digits: int) -> str:
    error = '' if delta.error is None else f' ± {delta.error:.{digits}f}'
    return f'{delta.mean:+.{digits}f}{error}'


def _json(value: float | None) -> float | None:
    """JSON has no infinity, which is the PSNR of equal images."""
    return value if value is not None and math.isfinite(value) else None
