"""MATLAB's bicubic resize, which super-resolution is trained and measured with; OpenCV's is another."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor


def matlab_bicubic(image: Tensor, scale: float) -> Tensor:
    """Resize (C, H, W), 0 to 255, by ``scale``, with anti-aliasing where it shrinks; float, clamped to 0 to 255.

    Sides are rounded up, as MATLAB does. Sums run over one tap after the other in single precision, so that a level
    halfway between two integers, of which there are many at 1/2, 1/4 and 1/8, is the same everywhere.
    """
    result = image.float()
    for dim in (1, 2):  # rows first
        size = result.shape[dim]
        result = _sum_of_taps(result, dim, *matlab_taps(size, math.ceil(scale * size), scale))
    return result.clamp(0, 255)


class RowResizer:
    """:func:`matlab_bicubic` of an image whose rows come one after the other; not clamped.

    Args:
        in_size, out_size: (height, width) of the image, and of the result.
        scale: From the one to the other, which decides where the pixels of the result are.
    """

    def __init__(self, in_size: tuple[int, int], out_size: tuple[int, int], scale: float) -> None:
        (self._rows, self._row_weights), self._columns = (
            matlab_taps(given, wanted, scale) for given, wanted in zip(in_size, out_size)
        )
        self._last = self._rows.amax(dim=1).cummax(dim=0).values  # that each row of the result, or one above it, needs
        self._first = self._rows.amin(dim=1).flip(0).cummin(dim=0).values.flip(0)  # the same of those below it
        self._held: Tensor | None = None
        self._top = 0   # of the rows that are held
        self._done = 0  # rows of the result

    def __call__(self, rows: Tensor) -> Tensor:
        """The next (C, h, W) of the image -> the (C, h', W') of the result that are known by now; h' may be 0."""
        held = rows.float() if self._held is None else torch.cat([self._held, rows.float()], dim=1)
        end = int(torch.searchsorted(self._last, self._top + held.shape[1]))
        some = slice(self._done, end)
        result = _sum_of_taps(held, 1, self._rows[some] - self._top, self._row_weights[some])
        result = _sum_of_taps(result, 2, *self._columns)
        self._done = end
        if end < len(self._first):
            passed = min(max(0, int(self._first[end]) - self._top), held.shape[1])
            self._held, self._top = held[:, passed:].clone(), self._top + passed
        return result


def _sum_of_taps(image: Tensor, dim: int, index: Tensor, kernel: Tensor) -> Tensor:
    """One tap after the other, along rows (1) or columns (2) of (C, H, W)."""
    weights = kernel.float().unsqueeze(-1) if dim == 1 else kernel.float()
    parts = (image.index_select(dim, index[:, tap]) * weights[:, tap] for tap in range(index.shape[1]))
    return functools.reduce(torch.add, parts)


def matlab_taps(in_size: int, out_size: int, scale: float) -> tuple[Tensor, Tensor]:
    """Which pixels along one side enter each of the result, (out_size, taps), and with which weights, float64.

    Bicubic (Keys, 1981, a = -1/2), stretched where it shrinks; the ends are mirrored, each end pixel being twice there.
    """
    stretch = min(scale, 1)  # anti-aliasing: the kernel grows as the image shrinks
    centre = (torch.arange(out_size, dtype=torch.float64) + 0.5) / scale - 0.5
    reach = 2 / stretch
    taps = math.ceil(2 * reach) + 2
    index = torch.floor(centre - reach)[:, None].long() + torch.arange(taps)
    x = ((centre[:, None] - index) * stretch).abs()
    kernel = torch.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) * (x <= 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    index = index.remainder(2 * in_size)
    return torch.where(index < in_size, index, 2 * in_size - 1 - index), kernel


@functools.lru_cache(maxsize=8)  # tens of megabytes each where photographs are shrunk
def matlab_weights(in_size: int, out_size: int) -> Tensor:
    """MATLAB's bicubic along one side as a matrix (out, in), float64."""
    index, kernel = matlab_taps(in_size, out_size, out_size / in_size)
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
