"""An exported file against the model: the same images through both."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glean_plus.export.errors import ExportError
from glean_plus.export.formats import Run
from glean_plus.export.graph import Shape
from glean_plus.inference.network import Network
from glean_plus.utils.color import recolor

# Largest difference of a sample, as a share of the range of the model's result.
BOUND = 1e-4


@dataclass(frozen=True)
class Measured:
    """How far a file's results are from the model's.

    Attributes:
        picture: ``random``, or ``smooth`` with some noise.
        height, width: Of the input.
        batch: Images in the call.
        difference: The largest of a sample, as a share of the range of the model's result.
    """

    picture: str
    height: int
    width: int
    batch: int
    difference: float


def expected(network: Network, images: Tensor, labels: Tensor | None) -> Tensor:
    """What the model itself makes of images (N, 3, H, W), 0 to 1: as ``Restorer`` does, before levels are rounded."""
    if labels is not None:
        network.label = labels
    result = network(images)
    return recolor(images, result) if network.colorizes else result.clamp(0, 1)


def compare(network: Network, run: Run, shape: Shape, each_label: bool) -> list[Measured]:
    """Run a file on random and on smooth images, at three sizes and two batches where these are free.

    Args:
        network: The model.
        run: The file.
        shape: What it takes.
        each_label: Classes are an input, too.

    Raises:
        ExportError: If a result is further away than :data:`BOUND`, or of another shape.
    """
    found = []
    for height, width in sizes(network, shape):
        for batch in (1, 2) if shape.batch is None else (shape.batch,):
            for kind, images in samples(batch, height, width):
                labels = None
                if each_label:
                    labels = torch.arange(batch) % network.spec.classes
                wanted, given = expected(network, images, labels), run(images, labels)
                if given.shape != wanted.shape:
                    shapes = f'{tuple(given.shape)} where the model gives {tuple(wanted.shape)}'
                    raise ExportError(f'The file gives results of {shapes}: nothing is written.')
                range_ = float(wanted.max() - wanted.min()) or 1.0
                share = float((given - wanted).abs().max()) / range_
                found.append(Measured(kind, height, width, batch, share))
    worst = max(found, key=lambda each: math.inf if math.isnan(each.difference) else each.difference)
    if not worst.difference <= BOUND:
        raise ExportError(
            f'The file differs from the model by {worst.difference:.2g} of the range on a {worst.picture} image of '
            f'{worst.height}x{worst.width}, more than {BOUND:g}: nothing is written.'
        )
    return found


def sizes(network: Network, shape: Shape) -> list[tuple[int, int]]:
    """The size of the inputs; three where any is taken: the model's own, and two of other aspects beside it."""
    if shape.size is not None:
        return [shape.size]
    side, multiple = int(network.in_size), network.multiple
    near = [max(multiple, round(side * share / multiple) * multiple) for share in (0.5, 1.25, 1.75)]
    return [(side, side), (near[0], near[2]), (near[1], near[0])]


def samples(batch: int, height: int, width: int) -> Iterator[tuple[str, Tensor]]:
    """Name and images (N, 3, H, W), 0 to 1: independent samples, and waves with a little noise, as photographs have.

    Same sizes, same images.
    """
    generator = np.random.default_rng(0)
    random = generator.random((batch, 3, height, width), dtype=np.float32)
    yield 'random', torch.from_numpy(random)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = generator.uniform(-6, 6, (batch, 3, 3, 1, 1))
    smooth = 0.5 + 0.4 * np.sin(waves[:, :, 0] * rows + waves[:, :, 1] * columns + waves[:, :, 2])
    smooth = np.clip(smooth + generator.normal(0, 0.02, random.shape), 0, 1)
    yield 'smooth', torch.from_numpy(smooth.astype(np.float32))
