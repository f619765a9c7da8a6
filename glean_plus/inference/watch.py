"""A look at the first images of a run: are they what the model was made for?"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.fidelity import bank_factor
from glean_plus.inference.image import Picture
from glean_plus.inference.rescale import Rescaler
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.thresholds import Bounds, judged, read_bounds

FIRST = 8  # images, which cost a bicubic enlargement more each


class Watch:
    """Counts which of the first images of a run are out of the bounds of the model's kind.

    Args:
        restorer: Of the run.
        bounds: Of the figures that cost nearly nothing.
    """

    def __init__(self, restorer: Restorer, bounds: Bounds) -> None:
        self.restorer, self.bounds = restorer, bounds
        self.seen = 0
        self.unlike: list[tuple[str, str]] = []

    @classmethod
    def of(cls, restorer: PictureRestorer, say: Callable[[str], None]) -> Watch | None:
        """None where no bounds are known. Bounds that cannot be used are named, and do not keep the run."""
        if isinstance(restorer, Rescaler):
            restorer = restorer.restorer
        if not isinstance(restorer, Restorer) or restorer.network.colorizes or bank_factor(restorer.fidelity) != 1:
            return None
        try:
            bounds = read_bounds(restorer.source.checkpoint)
        except RestoreError as error:
            say(str(error))
            return None
        figures = {name: bounds.figures[name] for name in ('lr_psnr', 'lr_gain') if name in bounds.figures}
        return cls(restorer, Bounds(figures, bounds.side)) if any(each.used for each in figures.values()) else None

    @property
    def wants(self) -> bool:
        """Whether more images are looked at."""
        return self.seen < FIRST

    def add(self, source: Path, picture: Picture, lr_psnr: float, lr_gain: float) -> None:
        """Scores of a result, as its restoration has them."""
        figures = {'lr_psnr': lr_psnr, 'lr_gain': lr_gain}
        unlike, verdict = judged(
            {name: value if math.isfinite(value) else None for name, value in figures.items()}, self.bounds.figures
        )
        self.seen += 1
        if unlike:
            self.unlike.append((str(source), verdict))

    def verdict(self) -> str:
        """A line for people where most are unlike; empty otherwise."""
        if 2 * len(self.unlike) <= self.seen:
            return ''
        source, why = self.unlike[0]
        which = source if self.seen == 1 else f'{len(self.unlike)} of the first {self.seen} images, such as {source},'
        look = 'looks' if self.seen == 1 else 'look'
        return f'{which} {look} {why}; --report says more of each'
