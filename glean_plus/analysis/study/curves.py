"""Training curves: what the logs of the runs say, as CSV and as an image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glean_plus.analysis.plots import save_with_legend
from glean_plus.analysis.study.runs import Run
from glean_plus.utils.files import save_text
from glean_plus.utils.tables import csv_text

# Losses that have a panel of their own beside the metrics.
LOSSES = ('loss_pix', 'loss_perceptual', 'loss_gan')
# Width and height of a panel, in inches, and panels in a row at most.
PANEL, COLUMNS = (5.0, 3.2), 3

# Iteration -> value.
Curve = Mapping[int, float]


def read_curves(folder: Path, metrics: Sequence[str]) -> Mapping[str, Curve]:
    """Losses and metrics of a training by name; where it was interrupted, what came later counts.

    Args:
        folder: Of the run, which has a log for each time that it was begun.
    """
    curves: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the last line of a log that was cut off
                continue
            for name, value in entry.items():
                if name in metrics or name.startswith('loss'):
                    curves.setdefault(name, {})[int(entry['step'])] = float(value)
    return curves


def write_curves(runs: Sequence[Run], metrics: Sequence[str], out: Path) -> None:
    """Write ``curves.csv`` and ``curves.png`` of the trainings that have begun, if any has."""
    # But for folders that have another training.
    current = [run for run in runs if run.begun or 'train' not in run.missing]
    found = {(run.row.label, run.seed): read_curves(run.folder, metrics) for run in current}
    lines = [
        (label, seed, name, step, value)
        for (label, seed), curves in found.items()
        for name, curve in curves.items()
        for step, value in sorted(curve.items())
    ]
    if not lines:
        return
    save_text(csv_text([('row', 'seed', 'name', 'iteration', 'value'), *lines]), out / 'curves.csv')
    _draw(found, [*metrics, *LOSSES], out / 'curves.png')


def _draw(found: Mapping[tuple[str, int], Mapping[str, Curve]], names: Sequence[str], path: Path) -> None:
    from matplotlib.figure import Figure

    panels = [name for name in names if any(name in curves for curves in found.values())]
    if not panels:
        return
    labels = list(dict.fromkeys(label for label, _ in found))
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.25 * len(labels) / columns + 0.5))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, panels):
        for number, label in enumerate(labels):
            curves = [curves[name] for (other, _), curves in found.items() if other == label and name in curves]
            if not curves:
                continue
            steps = sorted(set.intersection(*(set(curve) for curve in curves)))
            values = np.array([[curve[step] for step in steps] for curve in curves])
            colour = f'C{number % 10}'
            style = ('-', '--', ':', '-.')[number // 10 % 4]
            marker = '.' if len(steps) < 12 else None
            axis.plot(steps, values.mean(axis=0), style, color=colour, marker=marker, label=label)
            axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axis.set_title(name)
        axis.set_xlabel('iteration')
        axis.grid(alpha=0.3)
        if name.startswith('loss'):
            axis.set_yscale('log')
    for axis in axes[len(panels):]:
        axis.set_visible(False)
    save_with_legend(figure, path, columns)
