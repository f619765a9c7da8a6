"""Every entry on every image under every degradation, each in a process of its own, taking turns."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from glean_plus.analysis.errors import PeersError
from glean_plus.analysis.peers.degradations import DEGRADATIONS, degrade
from glean_plus.analysis.peers.entries import BASELINE, ENTRIES, Entry
from glean_plus.analysis.peers.images import ground_truths
from glean_plus.analysis.peers.install import install
from glean_plus.analysis.peers.scores import SCORES, Scorer
from glean_plus.analysis.process import JSONProcess
from glean_plus.analysis.study.statistics import PairedTest, paired_test


@dataclass(frozen=True)
class Setting:
    """The images of a comparison and how they are degraded."""

    folder: Path  # of the ground truths
    names: Sequence[str]  # of the images in it
    degradations: Sequence[str] = ('clean',)  # of DEGRADATIONS
    scale: int = 4  # how many times larger results are
    crop: int | None = None  # side of the centre that is taken; None for whole images
    seed: int = 0  # of the degradations
    threads: int = 2  # of each entry
    scores: Sequence[str] = tuple(SCORES)  # of SCORES


@dataclass
class Measured:
    """Scores and times of an entry under one degradation."""

    scores: dict[str, list[float | None]]  # score -> number of each image, in their order
    seconds: list[float] = field(default_factory=list)  # of each image

    def mean(self, score: str) -> float | None:
        """Over the images that have one."""
        numbers = [number for number in self.scores[score] if number is not None]
        return statistics.fmean(numbers) if numbers else None

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Comparison:
    """All results."""

    setting: Setting  # what was asked for
    entries: Sequence[Entry]  # what was compared
    parameters: dict[str, int] = field(default_factory=dict)  # title of an entry -> its parameters
    # Degradation -> title -> what it has reached.
    measured: dict[str, dict[str, Measured]] = field(default_factory=dict)
    # Mean number of processes that wanted to run in the minute before; None where the system does not say.
    load: float | None = None
    # (degradation, index) -> name of a column -> (H, W, 3) uint8; see compare.
    shown: dict[tuple[str, int], dict[str, np.ndarray]] = field(default_factory=dict)

    def difference(self, degradation: str, title: str, score: str) -> PairedTest | None:
        """To the baseline, image by image; None for the baseline itself, or with a single image."""
        names, baseline = self.setting.names, ENTRIES[BASELINE].title
        if title == baseline or len(names) < 2:
            return None
        found = self.measured[degradation]
        row, reference = (dict(zip(names, found[each].scores[score])) for each in (title, baseline))
        return paired_test(row, reference)  # type: ignore[arg-type]


class Process(JSONProcess):
    """The process of an entry.

    Raises:
        PeersError: If its packages cannot be installed.
    """

    def __init__(self, entry: Entry, scale: int, threads: int, peers: Path) -> None:
        self.entry, self.scale = entry, scale
        environment = dict(OMP_NUM_THREADS=str(threads))
        if entry.packages:
            site = str(install(entry.packages, peers))
            environment['PYTHONPATH'] = os.pathsep.join(filter(None, [site, os.environ.get('PYTHONPATH')]))
        order = dict(runner=entry.runner, scale=scale, threads=threads, options=dict(entry.options))
        super().__init__('glean_plus.analysis.peers.worker', order, environment)

    def answer(self) -> dict[str, Any]:
        """The next one: its network's ``parameters`` once it is ready, then ``seconds`` for each image.

        Raises:
            PeersError: If it cannot continue.
        """
        answer = self.receive()
        if answer is None:
            raise PeersError(f'{self.entry.title} has ended with {self.process.wait()}; its error is above.')
        if 'error' in answer:
            raise PeersError(f'{self.entry.title} cannot be used: {answer["error"]}')
        return answer

    def restore(self, source: Path, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The result of ``image``, which is in the file ``source``, and the seconds that it took.

        Raises:
            PeersError: If there is none, or it is no image of the right size.
        """
        target = source.with_name('result.npy')
        self.send([str(source), str(target)])
        seconds = self.answer()['seconds']
        result = np.load(target)
        shape = (self.scale * image.shape[0], self.scale * image.shape[1], 3)
        if result.shape != shape or result.dtype != np.uint8:
            raise PeersError(f'{self.entry.title} has made {result.shape} of {result.dtype}, not {shape} of uint8.')
        return result, seconds


@contextmanager
def running(
    entries: Sequence[Entry], scale: int, threads: int, peers: Path
) -> Iterator[tuple[dict[str, Process], dict[str, int]]]:
    """Title -> process of each entry, all of them ready; and title -> parameters of its network."""
    with ExitStack() as stack:
        processes = {
            entry.title: stack.enter_context(closing(Process(entry, scale, threads, peers))) for entry in entries
        }
        yield processes, {title: process.answer()['parameters'] for title, process in processes.items()}


def titles(entries: Sequence[Entry], degradation: str) -> list[str]:
    """Of the entries that restore images of a degradation."""
    degrades = DEGRADATIONS[degradation].degrades
    return [entry.title for entry in entries if degrades or not entry.degraded_only]


def inputs(
    folder: Path, names: Sequence[str], degradations: Sequence[str], scale: int, seed: int, crop: int | None = None,
    keys: Sequence[str] | None = None,
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:  # fmt: skip
    """(degradation, index, ground truth, input) of every image under every degradation, images as (H, W, 3) uint8.

    Args:
        folder, names, degradations, scale, seed, crop: As of :class:`Setting`.
        keys: What decides with the seed what is sampled for each image; its name by default.
    """
    for degradation in degradations:
        for index, (key, gt) in enumerate(zip(keys or names, ground_truths(folder, names, scale, crop))):
            yield degradation, index, gt, degrade(gt, scale, DEGRADATIONS[degradation], key, seed)


def compare(setting: Setting, entries: Sequence[Entry], peers: Path, shown: Collection[int] = ()) -> Comparison:
    """Restore and measure.

    Each process restores the first image once before anything is timed; then the entries take turns, each image begins
    with another one.

    Args:
        entries: With the baseline.
        peers: Folder of the entries' packages.
        shown: Indices of images whose results are kept.

    Raises:
        PeersError: If an entry or image cannot be used.
    """
    for _ in ground_truths(setting.folder, setting.names, setting.scale, setting.crop):
        pass  # an image that cannot be used is an error before anything is computed, not after hours
    comparison = Comparison(setting, entries, load=os.getloadavg()[0] if hasattr(os, 'getloadavg') else None)
    scorer = Scorer(setting.scores)
    for degradation in setting.degradations:
        comparison.measured[degradation] = {
            title: Measured({score: [] for score in setting.scores}) for title in titles(entries, degradation)
        }
    samples = inputs(setting.folder, setting.names, setting.degradations, setting.scale, setting.seed, setting.crop)
    total = len(setting.degradations) * len(setting.names)
    with running(entries, setting.scale, setting.threads, peers) as (processes, comparison.parameters), \
            tempfile.TemporaryDirectory() as folder:  # fmt: skip
        source = Path(folder) / 'image.npy'
        warm = False
        for degradation, index, gt, lq in tqdm(samples, total=total, unit='image', disable=None):
            np.save(source, lq)
            if not warm:
                for process in processes.values():
                    process.restore(source, lq)
                warm = True
            found = comparison.measured[degradation]
            active, turn = [*found], index % len(found)
            results = {}
            for title in active[turn:] + active[:turn]:
                results[title], seconds = processes[title].restore(source, lq)
                found[title].seconds.append(seconds)
            for title in active:
                for score, number in scorer(lq, results[title], gt).items():
                    found[title].scores[score].append(number)
            if index in shown:
                row = {title: results[title] for title in active}
                comparison.shown[degradation, index] = {'input': lq, **row, 'ground truth': gt}
    return comparison
