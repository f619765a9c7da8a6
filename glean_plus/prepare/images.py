"""Low-resolution counterparts, and which image files are whole."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glean_plus.utils.files import whole_or_not_at_all

if TYPE_CHECKING:
    import numpy as np


def bad_scales(size: int, scales: Sequence[int]) -> list[int]:
    """Those of ``scales`` that do not divide ``size``, or for which size * (1 / scale) is not exact enough."""
    return [scale for scale in scales if scale < 2 or size % scale or math.ceil(size * (1 / scale)) * scale != size]


def shrink(image: np.ndarray, scale: int) -> np.ndarray:
    """MATLAB's imresize (bicubic, antialiased) by 1 / scale, uint8 to uint8."""
    import torch

    from glean_plus.utils.images.arrays import quantize
    from glean_plus.utils.imresize import matlab_bicubic

    small = matlab_bicubic(torch.from_numpy(image.copy()).permute(2, 0, 1), 1 / scale)
    return quantize(small.permute(1, 2, 0).numpy())


def save(image: np.ndarray, path: Path, icc: bytes | None = None) -> None:
    """Write a PNG whole or not at all, with a colour profile if there is one."""
    from PIL import Image

    with whole_or_not_at_all(path) as file:
        Image.fromarray(image).save(file, format='PNG', icc_profile=icc)


def folders_of(scales: Sequence[int], gt: str = 'GT') -> dict[str, int]:
    """Folders of a prepared set -> by how much its images are shrunk there; that of the ground truths is the last."""
    return {**{f'BIx{scale}_down': scale for scale in scales}, gt: 1}


def missing_files(folder: Path, name: str, scales: Sequence[int], gt: str = 'GT') -> dict[Path, int]:
    """Files of an image below ``folder`` that no earlier run finished -> by how much it is shrunk there."""
    files = {folder / place / f'{name}.png': scale for place, scale in folders_of(scales, gt).items()}
    return {path: scale for path, scale in files.items() if not (path.is_file() and path.stat().st_size)}


def save_scaled(image: np.ndarray, files: Mapping[Path, int]) -> None:
    """Write a ground truth (H, W, 3) uint8, and what is made of it, as :func:`missing_files` names them."""
    for path, scale in files.items():
        save(image if scale == 1 else shrink(image, scale), path)


def whole_files(folder: Path) -> set[str]:
    """Files below ``folder`` that earlier runs finished, relative, with `/`; removes what they left unfinished."""
    found = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if name.endswith('.part'):
                path.unlink(missing_ok=True)
            elif path.stat().st_size:  # a crash of the machine, unlike that of a process, can leave a file empty
                found.add(path.relative_to(folder).as_posix())
    return found
