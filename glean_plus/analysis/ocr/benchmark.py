"""Every entry on every page under every degradation, read by Tesseract."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from glean_plus.analysis.errors import OCRError
from glean_plus.analysis.ocr import tesseract
from glean_plus.analysis.ocr.pages import Page, cells_of
from glean_plus.analysis.ocr.rates import Counts, count, rate
from glean_plus.analysis.peers.compare import inputs, running, titles
from glean_plus.analysis.peers.entries import Entry
from glean_plus.analysis.peers.images import ground_truths

TRUTH = 'ground truth'  # its row: what Tesseract misreads at full resolution


@dataclass(frozen=True)
class Setting:
    """The pages and how they are read."""

    folder: Path  # of the pages
    pages: Sequence[Page]  # those of it that are read
    words: Mapping[str, Collection[str]]  # language -> its dictionary
    degradations: Sequence[str] = ('clean',)  # names of DEGRADATIONS
    scale: int = 4  # how many times larger results are
    seed: int = 0  # of the degradations
    threads: int = 2  # of each entry, and how many pages are read at a time
    misread: float = 1.0  # the pages are those whose ground truth has at most this character error rate
    left_out: int = 0  # how many were left out for that


@dataclass
class Reading:
    """All results."""

    setting: Setting  # what was asked for
    entries: Sequence[Entry]  # what restored
    reader: str  # Tesseract's version
    # Degradation -> title -> counts of each page, in their order; the ground truth has a row of its own.
    counts: dict[str, dict[str, list[Counts]]] = field(default_factory=dict)
    # (degradation, index) -> title -> (image, text that was read).
    shown: dict[tuple[str, int], dict[str, tuple[np.ndarray, str]]] = field(default_factory=dict)

    def cell(self, degradation: str, title: str, script: str, font_size: int | None = None) -> list[Counts]:
        """The counts of the pages of a script and font size; of all sizes without one."""
        return [
            counts
            for page, counts in zip(self.setting.pages, self.counts[degradation][title])
            if page.script == script and font_size in (None, page.font_size)
        ]


def legible(
    folder: Path, pages: Sequence[Page], command: str, misread: float, limit: int | None = None, threads: int = 1
) -> tuple[list[Page], int]:
    """The pages that Tesseract can read at full resolution: some fonts are hard to read at any size.

    Args:
        pages: In the order in which they are tried.
        misread: The highest character error rate of a page's ground truth.
        limit: So many of each script and font size; the pages behind them are not read.

    Returns:
        The pages, and how many of those that were read are left out.

    Raises:
        OCRError: If no page of a script and font size is left.
    """
    files_of(folder, pages)
    tesseract.check_languages(command, {page.language for page in pages})
    chosen, left_out = [], 0

    def good(page: Page, gt: np.ndarray) -> bool:
        counts = count(tesseract.recognize(command, gt, page.language), page.text, ())
        return rate([counts], 'character error rate') <= misread

    with ThreadPoolExecutor(threads) as pool, tqdm(total=len(pages), unit='page', desc='legible', disable=None) as bar:
        for (script, size), cell in cells_of(pages).items():
            found: list[Page] = []
            for start in range(0, len(cell), threads):
                part = cell[start:start + threads]
                truths = ground_truths(folder, files_of(folder, part), 1, None)
                is_good = [*pool.map(good, part, truths)]
                found += [page for page, each in zip(part, is_good) if each]
                left_out += is_good.count(False)
                bar.update(len(part))
                if limit and len(found) >= limit:
                    break
            if not found:
                raise OCRError(
                    f'Tesseract misreads more than {misread:g} of the ground truth of every page of {script} at '
                    f'{size} px ({len(cell)} pages): raise --misread, or take other pages.'
                )
            chosen += found[:limit]
    return chosen, left_out


def files_of(folder: Path, pages: Sequence[Page]) -> list[str]:
    """Their images, below the folder; OCRError where one is missing."""
    names = [f'GT/{page.name}.png' for page in pages]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise OCRError(f'There is no {folder / missing[0]}, which the list of pages names.')
    return names


def read_all(
    setting: Setting, entries: Sequence[Entry], peers: Path, command: str, shown: Collection[int] = ()
) -> Reading:
    """Restore the pages and read the results.

    Args:
        entries: With the baseline.
        peers: Folder of the entries' packages.
        shown: Indices of pages whose results are kept.

    Raises:
        OCRError: If Tesseract cannot be used.
        PeersError: If an entry or a page cannot be used.
    """
    names = files_of(setting.folder, setting.pages)
    tesseract.check_languages(command, {page.language for page in setting.pages})
    reading = Reading(setting, entries, tesseract.version(command))
    for degradation in setting.degradations:
        reading.counts[degradation] = {title: [] for title in (TRUTH, *titles(entries, degradation))}
    keys = [page.name for page in setting.pages]
    samples = inputs(setting.folder, names, setting.degradations, setting.scale, setting.seed, keys=keys)
    total = len(setting.degradations) * len(names)

    def read(page: Page, image: np.ndarray) -> tuple[Counts, str]:
        text = tesseract.recognize(command, image, page.language)
        return count(text, page.text, setting.words[page.language]), text

    of_truth: dict[int, tuple[Counts, str]] = {}
    with running(entries, setting.scale, setting.threads, peers) as (processes, _), \
            tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(setting.threads) as pool:  # fmt: skip
        source = Path(folder) / 'image.npy'
        for degradation, index, gt, lq in tqdm(samples, total=total, unit='page', disable=None):
            page, found = setting.pages[index], reading.counts[degradation]
            np.save(source, lq)
            images = {title: processes[title].restore(source, lq)[0] for title in found if title != TRUTH}
            waiting = {title: pool.submit(read, page, image) for title, image in images.items()}
            if index not in of_truth:
                of_truth[index] = read(page, gt)
            results = {TRUTH: of_truth[index], **{title: each.result() for title, each in waiting.items()}}
            for title, (counts, _) in results.items():
                found[title].append(counts)
            if index in shown:
                images = {'input': lq, **images, TRUTH: gt}
                reading.shown[degradation, index] = {
                    title: (image, results[title][1] if title in results else '') for title, image in images.items()
                }
    return reading
