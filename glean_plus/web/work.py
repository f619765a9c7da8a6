"""One restoration: an upload of the store -> a result in the store."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Picture
from glean_plus.inference.ood import Assessor
from glean_plus.inference.read import read
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.write import obstacle, write
from glean_plus.web.restorers import Choice, Restorers
from glean_plus.web.store import Store

# Files of an entry. What is downloaded in another format is made of the result when it is asked for.
UPLOAD, BEFORE, RESULT, HEAT = 'upload', 'before.png', 'result.png', 'heat.png'
DOWNLOADS = ('.png', '.jpg', '.webp')


@dataclass(frozen=True)
class Result:
    """What the page shows.

    Attributes:
        key: Of the store's entry.
        stem: Of the user's file.
        model: That did it.
        before, after: (H, W).
        seconds: It took.
        endings: Of the formats that can hold it.
        lost: Why others cannot, a sentence each.
        lr_psnr: How well it meets its input, in dB; None where that says nothing.
        faces: How many were found; None where none were looked for.
        report: What :class:`glean_plus.inference.ood.Failure` says, if it was asked for.
        heat: Whether there is a heat map.
        notes: What of the file was left out, or is not exact, a sentence each.
    """

    key: str
    stem: str
    model: str
    before: tuple[int, int]
    after: tuple[int, int]
    seconds: float
    endings: tuple[str, ...]
    lost: tuple[str, ...] = ()
    lr_psnr: float | None = None
    faces: int | None = None
    report: dict[str, Any] = field(default_factory=dict)
    heat: bool = False
    notes: tuple[str, ...] = ()


def restore(store: Store, restorers: Restorers, key: str, choice: Choice, report: bool) -> Result:
    """Restore an upload.

    Args:
        store: Has the upload, and takes the result.
        restorers: Of the models.
        key: Of the upload.
        choice: What is to be done.
        report: Look for signs of failure, too.

    Raises:
        RestoreError: If the picture or the options cannot be used, or the upload is not here any more.
        WeightsError: If the model cannot be had.
    """
    if report and choice.faces:
        raise RestoreError('A report is of whole pictures that one model made: leave the report or the faces out.')
    with store.using(key) as upload, restorers.of(choice) as restorer:
        start = time.perf_counter()
        picture = read(upload.folder / UPLOAD)
        entry = store.new(upload.stem)
        try:
            with store.using(entry.key):
                return _restored(entry.folder, entry.key, upload.stem, picture, restorer, choice, report, start)
        except BaseException:
            store.remove(entry.key)
            raise


def _restored(
    folder: Path, key: str, stem: str, picture: Picture, restorer: PictureRestorer, choice: Choice, report: bool,
    start: float,
) -> Result:  # fmt: skip
    assessor = Assessor(restorer) if report and isinstance(restorer, Restorer) else None
    made = restorer.restoration([picture], assess=assessor is not None)
    height, width, channels = picture.image.shape
    write(folder / BEFORE, [picture.image], (height, width, channels), made.kind, picture.meta)
    notes = write(folder / RESULT, (part[0] for part in made), made.shape, made.kind, picture.kept(made.shape[2]))
    failure: dict[str, Any] = {}
    if assessor is not None:
        failure = assessor(picture, *made.own_scores[0], heat_map=folder / HEAT).content()
    score, faces = made.scores[0], None if made.faces is None else len(made.faces[0])
    endings, lost = _formats(made.shape, made.kind)
    return Result(
        key, stem, choice.model, (height, width), made.shape[:2], time.perf_counter() - start, endings, lost,
        None if score is None or score == float('inf') else score, faces, failure, (folder / HEAT).is_file(),
        tuple(f'{note[:1].upper()}{note[1:]}.' for note in (*picture.notes, *notes)),
    )  # fmt: skip


def _formats(shape: tuple[int, int, int], kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Endings of the formats that can hold a result, and what keeps the others from it."""
    found = {ending: obstacle(ending, shape, kind) for ending in DOWNLOADS}
    return tuple(ending for ending in DOWNLOADS if not found[ending]), tuple(f'{why}.' for why in found.values() if why)


def converted(folder: Path, ending: str) -> Path:
    """The result in another format, made of the PNG once.

    Raises:
        RestoreError: If the format cannot hold it.
    """
    target = folder / f'result{ending}'
    if not target.is_file():
        picture = read(folder / RESULT)
        height, width, channels = picture.image.shape
        write(target, [picture.image], (height, width, channels), picture.image.dtype.name, picture.meta)
    return target
