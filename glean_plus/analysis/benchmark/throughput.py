"""Throughput of a folder: images restored a second, and the share of the time in which the network computes."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from glean_plus.analysis.benchmark.compare import BenchmarkError
from glean_plus.inference.folder import restore_files
from glean_plus.inference.jobs import find_jobs
from glean_plus.inference.restorer import Restorer
from glean_plus.utils import tables

COLUMNS = ('', 'images', 'images/s', 'CPU s an image', 'share of the network')


@dataclass
class Throughput:
    """Times of a folder in each run."""

    images: int = 0  # restored in a run
    seconds: list[float] = field(default_factory=list)  # of a run, by the clock
    cpu: list[float] = field(default_factory=list)  # of a run, of all threads
    network: list[float] = field(default_factory=list)  # of these seconds, those in which the network computed


class Stopwatch:
    """A network whose calls are timed; all else is that network's."""

    def __init__(self, network: Any) -> None:
        self._network, self._seconds = network, 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, *arguments: Any) -> Any:
        if self._network.device.type == 'cuda':
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            result = self._network(*arguments)
            end.record()
            self._events.append((begin, end))
            return result
        begun = time.perf_counter()
        result = self._network(*arguments)
        self._seconds += time.perf_counter() - begun
        return result

    def take(self) -> float:
        """Seconds since the last time."""
        if self._events:
            torch.cuda.synchronize()
        seconds = self._seconds + sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        self._seconds = 0.0
        self._events.clear()
        return seconds


def measure(
    folder: Path, model: str, speeds: Sequence[str], device: str, precision: str, batch: int, threads: int, runs: int
) -> str:
    """Restore a folder as ``glean-plus restore`` does, with each speed in turn.

    Args:
        runs: Passes over the folder with each speed; medians are told.

    Returns:
        A Markdown table.

    Raises:
        BenchmarkError: If an image cannot be restored.
        RestoreError: If there are no images, or the model cannot be used.
    """
    torch.set_num_threads(threads)
    restorers = {}
    for speed in speeds:
        restorers[speed] = Restorer(model, device=device, precision=precision, speed=speed, batch=batch)
        restorers[speed].scored = False
        restorers[speed].network = Stopwatch(restorers[speed].network)  # type: ignore[assignment]
    found = {speed: Throughput() for speed in speeds}
    with tempfile.TemporaryDirectory(prefix='glean-plus.') as place:
        for run in range(-1, runs):  # the first warms up
            for speed, restorer in restorers.items():
                _run(folder, Path(place) / f'{speed}.{run}', restorer, found[speed], counts=run >= 0)
    rows = [COLUMNS]
    for speed, each in found.items():
        seconds = statistics.median(each.seconds)
        share = statistics.median(part / whole for part, whole in zip(each.network, each.seconds))
        rows.append((
            f'{model}, {restorers[speed].network.speed}', str(each.images), f'{each.images / seconds:.3g}',
            f'{statistics.median(each.cpu) / each.images:.3g}', f'{100 * share:.0f}%',
        ))  # fmt: skip
    return '\n'.join(tables.markdown(rows))


def _run(folder: Path, out: Path, restorer: Restorer, found: Throughput, counts: bool) -> None:
    jobs = find_jobs(str(folder), out)
    watch: Any = restorer.network
    watch.take()
    cpu, begin = time.process_time(), time.perf_counter()
    states, _ = restore_files(restorer, jobs)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    if states['failed']:
        raise BenchmarkError(f'{states["failed"]} images of {folder} cannot be restored: leave them out.')
    if counts:
        found.images = states['restored']
        found.seconds.append(seconds)
        found.cpu.append(cpu)
        found.network.append(watch.take())
