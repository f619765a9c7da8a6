"""The ground truths of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from glean_plus.analysis.errors import PeersError
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.read import read
from glean_plus.prepare.files import images_below
from glean_plus.utils.files import read_names

LEAST = 64  # pixels: ST-LPIPS halves a side four times, and reflects what is left


def names_of(folder: Path, meta: Path | None = None, limit: int | None = None) -> list[str]:
    """Names of images below a folder, or those of a list, the first word of each line.

    Raises:
        PeersError: If there are none, or one is listed twice or missing.
    """
    if not folder.is_dir():
        raise PeersError(f'There is no folder {folder}.')
    if meta is None:
        names = images_below(folder)[0]
    else:
        if not meta.is_file():
            raise PeersError(f'There is no list {meta}.')
        names = read_names(meta)
        if len({*names}) < len(names):
            raise PeersError(f'{meta} lists {next(name for name in names if names.count(name) > 1)} more than once.')
    names = names[:limit]
    if not names:
        raise PeersError(f'There are no images in {meta or folder}.')
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise PeersError(f'There is no {folder / missing[0]}, which {meta} lists.')
    return names


def ground_truths(folder: Path, names: Sequence[str], scale: int, crop: int | None) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB, sides multiples of ``scale``: the centre of ``crop`` pixels, or all from the top left.

    Raises:
        PeersError: If one cannot be read, is too small, has an opacity, or more than 8 bits.
    """
    for name in names:
        yield _ground_truth(folder / name, scale, crop)


def _ground_truth(path: Path, scale: int, crop: int | None) -> np.ndarray:
    try:
        given = read(path)
    except RestoreError as error:
        raise PeersError(f'{path} cannot be compared: {error}.') from error
    image, layers = given.image, given.layers
    if image.dtype != np.uint8:
        raise PeersError(f'{path} has values of {image.dtype}: images of 8 bits are compared.')
    if layers.alpha:
        if image[..., -1].min() < 255:
            raise PeersError(f'{path} is transparent in parts: opaque images are compared.')
        image = image[..., :-1]
    image = image.repeat(3, axis=2) if layers.gray else image
    height, width = image.shape[:2]
    least = crop or LEAST
    if min(height, width) < least:
        raise PeersError(f'{path} is {width} x {height} pixels, but {least} x {least} are needed.')
    if crop:
        top, left = (height - crop) // 2, (width - crop) // 2
        image = image[top:top + crop, left:left + crop]
    else:
        image = image[:height - height % scale, :width - width % scale]
    return np.ascontiguousarray(image)
