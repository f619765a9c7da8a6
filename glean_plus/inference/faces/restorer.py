"""Photos in, photos out, their faces restored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from glean_plus.inference.base import PictureRestorer, Restored
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.faces.align import Alignment, alignment, crop
from glean_plus.inference.faces.background import bicubic_rows
from glean_plus.inference.faces.detectors import choose_detector
from glean_plus.inference.faces.find import Detector, Face, find_faces
from glean_plus.inference.faces.paste import Patch, extent, paste
from glean_plus.inference.image import Picture
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.source import PathLike
from glean_plus.utils.images.arrays import WHITES, from_unit

MIN_SIZE, MIN_SCORE = 10.0, 0.9


class FaceRestorer(PictureRestorer):
    """A model of aligned faces for photos: it restores the faces in them, all of a photo in one batch.

    A photo without a face is enlarged only.

    Example:
        >>> import numpy as np
        >>> from glean_plus import Restorer
        >>> model = Restorer('lightglean_twemoji_4x', device='cpu', speed='exact')  # in place of one of faces
        >>> restorer = FaceRestorer(model, detector=lambda image: [], enlarge=2)
        >>> restorer(np.zeros((20, 30, 3), np.uint8)).shape
        (40, 60, 3)

    Args:
        restorer: Of the faces; its batch bounds how many are restored at a time.
        detector: As :func:`glean_plus.inference.faces.detectors.choose_detector` takes it, or one of your own.
        background: Enlarges the rest of the photo; None is bicubic.
        enlarge: By how much; None is as the background's model does it, without one as the faces'.
        only_center: Restore the face nearest to the middle alone.
        min_size: Pixels; faces whose box has a shorter side are left as they are.
        min_score: 0 to 1; likewise of faces that the detector is less sure of.
        keep_crops: Keep the faces as they were cut out and restored, see :attr:`FaceRestoration.crops`.

    Raises:
        RestoreError: If one of these cannot be used.
        WeightsError: If the detector's weights cannot be had.
    """

    def __init__(
        self,
        restorer: Restorer,
        detector: PathLike | Detector = 'auto',
        *,
        background: Restorer | None = None,
        enlarge: int | None = None,
        only_center: bool = False,
        min_size: float = MIN_SIZE,
        min_score: float = MIN_SCORE,
        keep_crops: bool = False,
    ) -> None:
        if restorer.network.colorizes or (background is not None and background.network.colorizes):
            raise RestoreError('Colorization is of whole images: a face alone would be in colour. Leave faces out.')
        if background is not None and enlarge not in (None, background.scale):
            raise RestoreError(
                f"The background's model enlarges by {background.scale}, not by {enlarge}: leave one of them out."
            )
        if enlarge is not None and enlarge < 1:
            raise RestoreError(f'A photo is enlarged by 1 or more, not by {enlarge}.')
        if min_size < 0 or not 0 <= min_score <= 1:
            raise RestoreError(f'min_size is 0 or more and min_score 0 to 1, but they are {min_size} and {min_score}.')
        self.restorer, self.background = restorer, background
        self.detector = detector if callable(detector) else choose_detector(detector, restorer.network.device)
        self._scale = enlarge or (background or restorer).scale
        self.only_center, self.min_size, self.min_score = only_center, min_size, min_score
        self.keep_crops = keep_crops

    @property
    def scale(self) -> int:
        return self._scale

    @property
    def memory(self) -> int:
        return self.restorer.memory

    def batch_of(self, picture: Picture) -> int:
        """One: its faces are the batch."""
        return 1

    def restoration(self, pictures: Sequence[Picture], assess: bool = False) -> FaceRestoration:
        if assess:
            raise RestoreError('A report is of whole images that one model made: leave it or the faces out.')
        return FaceRestoration(self, pictures)

    def run_facts(self) -> dict[str, Any]:
        background = 'bicubic' if self.background is None else self.background.run_facts()
        faces = dict(
            detector=dict(self.detector.facts), background=background, enlarge=self.scale,
            only_center=self.only_center, min_size=self.min_size, min_score=self.min_score,
        )  # fmt: skip
        return dict(self.restorer.run_facts(), faces=faces)

    def about_facts(self) -> dict[str, Any]:
        return self.restorer.about_facts()

    def find(self, picture: Picture) -> list[tuple[Face, Alignment]]:
        """The faces that are to be restored, from top to bottom, and where each is."""
        height, width = picture.image.shape[:2]
        found = []
        for face in find_faces(self.detector, picture):
            square = alignment(face.points, (height, width))
            if square is not None and face.size >= self.min_size and face.score >= self.min_score:
                found.append((face, square))
        if self.only_center and found:
            middle = ((width - 1) / 2, (height - 1) / 2)
            return [min(found, key=lambda each: math.dist(each[0].centre, middle))]
        return found


class FaceRestoration(Restored):
    """Photos of one size and kind being restored, background and faces."""

    restorer: FaceRestorer

    def __init__(self, restorer: FaceRestorer, pictures: Sequence[Picture]) -> None:
        super().__init__(restorer, pictures, pictures[0].layers)

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        found = [self.restorer.find(picture) for picture in self.pictures]
        self.faces = [[face for face, _ in each] for each in found]
        background = self.restorer.background
        rows = (
            bicubic_rows(self.pictures, self.restorer.scale) if background is None
            else background.restoration(self.pictures)
        )  # fmt: skip
        photos = [
            _Photo(self.restorer, picture, [square for _, square in each], self.shape)
            for picture, each in zip(self.pictures, found)
        ]
        self.crops = [photo.crops for photo in photos]
        for parts in rows:
            yield [photo.with_faces(part) for photo, part in zip(photos, parts)]


class _Photo:
    """Rows of an enlarged photo -> the same with its faces, which are restored as the rows come to them."""

    def __init__(
        self, restorer: FaceRestorer, picture: Picture, squares: Sequence[Alignment], shape: Sequence[int]
    ) -> None:
        self.restorer, self.shape = restorer, shape
        self.colours, self.white = picture.layers.colours, picture.layers.white
        self.image = picture.opaque()[..., :self.colours] if squares else picture.image
        self.waiting = sorted(range(len(squares)), key=lambda i: extent(squares[i], restorer.scale, shape)[1])
        self.squares = squares
        self.patches: list[Patch] = []
        self.top = 0
        self.crops: list[tuple[np.ndarray, np.ndarray]] = []
        if restorer.keep_crops:
            self.crops += [(np.zeros(0), np.zeros(0))] * len(squares)

    def with_faces(self, part: np.ndarray) -> np.ndarray:
        bottom = self.top + len(part)
        while self.waiting and extent(self.squares[self.waiting[0]], self.restorer.scale, self.shape)[1] < bottom:
            self._restore_some()
        paste(part, self.top, self.patches, self.colours, self.white)
        self.top = bottom
        self.patches = [patch for patch in self.patches if patch.bottom > bottom]
        return part

    def _restore_some(self) -> None:
        """The next batch of faces."""
        restorer, size = self.restorer.restorer, self.restorer.restorer.network.in_size
        count = restorer.batch_of(Picture(np.zeros((size, size, self.colours), np.float32)))
        some, self.waiting = self.waiting[:count], self.waiting[count:]
        given = [crop(self.image, self.white, self.squares[i], size) for i in some]
        results = restorer.restore_together([Picture(each) for each in given])
        for i, before, after in zip(some, given, results):
            self.patches.append(Patch(after, self.squares[i], self.restorer.scale, self.shape))
            if self.restorer.keep_crops:
                kind = 'uint16' if self.white == WHITES['uint16'] else 'uint8'
                crop_before, crop_after = (from_unit(each, kind) for each in (before, after))
                self.crops[i] = crop_before, crop_after
