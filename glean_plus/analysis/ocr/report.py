"""Readings as Markdown, as JSON, and as an image."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image

from glean_plus.analysis.ocr.benchmark import TRUTH, Reading
from glean_plus.analysis.ocr.rates import RATES, Counts, interval, rate
from glean_plus.analysis.peers.compare import Comparison
from glean_plus.analysis.peers.compare import Setting as PeersSetting
from glean_plus.analysis.peers.degradations import DEGRADATIONS
from glean_plus.analysis.peers.entries import BASELINE, ENTRIES
from glean_plus.analysis.peers.report import draw as draw_comparison
from glean_plus.analysis.study.statistics import RESAMPLES
from glean_plus.utils import tables
from glean_plus.version import __version__

FIRST = next(iter(RATES))  # the rate that has intervals in the tables


def markdown(reading: Reading) -> str:
    """For each degradation and script a table of each rate by font size, and what the numbers mean."""
    setting = reading.setting
    parts = [
        f'{len(setting.pages)} pages of {setting.folder}, {setting.scale}x, seed {setting.seed}; {reading.reader}, '
        f'CPU, PyTorch {torch.__version__}, glean_plus {__version__}.'
    ]
    if setting.left_out:
        parts[0] += (
            f' {setting.left_out} pages are left out, because more than {setting.misread:g} of the characters of their '
            'ground truth are misread at full resolution.'
        )
    for degradation in setting.degradations:
        parts.append(f'### {degradation}: {DEGRADATIONS[degradation].about}')
        for script in dict.fromkeys(page.script for page in setting.pages):
            parts += [_table(reading, degradation, script, name) for name in RATES]
    parts.append(
        "Inputs: pages shrunk by MATLAB's bicubic, then as each heading says; each result is read by Tesseract as one "
        'block, the ground truth at full resolution. Rates are errors of all pages of a cell by the characters, or '
        'words, of their ground truth; quotation marks and dashes count as alike. Wrong words: words of the ground '
        'truth that were read as another word of the dictionary, which is of the words of the documents. In brackets: '
        f'95 % interval of the difference to bicubic, percentile bootstrap over pages ({RESAMPLES:,} resamples).'
    )
    return '\n\n'.join(parts) + '\n'


def sizes_of(reading: Reading, script: str) -> list[int]:
    return sorted({page.font_size for page in reading.setting.pages if page.script == script})


def _table(reading: Reading, degradation: str, script: str, name: str) -> str:
    sizes = sizes_of(reading, script)
    rows = [[f'{script}: {name}', *(f'{size} px' for size in sizes)]]
    for title in reading.counts[degradation]:
        cells = (_cell(reading, degradation, title, script, size, name) for size in sizes)
        rows.append([title, *cells])
    return '\n'.join(tables.markdown(rows))


def _cell(reading: Reading, degradation: str, title: str, script: str, size: int, name: str) -> str:
    counts = reading.cell(degradation, title, script, size)
    text = f'{rate(counts, name):.4f}'
    bounds = difference(reading, degradation, title, script, size, name)
    return text if bounds is None or name != FIRST else f'{text} [{bounds[0]:+.4f}, {bounds[1]:+.4f}]'


def difference(
    reading: Reading, degradation: str, title: str, script: str, size: int, name: str
) -> tuple[float, float] | None:
    """The interval of the difference to the baseline; None for itself, the ground truth, and a single page."""
    baseline = ENTRIES[BASELINE].title
    counts = reading.cell(degradation, title, script, size)
    if title in (baseline, TRUTH) or len(counts) < 2:
        return None
    return interval(counts, name, reading.cell(degradation, baseline, script, size))


def as_json(reading: Reading) -> dict[str, Any]:
    """Everything, with the counts of each page."""
    setting = reading.setting
    return dict(
        settings=dict(
            folder=str(setting.folder), scale=setting.scale, seed=setting.seed, reader=reading.reader,
            misread=setting.misread, left_out=setting.left_out,
            baseline=ENTRIES[BASELINE].title, glean_plus=__version__, torch=torch.__version__,
            python=platform.python_version(),
        ),
        pages=[{key: value for key, value in asdict(page).items() if key != 'text'} for page in setting.pages],
        entries={entry.title: dict(packages=[*entry.packages], options=dict(entry.options))
                 for entry in reading.entries},
        fields=[*Counts.__dataclass_fields__],
        degradations={
            degradation: dict(
                about=DEGRADATIONS[degradation].about,
                cells=[_json_cell(reading, degradation, title, script, size)
                       for script in dict.fromkeys(page.script for page in setting.pages)
                       for size in sizes_of(reading, script) for title in rows],
                pages={title: [[*asdict(counts).values()] for counts in each] for title, each in rows.items()},
            )
            for degradation, rows in reading.counts.items()
        },
    )  # fmt: skip


def _json_cell(reading: Reading, degradation: str, title: str, script: str, size: int) -> dict[str, Any]:
    counts = reading.cell(degradation, title, script, size)
    return dict(
        entry=title, script=script, font_size=size, pages=len(counts),
        rates={name: rate(counts, name) for name in RATES},
        intervals={name: interval(counts, name) for name in RATES},
        difference={name: difference(reading, degradation, title, script, size, name) for name in RATES},
    )  # fmt: skip


def draw(reading: Reading) -> Image.Image:
    """A row for each kept page and degradation: input | entries | ground truth, labelled.

    Raises:
        PeersError: If no pages were kept.
    """
    setting = reading.setting
    shown: dict[tuple[str, int], dict[str, np.ndarray]] = {
        place: {title: image for title, (image, _) in row.items()} for place, row in reading.shown.items()
    }
    names = [page.name for page in setting.pages]
    return draw_comparison(Comparison(PeersSetting(setting.folder, names), reading.entries, shown=shown))
