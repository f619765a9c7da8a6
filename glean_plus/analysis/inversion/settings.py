"""Settings of the search of an inversion."""

from __future__ import annotations

import math
from dataclasses import dataclass

from glean_plus.analysis.errors import InversionError

# Share of the steps in which the learning rate rises.
WARM_UP = 0.05


@dataclass(frozen=True)
class Settings:
    """Length and starts of a search.

    Attributes:
        steps: Steps of Adam.
        lr: Its highest learning rate: a rise over the first twentieth of the steps, then half a cosine to 0.
        restarts: Random starts of each image, searched side by side; the one of the least objective is taken.
        prior: Weight of the prior; None is the space's own, 0 is none.
        time_limit: Seconds for each image, None for no limit; the best so far is taken then. Images that are
            searched together have as much together.
        seed: Of the starts, which are the same for every image.

    Raises:
        InversionError: If a number is out of its range.
    """

    steps: int = 300
    lr: float = 0.5
    restarts: int = 1
    prior: float | None = None
    time_limit: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('steps', 'lr', 'restarts', 'time_limit'):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InversionError(f'{name} must be positive, but is {value}.')
        if self.prior is not None and not 0 <= self.prior < math.inf:
            raise InversionError(f'prior must be at least 0, but is {self.prior}.')

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = max(1, round(WARM_UP * self.steps))
        if step < rise:
            return self.lr * (step + 1) / rise
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))
