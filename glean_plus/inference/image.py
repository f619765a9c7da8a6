"""An image in memory: levels, what its channels are, and what a file says beside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from glean_plus.inference.channels import Layers
from glean_plus.inference.errors import RestoreError
from glean_plus.utils.images.arrays import WHITES, from_unit
from glean_plus.utils.images.metadata import Meta

TOLERANCE = 1e-3  # of floats beyond 0 and 1


@dataclass(frozen=True)
class Picture:
    """Levels (H, W, K): gray or RGB, and opacity if it has any; uint8, uint16, or floats of 0 to 1.

    Attributes:
        image: The levels.
        meta: What its file says beside them.
        notes: What of the file has been left out, or is not exact.

    Raises:
        RestoreError: On another shape or type, no pixels, or floats beyond 0 to 1.
    """

    image: np.ndarray
    meta: Meta = field(default_factory=Meta)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape, kind = self.image.shape, self.image.dtype.name
        if len(shape) != 3 or not 1 <= shape[2] <= 4 or kind not in WHITES:
            raise RestoreError(
                f'An image is (H, W) or (H, W, 1 to 4) of {", ".join(WHITES)}, but this is {shape} of {kind}.'
            )
        if not self.image.size:
            raise RestoreError(f'The image has no pixels: {shape}.')
        if self.image.dtype.kind == 'f':
            low, high = float(self.image.min()), float(self.image.max())  # NaN, if there is one
            if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
                raise RestoreError(f'Levels of an image of floats are 0 to 1, but these are {low:g} to {high:g}.')

    @property
    def layers(self) -> Layers:
        channels = self.image.shape[2]
        return Layers(channels < 3, channels in (2, 4), WHITES[self.image.dtype.name])

    def kept(self, channels: int) -> Meta:
        """What a result of so many channels keeps of the file: a profile of grays does not fit colours."""
        return replace(self.meta, icc=None) if self.layers.gray and channels >= 3 else self.meta

    @property
    def kind(self) -> tuple[Any, ...]:
        """Images of the same kind can be restored together."""
        return (*self.image.shape, self.image.dtype.name)

    def opaque(self) -> np.ndarray:
        """Levels whose colours are continued from the nearest visible pixel where nothing is visible.

        There the file may have any colour, black mostly, which would bleed into what is visible.
        """
        if not self.layers.alpha:
            return self.image
        hidden = self.image[..., -1] == 0
        if not hidden.any() or hidden.all():
            return self.image
        _, labels = cv2.distanceTransformWithLabels(
            hidden.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        rows, columns = np.nonzero(~hidden)
        nearest = np.zeros((labels.max() + 1, 2), np.int64)
        nearest[labels[rows, columns]] = np.stack([rows, columns], axis=1)
        source = nearest[labels[hidden]]
        image = self.image.copy()
        image[hidden, :-1] = self.image[source[:, 0], source[:, 1], :-1]
        return image


def in_file(image: np.ndarray) -> np.ndarray:
    """Levels as a file can hold them: floats of 0 to 1 become 8 bits."""
    if image.dtype.kind != 'f':
        return image
    return from_unit(image)


def levels(result: Tensor, kind: str) -> np.ndarray:
    """(K, H, W), about 0 to 1, on any device -> (H, W, K) levels of the type; rounded on that device."""
    white = WHITES[kind]
    if white == 1:
        return from_unit(result.permute(1, 2, 0).cpu().numpy(), kind)
    rounded = (result * white).round_().clamp_(0, white)
    whole = rounded.to(torch.uint8 if kind == 'uint8' else torch.int32)  # the library has little of 16 bits unsigned
    return whole.permute(1, 2, 0).contiguous().cpu().numpy().astype(kind, copy=False)
