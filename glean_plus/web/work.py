"""One restoration: an upload of the store becomes a result in the store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glean_plus.inference.image import Picture
from glean_plus.inference.ood import Assessor
from glean_plus.inference.read import read
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.write import obstacle, write
from glean_plus.web.errors import Refused
from glean_plus.web.restorers import Choice, Restorers
from glean_plus.web.store import Entry, Store

# Files of an entry. Other formats are made from the result when they are asked for.
UPLOAD, BEFORE, RESULT, HEAT = 'upload', 'before.png', 'result.png', 'heat.png'
DOWNLOADS = ('.png', '.jpg', '.webp')


@dataclass(frozen=True)
class Result:
    """A restored image.

    Attributes:
        model: The model that restored it.
        before: Width and height of the input.
        after: Width and height of the result.
        seconds: Time taken.
        lr_psnr: PSNR between the input and the result shrunk to its size, in dB; None where it says nothing.
        faces: Number of faces found; None where none were looked for.
        report: Out-of-distribution scores and verdict, if they were asked for.
        lost: Why some formats cannot hold the result, a sentence each.
        notes: What of the input file was left out or is not exact, a sentence each.
        files: Names of its files, each at ``/api/jobs/ID/NAME``: input, result in the formats that hold it, heat map.
    """

    model: str
    before: tuple[int, int]
    after: tuple[int, int]
    seconds: float
    lr_psnr: float | None = None
    faces: int | None = None
    report: dict[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def restore(
    store: Store, restorers: Restorers, upload: Entry, entry: Entry, choice: Choice, report: bool,
    advance: Callable[[float], None],
) -> Result:  # fmt: skip
    """Restore an upload.

    Args:
        upload: The image.
        entry: Takes the result.
        advance: Called with the share of rows done, from 0 to 1; what it raises ends the restoration.

    Raises:
        RestoreError: If the image or the options cannot be used.
        WeightsError: If the model's weights cannot be read.
    """
    with restorers.of(choice) as restorer:
        start = time.perf_counter()
        image = read(upload.folder / UPLOAD, first=True)
        assessor = Assessor(restorer) if report and isinstance(restorer, Restorer) else None
        made = restorer.restoration([image], assess=assessor is not None)
        height, width, channels = image.image.shape

        def rows() -> Iterator[np.ndarray]:
            done = 0
            for part, *_ in made:
                yield part
                done += len(part)
                advance(done / made.shape[0])

        with store.writing(entry, _room(image, made.shape, assessor is not None)):
            write(entry.folder / BEFORE, [image.image], (height, width, channels), made.kind, image.meta)
            notes = write(entry.folder / RESULT, rows(), made.shape, made.kind, image.kept(made.shape[2]))
            scores: dict[str, Any] = {}
            if assessor is not None:
                scores = assessor(image, *made.own_scores[0], heat_map=entry.folder / HEAT).content()
        found = {ending: obstacle(ending, made.shape, made.kind) for ending in DOWNLOADS}
        names = [BEFORE, *(f'result{ending}' for ending, why in found.items() if not why)]
        names += [HEAT] if (entry.folder / HEAT).is_file() else []
        score = made.scores[0]
        return Result(
            choice.model, (width, height), (made.shape[1], made.shape[0]), time.perf_counter() - start,
            None if score is None or math.isinf(score) else score,
            None if made.faces is None else len(made.faces[0]), scores,
            tuple(f'{why}.' for why in found.values() if why),
            tuple(f'{note[:1].upper()}{note[1:]}.' for note in (*image.notes, *notes)),
            tuple(names),
        )  # fmt: skip


def converted(store: Store, entry: Entry, ending: str) -> Path:
    """The result in another format, made from the PNG once.

    Raises:
        RestoreError: If there is no result, the format cannot hold it, or the store has no room.
    """
    target = entry.folder / f'result{ending}'
    if target.is_file():
        return target
    if not (entry.folder / RESULT).is_file():
        raise Refused(404, 'There is no such file.')
    image = read(entry.folder / RESULT)
    height, width, channels = image.image.shape
    shape, kind = (height, width, channels), image.image.dtype.name
    if why := obstacle(ending, shape, kind):
        raise Refused(404, why)
    with store.writing(entry, _bytes(image, image.image.size)):
        write(target, [image.image], shape, kind, image.meta)
    return target


def _room(image: Picture, shape: tuple[int, int, int], report: bool) -> int:
    """Bytes that the input as PNG, the result and the heat map have at most."""
    heat = 3 * shape[0] * shape[1] if report else 0
    return _bytes(image, image.image.size) + _bytes(image, math.prod(shape)) + 2 * heat


def _bytes(image: Picture, values: int) -> int:
    """Bytes that a file of so many pixel values has at most, compressed or not, with the metadata of an image."""
    meta = sum(len(part) for part in (image.meta.icc, image.meta.exif, image.meta.xmp) if part)
    texts = sum(len(text.encode()) for text in image.meta.text.values())
    return 2**16 + values * image.image.itemsize * 17 // 16 + 2 * (meta + texts)
