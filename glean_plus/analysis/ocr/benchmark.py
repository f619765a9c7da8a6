"""Every entry on every page under every degradation, read by Tesseract."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from glean_plus.analysis.ocr import tesseract
from glean_plus.analysis.ocr.errors import OCRError
from glean_plus.analysis.ocr.pages import Page
from glean_plus.analysis.ocr.rates import Counts, count
from glean_plus.analysis.peers.compare import Process
from glean_plus.analysis.peers.degradations import DEGRADATIONS, degrade
from glean_plus.analysis.peers.entries import Entry
from glean_plus.analysis.peers.images import ground_truths

TRUTH = 'ground truth'  # its row: what Tesseract misreads at full resolution


@dataclass(frozen=True)
class Setting:
    """What is read.

    Attributes:
        folder: Of the pages.
        pages: Those of it.
        words: Language -> its dictionary.
        degradations: Names of :data:`~glean_plus.analysis.peers.degradations.DEGRADATIONS`.
        scale: How many times larger results are.
        seed: Of the degradations.
        threads: Of each entry, and how many pages are read at a time.
    """

    folder: Path
    pages: Sequence[Page]
    words: Mapping[str, Collection[str]]
    degradations: Sequence[str] = ('clean',)
    scale: int = 4
    seed: int = 0
    threads: int = 2


@dataclass
class Reading:
    """All results.

    Attributes:
        setting: What was asked for.
        entries: What restored.
        reader: Tesseract's version.
        counts: Degradation -> title -> counts of each page, in their order; the ground truth has a row of its own.
        shown: (degradation, index) -> title -> (image, text that was read).
    """

    setting: Setting
    entries: Sequence[Entry]
    reader: str
    counts: dict[str, dict[str, list[Counts]]] = field(default_factory=dict)
    shown: dict[tuple[str, int], dict[str, tuple[np.ndarray, str]]] = field(default_factory=dict)

    def cell(self, degradation: str, title: str, script: str, font_size: int | None = None) -> list[Counts]:
        """The counts of the pages of a script and font size; of all sizes without one."""
        return [
            counts
            for page, counts in zip(self.setting.pages, self.counts[degradation][title])
            if page.script == script and font_size in (None, page.font_size)
        ]


def read_all(
    setting: Setting, entries: Sequence[Entry], peers: Path, command: str, shown: Collection[int] = ()
) -> Reading:
    """Restore the pages and read the results.

    Args:
        setting: The pages.
        entries: With the baseline.
        peers: Folder of the entries' packages.
        command: Tesseract's path.
        shown: Indices of pages whose results are kept.

    Raises:
        OCRError: If Tesseract cannot be used.
        PeersError: If an entry or a page cannot be used.
    """
    names = [f'GT/{page.name}.png' for page in setting.pages]
    if missing := [name for name in names if not (setting.folder / name).is_file()]:
        raise OCRError(f'There is no {setting.folder / missing[0]}, which the list of pages names.')
    tesseract.check_languages(command, {page.language for page in setting.pages})
    reading = Reading(setting, entries, tesseract.version(command))
    processes: dict[str, Process] = {}
    total = len(setting.degradations) * len(names)
    try:
        for entry in entries:
            processes[entry.title] = Process(entry, setting.scale, setting.threads, peers)
        for process in processes.values():
            process.answer()
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(setting.threads) as pool, \
                tqdm(total=total, unit='page', disable=None) as progress:  # fmt: skip
            source = Path(folder) / 'image.npy'

            def read(page: Page, image: np.ndarray) -> tuple[Counts, str]:
                text = tesseract.recognize(command, image, page.language)
                return count(text, page.text, setting.words[page.language]), text

            of_truth: dict[int, tuple[Counts, str]] = {}
            for degradation in setting.degradations:
                what = DEGRADATIONS[degradation]
                active = [entry.title for entry in entries if what.degrades or not entry.degraded_only]
                found = reading.counts[degradation] = {title: [] for title in (TRUTH, *active)}
                truths = ground_truths(setting.folder, names, setting.scale, None)
                for index, (page, gt) in enumerate(zip(setting.pages, truths)):
                    lq = degrade(gt, setting.scale, what, page.name, setting.seed)
                    np.save(source, lq)
                    images = {title: processes[title].restore(source, lq)[0] for title in active}
                    waiting = {title: pool.submit(read, page, image) for title, image in images.items()}
                    if index not in of_truth:
                        of_truth[index] = read(page, gt)
                    results = {TRUTH: of_truth[index], **{title: each.result() for title, each in waiting.items()}}
                    for title, (counts, _) in results.items():
                        found[title].append(counts)
                    if index in shown:
                        images = {'input': lq, **images, TRUTH: gt}
                        reading.shown[degradation, index] = {
                            title: (image, results[title][1] if title in results else '')
                            for title, image in images.items()
                        }
                    progress.update()
    finally:
        for process in processes.values():
            process.close()
    return reading
