"""A whole data set: list, check, cut, shrink, save; then the lists of what there is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from glean_plus.prepare.decode import PictureError, is_gray, read
from glean_plus.prepare.fit import extent, fit_to
from glean_plus.prepare.images import folders_of, missing_files, save_scaled, whole_files
from glean_plus.prepare.items import (
    DataError,
    Item,
    Listing,
    Problem,
    label_line,
    meta_line,
    refuse_doubles,
    refuse_outside,
)
from glean_plus.prepare.pool import run_all
from glean_plus.prepare.sets import SETS
from glean_plus.prepare.settings import Settings
from glean_plus.utils.files import NAME_MAX, read_names, save_json, save_text
from glean_plus.utils.locks import Locked, hold
from glean_plus.utils.tables import csv_text

LONG = f'its name in the prepared set has more than {NAME_MAX} bytes: rename it'
SHOWN = 5
RECORD, PROBLEMS = 'prepared.json', 'problems.csv'


@dataclass
class Report:
    """The result of a run."""

    pictures: int = 0
    new: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)


def listing_of(source: Path, settings: Settings) -> Listing:
    """The images that ``settings`` choose.

    Raises:
        DataError: If there is none, if two would become one file, one would be outside of the set, or ``source`` is no
            folder.
    """
    if not source.is_dir():
        raise DataError(f'{source} is no folder.')
    chosen = SETS[settings.set]
    listing = chosen.read(source, subset=settings.subset) if settings.subset else chosen.read(source)
    refuse_doubles(listing.items)
    listing.problems += [Problem(item.source, 'name', LONG) for item in listing.items if is_long(item.name)]
    listing.items = [item for item in listing.items if not is_long(item.name)]
    refuse_outside(listing.items)
    if settings.names is not None:
        by_name = {item.name: item for item in listing.items}
        wanted = read_names(settings.names)
        wanted = list(dict.fromkeys(name[:-4] if name.endswith('.png') else name for name in wanted))
        listing.items = [by_name[name] for name in wanted if name in by_name]
        lost = f'in {settings.names} but not in {source}'
        listing.problems += [Problem(f'{name}.png', 'missing', lost) for name in wanted if name not in by_name]
    elif chosen.numbered and settings.limit:
        listing.items = [item for item in listing.items if int(item.name) <= settings.limit]
        missing = {*range(1, settings.limit + 1)} - {int(item.name) for item in listing.items}
        listing.problems += [Problem(f'number {number}', 'missing', f'not in {source}') for number in sorted(missing)]
    listing.items = listing.items[:settings.limit]
    if not listing.items:
        reasons = [*listing.notes, *(f'{problem.source}: {problem.detail}.' for problem in listing.problems[:SHOWN])]
        raise DataError(
            f'No images of {settings.set} in {source}; its layout is {chosen.layout}. ' + ' '.join(reasons)
        )
    return listing


def is_long(name: str) -> bool:
    """Whether a part of ``name.png`` has more bytes than a file system takes."""
    return max(len(os.fsencode(part)) for part in f'{name}.png'.split('/')) > NAME_MAX


def prepare_one(item: Item, settings: Settings, out: Path | None) -> Problem | None:
    """Check one image and, unless ``out`` is None, write what is missing of it; the reason where it is left out."""
    try:
        image = read(item)
        used = min(image.shape[:2]) if settings.size is None else extent(image, settings.fit)
        if used < settings.min_size:
            height, width = image.shape[:2]
            raise PictureError('tiny', f'{width}x{height}: {used} px used, below {settings.min_size}')
        if settings.size is not None:
            image = fit_to(image, settings.size, settings.fit)
        if is_gray(image) and (out is None or not settings.keep_gray):
            raise PictureError('gray', 'no colour')
    except PictureError as error:
        return Problem(item.source, error.kind, error.detail)
    if out is not None:
        save_scaled(image, missing_files(out, item.name, settings.scales, SETS[settings.set].gt))
    return None


def check(source: Path, settings: Settings, workers: int = 1) -> Report:
    """Read every image and write nothing; gray ones are reported even where they are kept."""
    listing = listing_of(source.resolve(), settings)
    work = partial(prepare_one, settings=settings, out=None)
    found = run_all(work, listing.items, workers, f'{settings.set}: check')
    problems = [*listing.problems, *(problem for problem in found if problem)]
    return Report(len(listing.items), 0, problems, listing.notes)


def prepare(source: Path, out: Path, settings: Settings, workers: int = 1, allow_problems: int = 0) -> Report:
    """Write ``out/GT/NAME.png``, ``out/BIx{scale}_down/NAME.png``, then the lists; problems to ``out/problems.csv``.

    Started again, it does what is missing, and the files are those of a run that was never stopped. The lists are
    written last, and only if no more than ``allow_problems`` images are left out: no training starts on a set that is
    smaller than it seems. More scales may be added later, and gray images; any other setting needs another folder.

    Raises:
        DataError: If ``out`` holds something else or was made with other settings, lies in ``source`` or around it, or
            is being prepared by another process; or as :func:`listing_of`.
    """
    source, out = source.resolve(), out.resolve()
    listing = listing_of(source, settings)
    chosen = SETS[settings.set]
    names = settings.names and hashlib.sha256(settings.names.read_bytes()).hexdigest()
    asked = dict(
        set=settings.set, source=str(source), size=settings.size, fit=settings.fit, min_size=settings.min_size,
        keep_gray=settings.keep_gray, limit=settings.limit, names=names, subset=settings.subset,
        scales=sorted({*settings.scales}),
    )  # fmt: skip
    with opened(out, [source], asked, may_grow=('keep_gray', 'scales')):
        done = set.intersection(*(whole_files(out / each) for each in folders_of(settings.scales, chosen.gt)))
        missing = [item for item in listing.items if f'{item.name}.png' not in done]
        work = partial(prepare_one, settings=settings, out=out)
        found = [problem for problem in run_all(work, missing, workers, settings.set) if problem]
        problems = [*listing.problems, *found]
        save_problems(problems, out)
        left_out = {problem.source for problem in problems}
        good = [item for item in listing.items if item.source not in left_out]
        report = Report(len(good), len(missing) - len(found), problems, listing.notes)
        if len(problems) <= allow_problems:
            lines = [meta_line(item.name, size_of(item, settings, out / chosen.gt), item.label) for item in good]
            report.lists.append(chosen.meta)
            if chosen.labels is not None:
                labels = [label_line(item.name, item.label) for item in good if item.label is not None]
                save_text(''.join(labels), out / chosen.labels)
                report.lists.append(chosen.labels)
            save_text(''.join(lines), out / chosen.meta)
    return report


def size_of(item: Item, settings: Settings, folder: Path) -> tuple[int, int]:
    """(height, width) of a prepared image."""
    if settings.size is not None:
        return settings.size, settings.size
    with Image.open(folder / f'{item.name}.png') as image:
        return image.height, image.width


def save_problems(problems: Sequence[Problem], out: Path) -> None:
    """Write ``problems.csv``."""
    save_text(csv_text([('file', 'problem', 'detail'), *problems]), out / PROBLEMS)


@contextmanager
def opened(
    out: Path, sources: Sequence[Path], asked: Mapping[str, Any], may_grow: Sequence[str] = ()
) -> Iterator[None]:
    """Make or continue the prepared set ``out``: no other process writes to it meanwhile.

    Args:
        out: Its folder.
        sources: Folders of the sources.
        asked: Settings that decide which files there are, as JSON has them; stored in ``out``.
        may_grow: Of these, lists that a later run may add to, and switches that it may turn on.

    Raises:
        DataError: If ``out`` and one of ``sources`` lie in each other, or ``out`` holds something else, was made with
            other settings, or is being prepared by another process.
    """
    for source in sources:
        if source == out or source in out.parents or out in source.parents:
            raise DataError(f'{out} and {source} lie in each other: the results would be taken for sources.')
    out.mkdir(parents=True, exist_ok=True)
    strangers = [path for path in out.iterdir() if not path.name.startswith('.') and path.suffix != '.part']
    if strangers and not (out / RECORD).is_file():
        raise DataError(f'{out} is not empty and has no {RECORD}: choose another folder, or clear this one.')
    with only_one(out):
        record(out, asked, may_grow)
        for litter in out.glob('*.part'):
            litter.unlink()
        yield


def record(out: Path, asked: Mapping[str, Any], may_grow: Sequence[str]) -> None:
    """Store the settings of ``out``; raise DataError if others are stored."""
    path, asked = out / RECORD, dict(asked)
    if path.is_file():
        stored = json.loads(path.read_text(encoding='utf-8'))
        for key in may_grow:
            if isinstance(asked[key], list):
                asked[key] = stored[key] = sorted({*asked[key], *stored.get(key, [])})
            else:
                stored[key] = stored.get(key) or asked[key]
        if other := [key for key in asked if stored.get(key) != asked[key]]:
            differences = ', '.join(f'{key}={stored.get(key)!r}, not {asked[key]!r}' for key in other)
            raise DataError(
                f'{out} was prepared with {differences}: give the options that it was prepared with, choose another '
                'folder, or remove this one.'
            )
    save_json(asked, path)


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Keeps a second process out of the same folder."""
    try:
        with hold(out / '.lock'):
            yield
    except Locked as error:
        raise DataError(f'{out} is being prepared by another process ({error}): wait for it, or end it.') from error
