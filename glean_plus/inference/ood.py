"""Signs that a model is at a loss with an image: figures, and what they are on images of its kind."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from glean_plus.inference import tiling
from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.codes import CodeStatistics, code_statistics
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.fidelity import bank_factor
from glean_plus.inference.image import Picture
from glean_plus.inference.png_stream import PngWriter
from glean_plus.inference.rescale import Rescaler
from glean_plus.inference.restorer import Restoration, Restorer
from glean_plus.inference.thresholds import Bounds, judged, read_bounds
from glean_plus.utils.choices import DRAWS
from glean_plus.utils.files import whole_or_not_at_all
from glean_plus.utils.images.arrays import from_unit

# What a deviation over the draws must be to be white in the heat map, as a share of the range.
WHITE = 1 / 16

FIGURES = {
    'lr_psnr': "how well the model's own result, shrunk, meets the input, in dB",
    'lr_gain': 'how many dB that is above the input enlarged by bicubic',
    'code_distance': "root mean square distance of the predicted codes from the bank's mean, in units of its spread",
    'noise_spread': 'standard deviation over draws of the noise, a mean over pixels, in levels of 255',
}


@dataclass
class Failure:
    """What is known of a result.

    Attributes:
        figures: Of :data:`FIGURES`; None where there is no such thing.
        missing: Why.
        verdict: A line for people.
        unlike: Whether a figure is out of the bounds of the model's kind of image; None if no bounds are known.
    """

    figures: dict[str, float | None]
    missing: dict[str, str] = field(default_factory=dict)
    verdict: str = ''
    unlike: bool | None = None

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return dict(verdict=self.verdict, unlike=self.unlike, **self.figures, missing=self.missing)


class Assessor:
    """Makes a :class:`Failure` of each image of a restorer.

    Args:
        restorer: Whose results are judged.
        draws: Of the noise maps; more is slower, each is a pass of the model.
        bounds: In place of those beside the checkpoint.

    Raises:
        RestoreError: In colorization, whose input says nothing of the colours; on less than two draws; on bounds that
            cannot be read.
    """

    def __init__(
        self, restorer: Restorer, draws: int = DRAWS, bounds: Bounds | None = None
    ) -> None:
        if restorer.network.colorizes:
            raise RestoreError('Colorization has no report: its input says nothing of the colours.')
        if draws < 2:
            raise RestoreError(f'A spread takes 2 draws of the noise or more, not {draws}.')
        self.restorer, self.draws = restorer, draws
        # Those of results hold for the model as it is.
        own = bank_factor(restorer.fidelity) == 1
        bounds = read_bounds(restorer.source.checkpoint) if bounds is None else bounds
        kept = {name: bound for name, bound in bounds.figures.items() if own or name == 'code_distance'}
        self.bounds = Bounds(kept, bounds.side)

    @functools.cached_property
    def _statistics(self) -> CodeStatistics | str:
        network = self.restorer.network
        if not network.has_bank:
            return 'this model has no bank'
        if not network.predicts_codes:
            return 'the codes of this model are the same for all images'
        return code_statistics(self.restorer.source.model['generator'])

    def __call__(
        self, picture: Picture, lr_psnr: float, lr_gain: float, heat_map: Path | None = None
    ) -> Failure:
        """Judge.

        Args:
            picture: That has been restored.
            lr_psnr, lr_gain: Of its result, as its :class:`Restoration` has them.
            heat_map: File, .png, for an image of the spread: black where the draws agree, over red to yellow; not
                written where the model has no noise.
        """
        figures: dict[str, float | None] = dict.fromkeys(FIGURES)
        missing = {}
        for name, value in (('lr_psnr', lr_psnr), ('lr_gain', lr_gain)):
            if math.isfinite(value):
                figures[name] = value
            else:
                missing[name] = 'it is exact'
        if isinstance(self._statistics, str):
            missing['code_distance'] = self._statistics
        else:
            figures['code_distance'] = self._code_distance(picture, self._statistics)
        if self.restorer.network.has_noise:
            figures['noise_spread'] = self._spread(picture, heat_map)
        else:
            missing['noise_spread'] = 'this model has no noise maps'
        unlike, verdict = judged(figures, self.bounds.figures)
        side = max(picture.image.shape[:2])
        if unlike is not None and not self.bounds.side / 2 <= side <= 2 * self.bounds.side:
            verdict += f'; but its bounds are of images of {self.bounds.side} px, and this has {side}'
        return Failure(figures, missing, verdict, unlike)

    def _code_distance(self, picture: Picture, statistics: CodeStatistics) -> float:
        network, layers = self.restorer.network, picture.layers
        small = tiling.shrunk(picture.opaque(), (network.in_size, network.in_size), layers)
        codes = layers.codes(network, small[None]).colour or []
        if network.gray:  # those of each channel
            codes = [None if code is None else code.flatten(0, 1) for code in codes]
        return float(statistics.distance(codes).mean())

    def _spread(self, picture: Picture, heat_map: Path | None) -> float:
        """Mean deviation over the draws; they go through the image in step, so that none is held whole."""
        height, width = (self.restorer.scale * side for side in picture.image.shape[:2])
        deviations = self._deviations(picture)
        total = 0.0
        if heat_map is None:
            total = sum(float(each.sum()) for each in deviations)
        else:
            with whole_or_not_at_all(heat_map) as file:
                writer = PngWriter(file, height, width, 3)
                for each in deviations:
                    total += float(each.sum())
                    heat = from_unit(each / WHITE)
                    writer.write(cv2.cvtColor(cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB))
                writer.close()
        return 255 * total / (height * width)

    def _deviations(self, picture: Picture) -> Iterator[np.ndarray]:
        """Rows (h, W) of the standard deviation over the draws, a mean over the colours; 0 to 1."""
        restorer, layers, image = self.restorer, picture.layers, picture.opaque()
        streams = [
            tiling.strips(network, [image], layers, restorer.mode, restorer.limits) for network in self._redrawn
        ]
        for strips in zip(*streams):
            drawn = torch.stack([strip[0, :layers.colours].cpu().clamp(0, 1) for strip in strips])
            yield drawn.std(dim=0).mean(dim=0).numpy()

    @functools.cached_property
    def _redrawn(self) -> Sequence[Any]:
        return [self.restorer.network.redrawn(seed) for seed in range(self.draws)]


def assessor_of(restorer: PictureRestorer) -> Assessor | None:
    """The assessor of what restores, or of what a rescaler resizes; None of another kind of restorer."""
    own = restorer.restorer if isinstance(restorer, Rescaler) else restorer
    return Assessor(own) if isinstance(own, Restorer) else None


def assess(restorer: Restorer, given: Any, assessor: Assessor | None = None) -> Failure:
    """Restore one image, of any kind that a restorer takes, and judge its result, which is thrown away."""
    picture = given if isinstance(given, Picture) else restorer.accept(given)[0][0]
    made = Restoration(restorer, [picture], assess=True)
    for _ in made:
        pass
    return (assessor or Assessor(restorer))(picture, *made.own_scores[0])
