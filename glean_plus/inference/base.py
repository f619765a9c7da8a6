"""How images are handed to whatever restores them, and results handed back."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glean_plus.inference.arrays import Back, accept, to_pil
from glean_plus.inference.channels import Layers
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Picture, in_file
from glean_plus.inference.read import read
from glean_plus.inference.source import PathLike

LOG = logging.getLogger('glean_plus.inference')


class Restored(ABC):
    """Images of one size and kind being restored: iterate over it for rows of the results, from the top.

    Attributes:
        restorer: What restores them.
        pictures: One or more.
        layers: What the channels of a result are.
        shape: (s H, s W, K') of each result.
        kind: Type of its levels.
        scores: How well each result, shrunk, meets its input, in dB, once all rows have come; None where that says
            nothing, or none are wanted.
        own_scores: The same of each result before any projection, and how many dB that is above bicubic, where asked
            for.
        faces: Those of each image, once all rows have come; None where none are looked for.
        crops: Of each of them as it was cut out and as it was restored, where these are kept.
    """

    def __init__(self, restorer: PictureRestorer, pictures: Sequence[Picture], layers: Layers) -> None:
        self.restorer, self.pictures, self.layers = restorer, pictures, layers
        height, width = restorer.result_size(*pictures[0].image.shape[:2])
        self.shape = (height, width, layers.colours + layers.alpha)
        self.kind = pictures[0].image.dtype.name
        self.scores: list[float | None] = [None] * len(pictures)
        self.own_scores: list[tuple[float, float]] = []
        self.faces: list[list[Any]] | None = None
        self.crops: list[list[tuple[np.ndarray, np.ndarray]]] = []

    @abstractmethod
    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """Rows (h, s W, K') of each result."""


class Described(ABC):
    """What a manifest says of a restorer, whether that is in this process or in another.

    Attributes:
        keep_crops: Restorations keep the faces, to be written beside the results.
    """

    keep_crops = False

    @abstractmethod
    def run_facts(self) -> dict[str, Any]:
        """What decides the results."""

    @abstractmethod
    def about_facts(self) -> dict[str, Any]:
        """What else is known of how they are made."""


class PictureRestorer(Described):
    """Images of any size and kind in, the same out, :attr:`scale` times as large.

    Attributes:
        scored: Restorations have scores, which take time.
    """

    scored = True

    @property
    @abstractmethod
    def scale(self) -> float:
        """How many times larger results are."""

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result of an image."""
        return int(self.scale * height), int(self.scale * width)

    @property
    @abstractmethod
    def memory(self) -> int:
        """Bytes that an image may take beside itself and the model."""

    @abstractmethod
    def batch_of(self, picture: Picture) -> int:
        """How many images like this one are a batch, as frames of a video are."""

    def at_once(self, picture: Picture) -> int:
        """How many images like this one are restored together that have nothing to do with each other."""
        return self.batch_of(picture)

    @abstractmethod
    def restoration(self, pictures: Sequence[Picture], assess: bool = False) -> Restored:
        """Restore images of one size and kind, row by row; ``assess`` fills ``own_scores``."""

    def __call__(self, given: Any) -> Any:
        """Restore.

        Args:
            given: A path; an array (H, W) or (H, W, 1 to 4), RGB, uint8, uint16, or floats of 0 to 1; a PIL image; a
                tensor (C, H, W) or (N, C, H, W), uint8 or floats of 0 to 1; or a list of these. One channel is gray,
                the last of two or four is opacity.

        Returns:
            The same, ``scale`` times as large; of a path a PIL image, or, with 16 bits in colour, an array. Gray
            images stay gray but in colorization. Of a list, a list.

        Raises:
            RestoreError: If one is no image, or cannot be restored.
        """
        several = isinstance(given, (list, tuple))
        accepted = [self.accept(each) for each in (given if several else [given])]
        pictures = [picture for group, _ in accepted for picture in group]
        results = iter(self.restore(pictures))
        outputs = [back([(next(results), picture) for picture in group]) for group, back in accepted]
        return outputs if several else outputs[0]

    def infer(self, img: Any, result_out_dir: PathLike = '') -> tuple[Any, None]:
        """The call of MMagic's ``MMagicInferencer``: (result, None); the result is written to ``result_out_dir``, too.

        Args:
            img: As for a call of the restorer; to be written, one image.
            result_out_dir: File; nothing is written if it is empty. What the picture's file says is kept, and floats
                are written in 8 bits.

        Raises:
            RestoreError: As a call does; if several images are to be written, or the file cannot hold the result.
        """
        if not str(result_out_dir):
            return self(img), None
        from glean_plus.inference.write import write

        if isinstance(img, (list, tuple)):
            raise RestoreError(f'One image is written to {result_out_dir}, not a list: give them one by one.')
        (picture, *more), back = self.accept(img)
        if more:
            count = 1 + len(more)
            raise RestoreError(f'One image is written to {result_out_dir}, not {count}: give them one by one.')
        (result,) = self.restore([picture])
        image = in_file(result)
        height, width, channels = image.shape
        kept = picture.kept(channels)
        notes = write(Path(result_out_dir), [image], (height, width, channels), image.dtype.name, kept)
        for note in notes:
            LOG.warning('%s: %s', result_out_dir, note)
        return back([(result, picture)]), None

    @staticmethod
    def accept(given: Any) -> tuple[list[Picture], Back]:
        """What a call is given, but for lists -> images, and what turns their results into the same kind."""
        if isinstance(given, (str, os.PathLike)):
            try:
                picture = read(Path(given))
            except RestoreError as error:
                raise RestoreError(f'{os.fspath(given)}: {error}') from error
            for note in picture.notes:
                LOG.warning('%s: %s', os.fspath(given), note)
            return [picture], lambda results: to_pil(*results[0])
        return accept(given)

    def restore(self, pictures: Sequence[Picture]) -> list[np.ndarray]:
        """Levels (s H, s W, K') of each image, of its type; those of one size and kind are restored together."""
        results: dict[int, np.ndarray] = {}
        kinds: dict[Any, list[int]] = {}
        for index, picture in enumerate(pictures):
            kinds.setdefault(picture.kind, []).append(index)
        for indices in kinds.values():
            step = self.at_once(pictures[indices[0]])
            for start in range(0, len(indices), step):
                some = indices[start:start + step]
                results.update(zip(some, self.restore_together([pictures[index] for index in some])))
        return [results[index] for index in range(len(pictures))]

    def restore_together(self, pictures: Sequence[Picture]) -> list[np.ndarray]:
        """The same of images of one size and kind, in one batch."""
        parts = list(self.restoration(pictures))
        return [np.concatenate([part[i] for part in parts]) for i in range(len(pictures))]
