"""Metrics of the results of a model over values of ``fidelity``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from glean_plus.analysis.peers.scores import Scorer
from glean_plus.inference import RestoreError, Restorer
from glean_plus.metrics import KIDMetric
from glean_plus.prepare.files import images_below
from glean_plus.utils.files import read_names
from glean_plus.utils.tables import markdown

COLUMNS = ('PSNR', 'LR-PSNR', 'ST-LPIPS', '1000 KID')
DIGITS = (2, 2, 4, 1)
Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


def pairs_of(lq: Path, gt: Path, names: Path | None = None, every: int = 1) -> Pairs:
    """Inputs and ground truths of two folders, (H, W, 3) uint8; with a list, or every Nth, only some.

    Raises:
        RestoreError: If there are less than two, or one lacks its counterpart.
    """
    listed = read_names(names) if names else [name for name in images_below(lq)[0] if '/' not in name]
    chosen = listed[::every]
    if len(chosen) < 2:
        raise RestoreError(f'{lq} has {len(chosen)} such images, but a distance of two sets takes two or more of each.')
    if missing := [path for folder in (lq, gt) for name in chosen if not (path := folder / name).is_file()]:
        raise RestoreError(f'There is no {missing[0]}: an input and its ground truth have one name.')
    read: Any = lambda folder, name: np.array(Image.open(folder / name).convert('RGB'))  # noqa: E731
    return [(read(lq, name), read(gt, name)) for name in chosen]


def measure(restorer: Restorer, pairs: Pairs) -> tuple[float, ...]:
    """A number for each column, over the images that have one."""
    scorer, kid = Scorer(COLUMNS[:-1]), KIDMetric(features='stlpips-alex', channel_order='rgb')
    rows = []
    for lq, gt in tqdm(pairs, unit='image', leave=False):
        result = restorer(lq)
        kid.process([], [dict(output=dict(pred_img=result.transpose(2, 0, 1)), gt_img=gt.transpose(2, 0, 1))])
        rows.append([*scorer(lq, result, gt).values()])
    return (*np.nanmean(np.array(rows, float), axis=0), 1000 * kid.compute_metrics(kid.results)[kid.metric])


def table(
    model: str, pairs: Pairs, values: Sequence[float], consistent: int = 0, device: str = 'auto'
) -> Iterator[str]:
    """Lines of a Markdown table, each when it is measured: one for each value of ``fidelity``."""
    yield from markdown([('fidelity', *COLUMNS)])
    for value in values:
        restorer = Restorer(model, device=device, speed='exact', fidelity=value, consistent=consistent)
        numbers = measure(restorer, pairs)
        yield markdown([(f'{value:g}', *(f'{number:.{digits}f}' for number, digits in zip(numbers, DIGITS)))])[0]
