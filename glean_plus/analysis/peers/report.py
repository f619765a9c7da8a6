"""A comparison as Markdown, as JSON, and as an image."""

from __future__ import annotations

import platform
from typing import Any

import cv2
import torch
from PIL import Image, ImageDraw, ImageFont

from glean_plus.analysis.errors import PeersError
from glean_plus.analysis.peers.compare import Comparison
from glean_plus.analysis.peers.degradations import DEGRADATIONS
from glean_plus.analysis.peers.entries import BASELINE, ENTRIES
from glean_plus.analysis.peers.scores import SCORES
from glean_plus.analysis.study.statistics import RESAMPLES
from glean_plus.metrics.base import MAX_PSNR
from glean_plus.utils import tables
from glean_plus.version import __version__

GAP, LINE, LABEL = 8, 16, 13
# What is said of the scores in a table.
MEANINGS = {
    'PSNR': f'PSNR: RGB, whole images, at most {MAX_PSNR:g} dB.',
    'SSIM': 'SSIM: RGB, whole images.',
    'ST-LPIPS': 'ST-LPIPS: VGG.',
    'LR-PSNR': "LR-PSNR: the result, shrunk by MATLAB's bicubic, to the input.",
}
INK, PAPER = (20, 20, 20), (255, 255, 255)


def markdown(comparison: Comparison) -> str:
    """Tables, one for each degradation, with what the numbers mean."""
    setting = comparison.setting
    size = f'the centre of {setting.crop} px' if setting.crop else f'cropped to multiples of {setting.scale}'
    load = '' if comparison.load is None else f', load average {comparison.load:.1f} at the start'
    parts = [
        f'{len(setting.names)} images of {setting.folder}, {size}, {setting.scale}x, seed {setting.seed}; '
        f'CPU, {setting.threads} threads{load}, PyTorch {torch.__version__}, glean_plus {__version__}.'
    ]
    parts += [_table(comparison, degradation) for degradation in setting.degradations]
    peers = [f'{entry.title}: {" ".join(entry.packages)} ({entry.licence})'
             for entry in comparison.entries if entry.packages]  # fmt: skip
    names = setting.scores
    lower = ' and '.join(name for name in names if SCORES[name].lower_is_better)
    meanings = [meaning for name, meaning in MEANINGS.items() if name in names]
    parts.append(
        "Inputs: ground truths shrunk by MATLAB's bicubic, then as each heading says. "
        + ''.join(f'{meaning} ' for meaning in meanings)
        + (f'Lower is better of {lower}, higher of the others. ' if lower else 'Higher is better. ')
        + 'In brackets: 95 % interval of the mean difference '
        f'to bicubic, percentile bootstrap over images ({RESAMPLES:,} resamples). s/image: median over images of one '
        'pass, 8 bits in, 8 bits out; the entries take turns, each in a process of its own.'
        + ''.join(f' {peer}.' for peer in peers)
    )
    return '\n\n'.join(parts) + '\n'


def _table(comparison: Comparison, degradation: str) -> str:
    head = ['', 'parameters', 's/image']
    for name in comparison.setting.scores:
        head += [name, *([f'{name} - bicubic'] if SCORES[name].compared else [])]
    rows, notes = [head], []
    for title, measured in comparison.measured[degradation].items():
        parameters = comparison.parameters[title]
        cells = [title, f'{parameters / 1e6:.2f} M' if parameters else '', f'{measured.median_seconds:.3g}']
        for name in comparison.setting.scores:
            score, mean = SCORES[name], measured.mean(name)
            cells.append('' if mean is None else f'{mean:.{score.digits}f}')
            if missing := measured.scores[name].count(None):
                notes.append(f'{name} of {title}: {missing} of {len(measured.seconds)} images have none, being too '
                             'small or too flat.')  # fmt: skip
            if score.compared:
                test = comparison.difference(degradation, title, name)
                cells.append('' if test is None else test.text(score.digits))
        rows.append(cells)
    title = f'### {degradation}: {DEGRADATIONS[degradation].about}'
    return '\n'.join([title, '', *tables.markdown(rows), *(['', *notes] if notes else [])])


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything, with a number for each image."""
    setting = comparison.setting
    return dict(
        settings=dict(
            folder=str(setting.folder), scale=setting.scale, crop=setting.crop, seed=setting.seed,
            threads=setting.threads, load=comparison.load, baseline=ENTRIES[BASELINE].title, glean_plus=__version__,
            torch=torch.__version__, opencv=cv2.__version__, python=platform.python_version(),
            machine=platform.machine(),
        ),
        images=[*setting.names],
        entries={
            entry.title: dict(
                parameters=comparison.parameters[entry.title], packages=[*entry.packages], licence=entry.licence,
                options=dict(entry.options),
            )
            for entry in comparison.entries
        },
        degradations={
            name: dict(
                about=DEGRADATIONS[name].about,
                before=[dict(step) for step in DEGRADATIONS[name].before],
                after=[dict(step) for step in DEGRADATIONS[name].after],
                results={
                    title: dict(
                        mean={score: measured.mean(score) for score in setting.scores},
                        seconds=measured.median_seconds,
                        difference={
                            score: None if (test := comparison.difference(name, title, score)) is None
                            else dict(mean=test.difference, low=test.low, high=test.high, p=test.p)
                            for score in setting.scores if SCORES[score].compared
                        },
                        images=dict(measured.scores, seconds=measured.seconds),
                    )
                    for title, measured in comparison.measured[name].items()
                },
            )
            for name in setting.degradations
        },
    )  # fmt: skip


def draw(comparison: Comparison) -> Image.Image:
    """A row for each kept image and degradation: input | entries | ground truth, labelled.

    Raises:
        PeersError: If no images were kept.
    """
    if not comparison.shown:
        raise PeersError('There are no results to show.')
    rows = list(comparison.shown.items())
    titles = ['input', *(entry.title for entry in comparison.entries), 'ground truth']
    titles = [title for title in titles if any(title in row for _, row in rows)]
    heights = [row['ground truth'].shape[0] for _, row in rows]
    column = max(row['ground truth'].shape[1] for _, row in rows)
    width = GAP + len(titles) * (column + GAP)
    canvas = Image.new('RGB', (width, GAP + LINE + sum(heights) + len(rows) * (LINE + GAP)), PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=LABEL)
    for place, title in enumerate(titles):
        pen.text((GAP + place * (column + GAP), GAP // 2), _fitting(title, font, column), INK, font=font)
    top = GAP + LINE
    for ((degradation, index), row), height in zip(rows, heights):
        pen.text((GAP, top), f'{degradation}: {comparison.setting.names[index]}', INK, font=font)
        top += LINE
        for place, title in enumerate(titles):
            if title in row:
                # At the size of the ground truth: the pixels of an input become squares.
                tall, wide = row['ground truth'].shape[:2]
                image = Image.fromarray(row[title]).resize((wide, tall), Image.Resampling.NEAREST)
                canvas.paste(image, (GAP + place * (column + GAP), top))
        top += height + GAP
    return canvas


def _fitting(text: str, font: Any, width: int) -> str:
    """The text, or its end after an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f'...{text}') > width:
        text = text[1:]
    return f'...{text}'
