"""Hooks that record the time of a run's steps, and the metrics of each test image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from glean_plus.utils.files import save_json

# Steps at the start that are slower than the rest.
WARM_UP = 2
# Seconds between two notes of how far a training is.
NOTE_INTERVAL = 2.0


class Stopwatch(Hook):
    """Times the training steps, without loading, validation and checkpoints, and notes how far the training is.

    Args:
        note: JSON file of ``iter``, ``max_iters`` and ``seconds_per_iter``.
    """

    priority = 'VERY_LOW'

    def __init__(self, note: Path) -> None:
        self.note = note
        self.seconds: list[float] = []
        self._noted = -NOTE_INTERVAL

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._start = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._start)
        if now - self._noted >= NOTE_INTERVAL or runner.iter + 1 == runner.max_iters:
            progress = dict(iter=runner.iter + 1, max_iters=runner.max_iters)
            save_json(progress | dict(seconds_per_iter=self.seconds_per_iter), self.note)
            self._noted = now

    @property
    def seconds_per_iter(self) -> float | None:
        """The median step; None if there was no step."""
        return statistics.median(self.seconds[WARM_UP:] or self.seconds) if self.seconds else None


class PerImage(Hook):
    """Keeps what the metrics of a test say of each image, where MMEngine keeps the mean. For one process.

    Attributes:
        values: Key of the metric -> image -> number. A metric of the whole set, as KID, is not in it.
        metrics: Key -> number for the whole set, of every metric.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self.values: dict[str, dict[str, float]] = {}
        self.metrics: dict[str, float] = {}
        self._seen: dict[int, int] = {}

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        names = [image_name(sample.metainfo) for sample in outputs or ()]
        for metric in runner.test_loop.evaluator.metrics:
            new = metric.results[self._seen.get(id(metric), 0):]
            self._seen[id(metric)] = len(metric.results)
            if len(new) != len(names):  # a metric that looks at the whole set in its own way
                continue
            for name, result in zip(names, new):
                for key, number in result.items() if isinstance(result, dict) else ():
                    if isinstance(number, Real) or getattr(number, 'shape', None) == ():
                        whole = f'{metric.prefix}/{key}' if metric.prefix else key
                        of_images = self.values.setdefault(whole, {})
                        if name in of_images:
                            raise ValueError(f'Two test images have the name {name}; a study tells them apart by it.')
                        of_images[name] = float(number) * getattr(metric, 'scaling', 1)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        from glean_plus.metrics.directions import EXACT, LEFT_OUT  # takes seconds to import

        numbers = {key: float(value) for key, value in (metrics or {}).items()}
        self.metrics = {key: value for key, value in numbers.items() if not key.endswith((EXACT, LEFT_OUT))}


def image_name(metainfo: dict[str, Any]) -> str:
    """The data set's name of an image; else its file's name without ending."""
    name = metainfo.get('key') or Path(metainfo.get('img_path') or metainfo.get('gt_path') or '').stem
    if not name:
        raise ValueError('The test images have no names: `PackInputs` must pass on `key`, `img_path` or `gt_path`.')
    return str(name)
