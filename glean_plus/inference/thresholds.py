"""What figures of a result are usual for a model's kind of image, and what is beyond that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glean_plus.inference.errors import RestoreError
from glean_plus.weights.errors import brief
from glean_plus.weights.fetch import sha256


@dataclass(frozen=True)
class Bound:
    """Beyond which a figure is unusual.

    Attributes:
        side: ``low`` or ``high``, where unusual images are.
        value: 95 of 100 images of the model's kind are not beyond it.
        used: Whether the verdict counts it: it tells at least one other kind of image from the model's own.
    """

    side: str
    value: float
    used: bool = True

    def beyond(self, figure: float) -> bool:
        return figure < self.value if self.side == 'low' else figure > self.value


@dataclass(frozen=True)
class Bounds:
    """What is usual of a model's kind of image.

    Attributes:
        figures: A bound of each figure.
        side: Longer side of those images, a median.
    """

    figures: Mapping[str, Bound] = field(default_factory=dict)
    side: int = 0


def bounds_path(checkpoint: Path) -> Path:
    """Where the bounds of a checkpoint are: in a folder beside it."""
    return checkpoint.parent / 'bounds' / f'{checkpoint.stem}.json'


def read_bounds(checkpoint: Path) -> Bounds:
    """Of a checkpoint; empty if there are none.

    Raises:
        RestoreError: If the file cannot be read, or is of other weights.
    """
    path = bounds_path(checkpoint)
    if not path.is_file():
        return Bounds()
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        weights, figures = content['weights'], content['figures']
        bounds = Bounds(
            {name: Bound(each['side'], float(each['bound']), bool(each['used'])) for name, each in figures.items()},
            int(content['side']),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RestoreError(
            f'{path} holds no bounds ({brief(error)}): remove it, or make it again by `calibrate`.'
        ) from error
    if weights != sha256(checkpoint):
        raise RestoreError(f'{path} is of other weights than {checkpoint}: remove it, or make it again by `calibrate`.')
    return bounds


def judged(figures: Mapping[str, float | None], bounds: Mapping[str, Bound]) -> tuple[bool | None, str]:
    """Whether an image is unlike those of the bounds, and a line that says so."""
    known = {name: figure for name, figure in figures.items() if figure is not None}
    counted = {name: bound for name, bound in bounds.items() if bound.used and name in known}
    if not counted:
        return None, 'no bounds are known for these weights: make them of images of its kind, `glean-plus calibrate`'
    beyond = [
        f'{name} {known[name]:.3g}, {"below" if bound.side == "low" else "above"} {bound.value:.3g}'
        for name, bound in counted.items() if bound.beyond(known[name])
    ]  # fmt: skip
    if beyond:
        return True, f'unlike what the model was made for: {"; ".join(beyond)}'
    return False, f'like what the model was made for, by {", ".join(counted)}'
