"""Square crops of large photographs at several scales, split by photograph."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from glean_plus.prepare.decode import PictureError, is_gray, read
from glean_plus.prepare.fit import fit_to
from glean_plus.prepare.images import missing_files, save_scaled, whole_files
from glean_plus.prepare.items import DataError, Item, Problem, meta_line
from glean_plus.prepare.pool import run_all
from glean_plus.prepare.readers import folder
from glean_plus.prepare.run import opened, save_problems
from glean_plus.prepare.settings import SettingsError, check_positive, check_scales
from glean_plus.utils.files import save_text
from glean_plus.utils.tables import csv_text

META = 'meta_info_GT.txt'
CROPS = 'crops.csv'
SOURCES = 'sources.csv'
SPLITS = ('train', 'test')
TRIES = 20          # positions tried for one crop before the photograph counts as used up
FLAT = 1.5          # mean absolute difference of neighbouring pixels' luma, 0 to 255, below which a crop is flat
SAME = 0.98         # correlation of two thumbnails above which the photographs are the same one
THUMBNAIL = 24      # side of the thumbnails
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class CropSettings:
    """Settings of a set of crops."""

    size: int = 128  # side of the crops in pixels
    per_image: int = 100  # crops of each training photograph
    scales: tuple[int, ...] = (4,)  # factors of the low-resolution counterparts
    test_share: float = 0.1  # share of the photographs held out where the source does not say which are
    test_size: int = 256  # side of the one crop of each test photograph
    seed: int = 0  # of positions and scales. The crops of a photograph follow from the seed and its name alone

    def __post_init__(self) -> None:
        check_positive(('size', self.size), ('per-image', self.per_image), ('test-size', self.test_size))
        if not 0 <= self.test_share < 1:
            raise SettingsError(f'--test-share is {self.test_share}, but must be at least 0 and below 1')
        check_scales(self.scales, ('size', self.size), ('test-size', self.test_size))


@dataclass
class Photo:
    """One photograph of the source."""

    item: Item  # where it is
    split: str = ''  # `train` or `test`
    source: str = ''  # what `sources.csv` says of it; empty where it says nothing
    licence: str = ''


@dataclass
class CropReport:
    """The result of a run."""

    photos: dict[str, int] = field(default_factory=dict)
    crops: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Crop(NamedTuple):
    """The origin of a crop: the square of ``side`` pixels at (``left``, ``top``) of the photograph."""

    file: str
    photo: str
    split: str
    left: int
    top: int
    side: int
    source: str
    licence: str


def flatness(image: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels' luma, of (H, W, 3) uint8."""
    luma = image.astype(np.float32) @ LUMA
    return float(np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()) / 2


def miniature(image: np.ndarray, side: int) -> np.ndarray:
    """An image as (side * side * channels,) numbers of zero mean and unit norm, whose product is a correlation."""
    small = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX), np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def thumbnail(item: Item) -> np.ndarray | PictureError:
    """A photograph's :func:`miniature`, with its shorter side in pixels behind it; the error where it is broken."""
    try:
        image = read(item)
    except PictureError as error:
        return error
    return np.append(miniature(image, THUMBNAIL), np.float32(min(image.shape[:2])))


def duplicates(thumbnails: Sequence[np.ndarray]) -> dict[int, int]:
    """Index of each photograph that shows the same as a larger one (the earlier of two equals) -> index of that one."""
    if not len(thumbnails):
        return {}
    table = np.stack(thumbnails)
    alike, sizes = table[:, :-1] @ table[:, :-1].T > SAME, table[:, -1]
    order = sorted(range(len(table)), key=lambda index: (-sizes[index], index))
    found: dict[int, int] = {}
    for place, index in enumerate(order):
        better = next((other for other in order[:place] if other not in found and alike[index, other]), None)
        if better is not None:
            found[index] = better
    return found


def rank(name: str, seed: int) -> bytes:
    """A reproducible random order of names."""
    return hashlib.sha256(f'{seed} {name}'.encode('utf-8', 'surrogateescape')).digest()


def split(photos: Sequence[Photo], share: float, seed: int) -> None:
    """Assign ``train`` or ``test`` to those that have neither, so that ``share`` of all, rounded up, are held out."""
    open_ones = sorted((photo for photo in photos if not photo.split), key=lambda photo: rank(photo.item.name, seed))
    held_out = sum(photo.split == 'test' for photo in photos)
    number = max(math.ceil(share * len(photos)) - held_out, 0)
    for index, photo in enumerate(open_ones):
        photo.split = 'test' if index < number else 'train'


def read_sources(path: Path) -> dict[str, dict[str, str]]:
    """``sources.csv`` of a source folder: file -> its split, source and licence, each optional.

    Raises:
        DataError: If a row has no ``file``, or a split other than train and test.
    """
    if not path.is_file():
        return {}
    with open(path, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, 2):
        if not row.get('file'):
            raise DataError(f'{path}, line {number}: no value in the column "file".')
        if (row.get('split') or 'train') not in SPLITS:
            raise DataError(f'{path}, line {number}: split is {row["split"]!r}, but must be train or test.')
    return {row['file']: row for row in rows}


def crops_of(photo: Photo, settings: CropSettings, out: Path) -> tuple[list[Crop], list[Problem]]:
    """Write the crops of one photograph that are not there yet.

    A training crop is a square at a uniform place whose side is distributed log-uniformly from ``size`` to half of
    the photograph's shorter side, shrunk to ``size`` by MATLAB's bicubic. A square that is flat (:data:`FLAT`) once
    shrunk is replaced by another. Of a test photograph, the middle square of half the shorter side (at least
    ``test_size``) becomes one image of ``test_size``; where that is flat, the photograph is left out.
    """
    item = photo.item
    try:
        image = read(item)
        height, width = image.shape[:2]
        test = photo.split == 'test'
        size = settings.test_size if test else settings.size
        if min(height, width) < size:
            raise PictureError('tiny', f'{width}x{height}, below {size}')
        if is_gray(image):
            raise PictureError('gray', 'no colour')
    except PictureError as error:
        return [], [Problem(item.source, error.kind, error.detail)]
    crops: list[Crop] = []
    generator = np.random.default_rng(np.frombuffer(rank(item.name, settings.seed), np.uint32))
    largest = max(size, min(height, width) // 2)
    for number in range(1 if test else settings.per_image):
        for _ in range(TRIES):
            if test:
                side = largest
                left, top = (width - side) // 2, (height - side) // 2
            else:
                side = int(round(size * (largest / size) ** generator.random()))
                left, top = (int(generator.integers(0, extent - side + 1)) for extent in (width, height))
            pixels = fit_to(image[top:top + side, left:left + side], size, 'crop')
            if flatness(pixels) >= FLAT:
                break
        else:
            wanted = 1 if test else settings.per_image
            return crops, [Problem(item.source, 'flat', f'{wanted - number} of {wanted} crops were not found')]
        name = item.name if test else f'{item.name}_{number:04d}'
        save_scaled(pixels, missing_files(out / photo.split, name, settings.scales))
        crops.append(Crop(f'{name}.png', item.source, photo.split, left, top, side, photo.source, photo.licence))
    return crops, []


def prepare_crops(source: Path, out: Path, settings: CropSettings, workers: int = 1) -> CropReport:
    """Write ``out/{train,test}/GT``, ``BIx{scale}_down`` and ``meta_info_GT.txt``, and ``out/crops.csv``.

    No photograph is on both sides. One that shows the same as a larger one is left out, also where the two differ in
    size and compression, and named in ``problems.csv``; a different cut-out of the same scene is not recognized.
    ``sources.csv`` in the source folder, with the columns file, split, source, licence, may assign photographs to
    a side; ``crops.csv`` repeats source and licence for each crop. Started again, it does what is missing.

    Raises:
        DataError: If there is no photograph, ``out`` and ``source`` lie in each other, ``out`` was made with other
            settings or is being prepared by another process.
    """
    source, out = source.resolve(), out.resolve()
    if not source.is_dir():
        raise DataError(f'{source} is not a folder.')
    listing = folder.read(source)
    known = read_sources(source / SOURCES)
    photos = []
    for item in listing.items:
        said = known.get(item.source, {})
        photos.append(Photo(item, *(said.get(key) or '' for key in ('split', 'source', 'licence'))))
    if not photos:
        raise DataError(f'No image below {source}. ' + ' '.join(listing.notes))
    asked = dict(asdict(settings), set='crops', source=str(source), scales=[*settings.scales])
    with opened(out, [source], asked):
        report = CropReport(problems=list(listing.problems), notes=list(listing.notes))
        photos = without_duplicates(photos, report, workers)
        split(photos, settings.test_share, settings.seed)
        whole_files(out)  # removes what a killed run left unfinished
        work = partial(crops_of, settings=settings, out=out)
        crops: list[Crop] = []
        for found, problems in run_all(work, photos, workers, 'crops'):
            crops += found
            report.problems += problems
        for side in SPLITS:
            own = [crop for crop in crops if crop.split == side]
            report.photos[side], report.crops[side] = len({crop.photo for crop in own}), len(own)
            size = settings.test_size if side == 'test' else settings.size
            if own:
                save_text(''.join(meta_line(crop.file[:-4], (size, size)) for crop in own), out / side / META)
        save_text(csv_text([Crop._fields, *crops]), out / CROPS)
        save_problems(report.problems, out)
    return report


def without_duplicates(photos: list[Photo], report: CropReport, workers: int) -> list[Photo]:
    """The photographs that can be read and show something of their own; the others are reported."""
    readable: list[Photo] = []
    thumbnails: list[np.ndarray] = []
    for photo, found in zip(photos, run_all(thumbnail, [photo.item for photo in photos], workers, 'duplicates')):
        if isinstance(found, PictureError):
            report.problems.append(Problem(photo.item.source, found.kind, found.detail))
        else:
            readable.append(photo)
            thumbnails.append(found)
    same = duplicates(thumbnails)
    for index, other in same.items():
        detail = f'shows the same as {readable[other].item.source}'
        report.problems.append(Problem(readable[index].item.source, 'duplicate', detail))
    return [photo for index, photo in enumerate(readable) if index not in same]
