"""MATLAB's bicubic resize, which super-resolution is trained and measured with; OpenCV's is another."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from mmagic.datasets.transforms.matlab_like_resize import MATLABLikeResize
from torch import Tensor


def matlab_bicubic(image: Tensor, scale: float) -> Tensor:
    """Resize (C, H, W), 0 to 255, by ``scale``, with anti-aliasing where it shrinks; float, clamped to 0 to 255."""
    array = image.permute(1, 2, 0).double().numpy()
    resized = MATLABLikeResize(keys=['img'], scale=scale)({'img': array})['img']
    return torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1).float().clamp(0, 255)


@functools.lru_cache(maxsize=8)  # tens of megabytes each where photographs are shrunk
def matlab_weights(in_size: int, out_size: int) -> Tensor:
    """MATLAB's bicubic along one side as a matrix (out, in), float64; the ends are mirrored."""
    scale = out_size / in_size
    stretch = min(scale, 1)  # anti-aliasing: the kernel grows as the picture shrinks
    centre = (torch.arange(out_size, dtype=torch.float64) + 0.5) / scale - 0.5
    reach = 2 / stretch
    taps = math.ceil(2 * reach) + 2
    index = torch.floor(centre - reach)[:, None].long() + torch.arange(taps)
    x = ((centre[:, None] - index) * stretch).abs()
    kernel = torch.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) * (x <= 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    index = index.remainder(2 * in_size)
    index = torch.where(index < in_size, index, 2 * in_size - 1 - index)
    return torch.zeros(out_size, in_size, dtype=torch.float64).scatter_add_(1, index, kernel)


def matlab_resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (..., H, W), of any range, to ``size`` = (height, width): :func:`matlab_bicubic` that has gradients.

    Not clamped, so that the gradients reach every pixel.
    """
    rows = matlab_weights(images.shape[-2], size[0]).to(images.device, torch.float32)
    columns = matlab_weights(images.shape[-1], size[1]).to(images.device, torch.float32)
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images.float() @ columns.T


def matlab_strips(images: Tensor, size: tuple[int, int], rows: int) -> Iterator[Tensor]:
    """:func:`matlab_resize`, ``rows`` rows of the result at a time, from the top."""
    vertical = matlab_weights(images.shape[-2], size[0]).to(images.device, torch.float32)
    horizontal = matlab_weights(images.shape[-1], size[1]).to(images.device, torch.float32)
    wide = images.float() @ horizontal.T
    for top in range(0, size[0], rows):
        yield vertical[top:top + rows] @ wide
