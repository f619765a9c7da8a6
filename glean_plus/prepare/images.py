"""Low-resolution counterparts, and which image files are whole."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
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


def whole_files(folder: Path) -> set[str]:
    """Files below ``folder`` that earlier runs finished, relative, with `/`; sweeps out what they left unfinished."""
    found = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if name.endswith('.part'):
                path.unlink(missing_ok=True)
            elif path.stat().st_size:  # a crash of the machine, unlike that of a process, can leave a file empty
                found.add(path.relative_to(folder).as_posix())
    return found
