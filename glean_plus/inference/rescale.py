"""Results of any scale: a restorer's own, resized."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from glean_plus.inference.base import PictureRestorer, Restored
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Picture
from glean_plus.utils.images.arrays import quantize
from glean_plus.utils.imresize import RowResizer


def check_outscale(outscale: float) -> None:
    """Raise RestoreError if results cannot be so many times as large as their inputs."""
    if isinstance(outscale, bool) or not isinstance(outscale, (int, float)) or not 0 < outscale < math.inf:
        raise RestoreError(f'outscale is a number above 0, not {outscale!r}: give one, or leave it out.')


class Rescaler(PictureRestorer):
    """A restorer whose results have another scale: its own results, as a file would have them, by MATLAB's bicubic.

        from glean_plus import Restorer
        Rescaler(Restorer('lightglean_twemoji_4x'), 3.5)('in.png').save('out.png')

    Sides of results are rounded up.

    Args:
        restorer: What restores.
        outscale: How many times larger results are than their inputs.

    Raises:
        RestoreError: If ``outscale`` is not above 0.
    """

    def __init__(self, restorer: PictureRestorer, outscale: float) -> None:
        check_outscale(outscale)
        self.restorer, self.outscale = restorer, outscale
        self.keep_crops = restorer.keep_crops

    @property
    def scale(self) -> float:
        return self.outscale

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        exact = Fraction(self.outscale).limit_denominator(10**6) or Fraction(self.outscale)
        return math.ceil(exact * height), math.ceil(exact * width)

    @property
    def memory(self) -> int:
        return self.restorer.memory

    def batch_of(self, picture: Picture) -> int:
        return self.restorer.batch_of(picture)

    def at_once(self, picture: Picture) -> int:
        return self.restorer.at_once(picture)

    def restoration(self, pictures: Sequence[Picture], assess: bool = False) -> _Rescaled:
        return _Rescaled(self, pictures, assess)

    def run_facts(self) -> dict[str, Any]:
        return dict(self.restorer.run_facts(), outscale=self.outscale)

    def about_facts(self) -> dict[str, Any]:
        return self.restorer.about_facts()


class _Rescaled(Restored):
    """The rows of a restoration, resized as they come; what else it tells is that of the restorer's own results."""

    restorer: Rescaler

    def __init__(self, restorer: Rescaler, pictures: Sequence[Picture], assess: bool) -> None:
        self.made = restorer.restorer.restoration(pictures, assess)
        super().__init__(restorer, pictures, self.made.layers)

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        ratio = self.restorer.outscale / self.restorer.restorer.scale
        resizers: list[RowResizer] = []
        for parts in self.made:
            resizers = resizers or [RowResizer(self.made.shape[:2], self.shape[:2], ratio) for _ in parts]
            results = [self._levels(resizer, part) for resizer, part in zip(resizers, parts)]
            if len(results[0]):
                yield results
        made = self.made
        self.scores, self.own_scores, self.faces, self.crops = made.scores, made.own_scores, made.faces, made.crops

    def _levels(self, resizer: RowResizer, rows: np.ndarray) -> np.ndarray:
        """(h, W, K) of the restorer's result -> as many rows of the resized one as are known by then."""
        resized = resizer(torch.from_numpy(rows.astype(np.float32)).permute(2, 0, 1))
        return quantize(resized.permute(1, 2, 0).numpy(), self.kind)
