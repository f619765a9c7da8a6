"""Results that shrink to their input: a projection and a score, on strips of any picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.imresize import matlab_weights

# Rows of the input that are worked on at a time, and how far a step of the projection, or the score, sees: two pixels
# when shrinking, two when enlarging.
BLOCK, REACH = 32, 4


class Pyramid:
    """MATLAB's bicubic by a whole factor, down and up, as convolutions: for pictures whose matrices would be huge.

    Args:
        scale: The factor.
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale
        middle, count = 8, 16
        shrink = matlab_weights(scale * count, count)[middle]
        used = shrink.nonzero().flatten()
        self.first_down = int(used[0]) - scale * middle
        self.down_kernel = shrink[used[0]:used[-1] + 1].float()
        enlarge = matlab_weights(count, scale * count)[scale * middle:scale * (middle + 1)]
        used = enlarge.abs().sum(dim=0).nonzero().flatten()
        self.first_up = int(used[0]) - middle
        self.up_kernels = enlarge[:, used[0]:used[-1] + 1].float()

    def down(self, x: Tensor) -> Tensor:
        """(C, s H, s W) -> (C, H, W)."""
        for dim in (1, 2):
            x = self._along(x, dim, self.first_down, self.down_kernel[None], self.scale)
        return x

    def up(self, x: Tensor) -> Tensor:
        """(C, H, W) -> (C, s H, s W)."""
        for dim in (1, 2):
            x = self._along(x, dim, self.first_up, self.up_kernels, 1)
        return x

    @staticmethod
    def _along(x: Tensor, dim: int, first: int, kernels: Tensor, stride: int) -> Tensor:
        """Convolve one axis with each of the kernels, whose results take turns; the ends are mirrored."""
        size, taps = x.shape[dim], kernels.shape[1]
        count = size // stride
        index = torch.arange(first, first + stride * (count - 1) + taps).remainder(2 * size)
        lines = x.index_select(dim, torch.where(index < size, index, 2 * size - 1 - index)).movedim(dim, -1)
        shape = lines.shape[:-1]
        result = F.conv1d(lines.reshape(-1, 1, lines.shape[-1]), kernels[:, None], stride=stride)
        return result.transpose(1, 2).reshape(*shape, count * len(kernels)).movedim(-1, dim)

    def project(self, x: Tensor, lq: Tensor, steps: int) -> Tensor:
        """x += up(lq - down(x)), ``steps`` times: what remains of x is what its input does not say."""
        for _ in range(steps):
            x = x + self.up(lq - self.down(x))
        return x


class Consistency:
    """Strips of a result -> the same, projected onto its input, rounded to levels; and how well they meet it.

    Args:
        lq: Rows ``begin`` to ``end`` of the input, (C, end - begin, W), 0 to 1.
        height: Its rows.
        scale: Of the result.
        steps: Of the projection; 0 only scores.
        colours: How many of the channels the score counts.
        white: The highest level, to which the result is rounded; 1 for floats, which are not.
    """

    def __init__(
        self, lq: Callable[[int, int], Tensor], height: int, scale: int, steps: int, colours: int, white: float
    ) -> None:
        self.lq, self.height, self.scale, self.steps = lq, height, scale, steps
        self.colours, self.white = colours, white
        self.pyramid = Pyramid(scale)
        self.halo = REACH * (steps + 1)
        self._error, self._count = 0.0, 0

    @property
    def lr_psnr(self) -> float:
        """PSNR, in dB, between the input and the result brought to its size, of what has passed."""
        return 10 * math.log10(1 / (self._error / self._count)) if self._error else math.inf

    def through(self, strips: Iterator[Tensor]) -> Iterator[Tensor]:
        """Strips (C, h, s W) -> strips of the same rows, cut otherwise; 0 to 1."""
        height, scale = self.height, self.scale
        held, first = next(strips), 0  # rows of the result from row `first` of the input on
        for top in range(0, height, BLOCK):
            bottom = min(top + BLOCK, height)
            begin, end = max(top - self.halo, 0), min(bottom + self.halo, height)
            held, first = held[:, scale * (begin - first):], begin
            while held.shape[1] < scale * (end - first):
                held = torch.cat([held, next(strips)], dim=1)
            yield self._block(held[:, :scale * (end - first)], begin, end, top, bottom)

    def _block(self, x: Tensor, begin: int, end: int, top: int, bottom: int) -> Tensor:
        lq = self.lq(begin, end)
        x = self.pyramid.project(x, lq, self.steps).clamp(0, 1)
        x = x if self.white == 1 else (x * self.white).round() / self.white
        rows = slice(top - begin, bottom - begin)
        error = self.pyramid.down(x[:self.colours])[:, rows].clamp(0, 1) - lq[:self.colours, rows]
        self._error += float(error.double().square().sum())
        self._count += error.numel()
        return x[:, self.scale * (top - begin):self.scale * (bottom - begin)]
