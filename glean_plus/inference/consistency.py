"""Results that shrink to their input: a projection and a score, on strips of any image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.inference.flat import FlatAreas
from glean_plus.utils.imresize import matlab_weights

# Rows of the input that are worked on at a time, and how far a step of the projection, or the score, sees: two pixels
# when shrinking, two when enlarging. Flat areas are found within the same distance.
BLOCK, REACH = 32, 4


class Pyramid:
    """MATLAB's bicubic by a whole factor, down and up, as convolutions: for images whose matrices would be huge.

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
        return torch.cat([self._down(channel) for channel in x.split(1)])  # the lines of all would be copied at once

    def _down(self, x: Tensor) -> Tensor:
        for dim in (1, 2):
            x = self._along(x, dim, self.first_down, self.down_kernel[None], self.scale)
        return x

    def up(self, x: Tensor) -> Tensor:
        """(C, H, W) -> (C, s H, s W)."""
        return torch.cat([self._up(channel) for channel in x.split(1)])

    def _up(self, x: Tensor) -> Tensor:
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
        share: Of the way to the projection that is gone.
        block: Rows of the input that are worked on at a time.
        assess: Score what the projection is given, and the enlarged input, too: :attr:`own_lr_psnr`, :attr:`lr_gain`.
        flat: What the input fixes exactly, after the projection; None for nothing.
    """

    def __init__(
        self,
        lq: Callable[[int, int], Tensor],
        height: int,
        scale: int,
        steps: int,
        colours: int,
        white: float,
        share: float = 1.0,
        assess: bool = False,
        flat: FlatAreas | None = None,
        block: int = BLOCK,
    ) -> None:
        self.lq, self.height, self.scale, self.steps = lq, height, scale, steps
        self.colours, self.white, self.share, self.assess = colours, white, share, assess
        self.flat = flat
        self.pyramid = Pyramid(scale)
        self.block = block
        self.halo = REACH * (steps + 1)
        self._errors = dict(result=0.0, own=0.0, enlarged=0.0)
        self._count = 0

    @property
    def lr_psnr(self) -> float:
        """PSNR, in dB, between the input and the result brought to its size, of what has passed."""
        return self._psnr('result')

    @property
    def own_lr_psnr(self) -> float:
        """The same of the result before the projection, where it is assessed."""
        return self._psnr('own')

    @property
    def lr_gain(self) -> float:
        """By how many dB :attr:`own_lr_psnr` is above that of the input enlarged by bicubic; 0 if both are exact."""
        gain = self._psnr('own') - self._psnr('enlarged')
        return gain if not math.isnan(gain) else 0.0

    def _psnr(self, what: str) -> float:
        error = self._errors[what]
        return 10 * math.log10(self._count / error) if error else math.inf

    def through(self, strips: Iterator[Tensor]) -> Iterator[Tensor]:
        """Strips (C, h, s W) -> strips of the same rows, cut otherwise; 0 to 1."""
        height, scale = self.height, self.scale
        held, first = next(strips), 0  # rows of the result from row `first` of the input on
        for top in range(0, height, self.block):
            bottom = min(top + self.block, height)
            begin, end = max(top - self.halo, 0), min(bottom + self.halo, height)
            held, first = held[:, scale * (begin - first):], begin
            while held.shape[1] < scale * (end - first):
                held = torch.cat([held, next(strips)], dim=1)
            yield self._block(held[:, :scale * (end - first)], begin, end, top, bottom)

    def _block(self, x: Tensor, begin: int, end: int, top: int, bottom: int) -> Tensor:
        lq, rows = self.lq(begin, end), slice(top - begin, bottom - begin)
        if self.assess:
            self._score('own', self._rounded(x), lq, rows)
            self._score('enlarged', self._rounded(self.pyramid.up(lq)), lq, rows)
        if self.steps:
            x = torch.lerp(x, self.pyramid.project(x, lq, self.steps), self.share)
        if self.flat is not None:
            x = self.flat.hold(x, lq)
        x = self._rounded(x)
        self._score('result', x, lq, rows)
        self._count += (bottom - top) * lq.shape[2] * self.colours
        return x[:, self.scale * (top - begin):self.scale * (bottom - begin)]

    def _rounded(self, x: Tensor) -> Tensor:
        x = x.clamp(0, 1)
        return x if self.white == 1 else (x * self.white).round() / self.white

    def _score(self, what: str, x: Tensor, lq: Tensor, rows: slice) -> None:
        error = self.pyramid.down(x[:self.colours])[:, rows].clamp(0, 1) - lq[:self.colours, rows]
        self._errors[what] += float(error.double().square().sum())
