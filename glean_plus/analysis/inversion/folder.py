"""Images in; images and a report out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from glean_plus.analysis.errors import InversionError
from glean_plus.analysis.inversion.restorer import Inverter
from glean_plus.analysis.inversion.scores import Scores
from glean_plus.inference.write import fitting
from glean_plus.prepare.decode import PictureError, decode, read_profile
from glean_plus.prepare.files import images_below
from glean_plus.prepare.images import save
from glean_plus.utils.files import read_names, save_text
from glean_plus.utils.images.arrays import to_array
from glean_plus.utils.images.metadata import Meta
from glean_plus.utils.tables import csv_text

REPORT = 'report.csv'


@dataclass
class Report:
    """The search of one image; a line of ``report.csv``."""

    file: str  # the input
    steps: int  # steps that were done
    seconds: float  # how long it took
    objective: float  # what was minimised, at the end
    lr_psnr: float  # how well the image that was found gives the input, in dB; in colorization, its lightness
    start_lr_psnr: float  # the same of the best random start
    stopped_by_limit: bool  # whether the time limit ended it


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB.

    Raises:
        InversionError: If it is no image.
    """
    try:
        return decode(path.read_bytes())
    except (PictureError, OSError) as error:
        raise InversionError(f'{path} cannot be read: {error}') from error


def inputs_in(source: Path, ann_file: Path | None = None) -> dict[str, Path]:
    """The images of a file or folder, by their names, which are relative and without ending.

    Args:
        source: An image, or a folder of images, in folders of any depth.
        ann_file: Only those that this list names, in its order: the first word of each line, as in the data sets'.

    Raises:
        InversionError: If there are none, one of the list is not there, or two have the same name.
    """
    if source.is_file():
        if ann_file is not None:
            raise InversionError(f'A list, {ann_file}, chooses images of a folder, but {source} is a file.')
        return {source.stem: source}
    if not source.is_dir():
        raise InversionError(f'There is neither an image nor a folder at {source}.')
    paths, listing = images_below(source)
    if ann_file is not None:
        if not ann_file.is_file():
            raise InversionError(f'There is no list at {ann_file}.')
        there = set(paths)
        paths = read_names(ann_file)
        if missing := [path for path in paths if path not in there]:
            raise InversionError(f'{source} has no {missing[0]}, which {ann_file} names ({len(missing)} missing).')
    elif listing.problems:
        problem = listing.problems[0]
        raise InversionError(f'{source / problem.source}: {problem.kind}: {problem.detail}.')
    if not paths:
        raise InversionError(f'There are no images in {ann_file or source}.')
    named: dict[str, Path] = {}
    for path in paths:
        name = Path(path).with_suffix('').as_posix()
        if name in named:
            raise InversionError(f'{source / path} and {named[name]} would have the same result: rename one.')
        named[name] = source / path
    return named


def _check_size(path: Path, size: int, what: str) -> None:
    height, width = read_image(path).shape[:2]
    if (height, width) != (size, size):
        raise InversionError(f'{path} is {width} x {height}, but {what} is {size} x {size}: resize or crop it.')


def _truths(names: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    there = inputs_in(folder)
    if missing := [name for name in names if name not in there]:
        raise InversionError(f'{folder} has no ground truth of {names[missing[0]]} ({len(missing)} missing).')
    return {name: there[name] for name in names}


def _check_out(out: Path, names: Mapping[str, Path], overwrite: bool) -> dict[str, Path]:
    if out.exists() and not out.is_dir():
        raise InversionError(f'The results go to a folder, but {out} is a file.')
    targets = {name: out / f'{name}.png' for name in names}
    inputs = {path.resolve() for path in names.values()}
    if own := [path for path in targets.values() if path.resolve() in inputs]:
        raise InversionError(f'{own[0]} is an input and would be overwritten: choose another folder for the results.')
    existing = [path for path in (out / REPORT, *targets.values()) if path.exists()]
    if existing and not overwrite:
        raise InversionError(
            f'{existing[0]} is there already ({len(existing)} such files): choose another folder, or overwrite.'
        )
    return targets


def invert_folder(
    inverter: Inverter,
    source: Path,
    out: Path,
    batch: int = 1,
    ann_file: Path | None = None,
    gt: Path | None = None,
    scores: Scores | None = None,
    overwrite: bool = False,
) -> list[Report]:
    """Invert an image or a folder of images, with a progress bar.

    Everything is checked before the search begins. ``OUT/NAME.png`` is each result, in the folders of the input,
    ``OUT/report.csv`` how it went; both are whole or not there, and the report always has the images that are.

    Args:
        gt: Folder of the ground truths, of the same names with any ending.
        scores: Filled with results and ground truths; needs ``gt``.

    Raises:
        InversionError: On images that are not there, cannot be read or have another size, or results that are.
    """
    if batch < 1:
        raise InversionError(f'batch must be positive, but is {batch}.')
    names = inputs_in(source, ann_file)
    targets = _check_out(out, names, overwrite)
    for path in names.values():
        _check_size(path, inverter.task.in_size, 'an input of this config')
    truths = _truths(names, gt) if gt is not None else {}
    for path in truths.values():
        _check_size(path, inverter.bank.out_size, 'a result of this config')

    rows: list[Report] = []
    steps = inverter.settings.steps
    with tqdm(total=steps * len(names), unit='step') as bar:
        for start in range(0, len(names), batch):
            part = list(names)[start:start + batch]
            bar.set_description(part[0] if len(part) == 1 else f'{part[0]} and {len(part) - 1} more')

            def show(step: int, objective: float, bar: tqdm = bar, before: int = start, count: int = len(part)) -> None:
                bar.set_postfix(objective=f'{objective:.5f}', refresh=False)
                bar.update(before * steps + step * count - bar.n)

            images = {name: read_image(names[name]) for name in part}
            found = inverter(torch.stack([inverter.task.input_of(image) for image in images.values()]), show)
            bar.update((start + len(part)) * steps - bar.n)
            for index, name in enumerate(part):
                result = to_array(255 * found.pictures[index])
                targets[name].parent.mkdir(parents=True, exist_ok=True)
                # The input's colour profile, if a PNG has room for it.
                save(result, targets[name], fitting('.png', Meta(icc=read_profile(names[name])))[0].icc)
                rows.append(Report(
                    str(names[name]), found.steps, found.seconds, float(found.objective[index]),
                    float(found.psnr[index]), float(found.start_psnr[index]), found.limited,
                ))  # fmt: skip
                if scores is not None and truths:
                    scores.add(result, read_image(truths[name]), images[name])
            lines = [[f'{each:.6g}' if isinstance(each, float) else each for each in astuple(row)] for row in rows]
            save_text(csv_text([Report.__dataclass_fields__, *lines]), out / REPORT)
    return rows


def summary(rows: Sequence[Report], inverter: Inverter, scores: Scores | None) -> str:
    """Mean distances of results to their inputs, and means of the scores, in lines."""
    mean = {name: sum(getattr(row, name) for row in rows) / len(rows)
            for name in ('lr_psnr', 'start_lr_psnr', 'seconds')}  # fmt: skip
    lines = [f'{len(rows)} images, {mean["seconds"]:.1f} s each, {inverter.task.nearness} {mean["lr_psnr"]:.2f} dB '
             f'(random starts: {mean["start_lr_psnr"]:.2f} dB)']  # fmt: skip
    if limited := sum(row.stopped_by_limit for row in rows):
        settings = inverter.settings
        lines.append(f'The time limit of {settings.time_limit:g} s stopped {limited} of them, after '
                     f'{min(row.steps for row in rows)} of {settings.steps} steps or more: results are the best until '
                     'then')  # fmt: skip
    if scores is not None:
        lines.append(', '.join(f'{key}: {value:.4f}' for key, value in scores.means().items()))
    return '\n'.join(lines)
