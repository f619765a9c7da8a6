"""Calibration of the OOD scores: values on images of a model's kind and on others, and thresholds between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Picture, levels
from glean_plus.inference.ood import FIGURES, Assessor, assess
from glean_plus.inference.read import read
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.thresholds import Bound, Bounds, bounds_path, judged
from glean_plus.utils.files import read_names, save_json
from glean_plus.utils.imresize import matlab_resize
from glean_plus.utils.tables import markdown
from glean_plus.version import __version__
from glean_plus.weights.fetch import sha256

PHOTOGRAPHS = ('astronaut', 'chelsea', 'coffee', 'rocket')  # scikit-image's, in its package
SHARE = 0.95  # of known images that a bound leaves alone
TELLS = 0.7  # area under the curve from which on a figure counts
BLOCK = 10  # of neighbours, which may be alike: they make the bounds, or check them, together
LEAST = 4 * BLOCK

Figures = Mapping[str, Any]


def others(known: Sequence[Picture], in_size: int, count: int, seed: int = 0) -> dict[str, list[Picture]]:
    """Images that no model of one class knows, ``count`` of each kind: photographs, noise, and the known, upside
    down. The first two are of the model's size."""
    random = np.random.default_rng(seed)
    photographs = [part for name in PHOTOGRAPHS for part in _parts(name, in_size)]
    return {
        'photographs': [photographs[i] for i in _spread(len(photographs), count)],
        'noise': [Picture(random.integers(0, 256, (in_size, in_size, 3), np.uint8)) for _ in range(count)],
        'upside down': [Picture(np.ascontiguousarray(known[i].image[::-1])) for i in _spread(len(known), count)],
    }


def _spread(length: int, count: int) -> list[int]:
    return [place * length // min(count, length) for place in range(min(count, length))]


def _parts(name: str, size: int) -> Iterator[Picture]:
    """A photograph, shrunk to about eight times the size, in squares of the size."""
    from skimage import data

    image = torch.from_numpy(getattr(data, name)()[..., :3].copy()).permute(2, 0, 1) / 255
    shrink = max(min(image.shape[1:]) // (8 * size), 1)
    small = levels(matlab_resize(image, (image.shape[1] // shrink, image.shape[2] // shrink)), 'uint8')
    for top in range(0, small.shape[0] - size + 1, size):
        for left in range(0, small.shape[1] - size + 1, size):
            yield Picture(np.ascontiguousarray(small[top:top + size, left:left + size]))


def images_of(folder: Path, names: Path | None = None) -> list[Picture]:
    """Images of a folder, or those of a list, the first word of each line.

    Raises:
        RestoreError: If one cannot be read, or there are too few.
    """
    from glean_plus.prepare.files import images_below

    if names is not None and not names.is_file():
        raise RestoreError(f'There is no list {names}.')
    if not folder.is_dir():
        raise RestoreError(f'There is no folder {folder}.')
    files = [folder / name for name in (read_names(names) if names else images_below(folder)[0])]
    if len(files) < LEAST:
        raise RestoreError(f'{LEAST} images tell what is usual, or more, but in {folder} there are {len(files)}.')
    try:
        return [read(path) for path in files]
    except RestoreError as error:
        raise RestoreError(f'An image of {folder} cannot be read: {error}') from error


def area(known: np.ndarray, other: np.ndarray, side: str) -> float:
    """Chance that one of the others is further to a side than one of the known, (N,) and (M,); 0.5 tells nothing."""
    sign = -1 if side == 'low' else 1
    difference = sign * (other[:, None] - known)
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def calibrate(
    restorer: Restorer, known: Sequence[Picture], sets: Mapping[str, Sequence[Picture]], draws: int
) -> dict[str, Any]:
    """Figures of known images and of others -> bounds, and how well they tell them apart, as the file has them.

    The bounds come of half of the known images; how many of the known are beyond them, of the other half.
    """
    assessor = Assessor(restorer, draws, bounds=Bounds())
    measured = {
        name: [assess(restorer, image, assessor).figures for image in tqdm(some, desc=name, unit='image')]
        for name, some in (('known', known), *sets.items())
    }
    making = [each for i, each in enumerate(measured['known']) if i // BLOCK % 2 == 0]
    checking = [each for i, each in enumerate(measured['known']) if i // BLOCK % 2]
    figures: dict[str, dict[str, Any]] = {}
    for name in FIGURES:
        if any(each[name] is None for each in measured['known']):
            continue
        values = {which: _values(some, name) for which, some in measured.items()}
        usual = values.pop('known')
        if not any(map(len, values.values())):
            continue
        side = max(('low', 'high'), key=lambda side: sum(area(usual, each, side) for each in values.values()))
        areas = {which: area(usual, each, side) for which, each in values.items() if len(each)}
        quantile = 1 - SHARE if side == 'low' else SHARE
        figures[name] = dict(
            side=side, bound=float(np.quantile(_values(making, name), quantile)), used=max(areas.values()) >= TELLS,
            median=float(np.median(usual)), medians={which: float(np.median(values[which])) for which in areas},
            auc=areas,
        )  # fmt: skip
    bounds = {name: Bound(each['side'], each['bound'], each['used']) for name, each in figures.items()}
    unlike = {
        which: float(np.mean([bool(judged(each, bounds)[0]) for each in some]))
        for which, some in (('known', checking), *((name, measured[name]) for name in sets))
    }
    return dict(
        model=restorer.source.name, weights=sha256(restorer.source.checkpoint), version=__version__, draws=draws,
        side=int(np.median([max(each.image.shape[:2]) for each in known])),
        pictures={which: len(some) for which, some in measured.items()}, figures=figures, unlike=unlike,
    )  # fmt: skip


def _values(measured: Sequence[Figures], name: str) -> np.ndarray:
    return np.array([each[name] for each in measured if each[name] is not None])


def table(content: Mapping[str, Any]) -> str:
    """The same for people, as a table of Markdown."""
    sets = [name for name in content['pictures'] if name != 'known']
    rows = [['', 'median', 'bound', *sets]]
    for name, each in content['figures'].items():
        sign = 'below' if each['side'] == 'low' else 'above'
        bound = f'{sign} {each["bound"]:.3g}' + ('' if each['used'] else ' (not used)')
        rows.append([name, f'{each["median"]:.3g}', bound, *(f'{each["auc"].get(which, float("nan")):.2f}'
                                                              for which in sets)])  # fmt: skip
    shares = content['unlike']
    rows.append(['found unlike', f'{shares["known"]:.0%}', '', *(f'{shares[which]:.0%}' for which in sets)])
    return '\n'.join(markdown(rows))


def write_bounds(content: Mapping[str, Any], checkpoint: Path) -> None:
    """Write them to where the report looks for them, and print where that is."""
    path = bounds_path(checkpoint)
    rounded = json.loads(json.dumps(content), parse_float=lambda text: float(f'{float(text):.4g}'))
    save_json(rounded, path)
    print(path)
