"""A grid of images of a bank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glean_plus.errors import GleanError
from glean_plus.models.loading import load_bank
from glean_plus.prepare.images import save
from glean_plus.utils.images.arrays import to_array
from glean_plus.weights import WeightsError


class ClassesError(GleanError, ValueError):
    """Classes that a bank does not have."""


def grid(images: torch.Tensor, columns: int) -> np.ndarray:
    """(N, C, H, W), -1 to 1 -> one image, (rows H, columns W, 3) uint8; N must fill the rows."""
    arrays = [to_array((image.clamp(-1, 1) + 1) * 127.5) for image in images]
    rows = [np.concatenate(arrays[start:start + columns], axis=1) for start in range(0, len(arrays), columns)]
    return np.concatenate(rows, axis=0)


def save_samples(
    checkpoint: str,
    out: Path,
    prefix: str | None = None,
    *,
    rows: int | None = None,
    columns: int = 12,
    classes: Sequence[int] | None = None,
    seed: int = 0,
    truncation: float | None = None,
    bgr: bool = False,
) -> tuple[int, int]:
    """Write a PNG of images that a bank synthesizes.

    Args:
        checkpoint: Path or URL of a file in any known format.
        prefix: Where in the file the bank is; None takes the averaged generator.
        rows: Of each class, if the bank has classes; None is 4, or 1 of each class.
        classes: Those to sample; None takes every one.

    Returns:
        How many images, and their side in pixels.

    Raises:
        WeightsError: If there is no such bank, or the PNG cannot be written.
        ClassesError: If the bank has no such class.
    """
    bank = load_bank(dict(pretrained=dict(checkpoint=checkpoint, prefix=prefix)))
    has_classes = any(bank.class_dims)
    if classes and not has_classes:
        raise ClassesError(f'{type(bank).__name__} has no classes')
    if wrong := [label for label in classes or () if not 0 <= label < bank.num_classes]:
        raise ClassesError(f'this bank has the classes 0 to {bank.num_classes - 1}, not {wrong[0]}')
    count = (rows or (1 if has_classes else 4)) * columns
    noise = torch.randn(count, bank.noise_size, generator=torch.Generator().manual_seed(seed))
    options: dict[str, Any] = {} if truncation is None else dict(truncation=truncation)
    if has_classes:
        labels = classes or range(bank.num_classes)
        noise = noise.repeat(len(labels), 1)
        options['label'] = torch.tensor(labels).repeat_interleave(count)
    if bank.draw_noises():
        options['randomize_noise'] = False
    with torch.no_grad():
        images = bank(noise, **options)
    try:
        save(grid(images.flip(1) if bgr else images, columns), out)
    except OSError as error:
        raise WeightsError(f'{out} cannot be written ({error.strerror or error}): choose another place.') from error
    return len(noise), bank.out_size
