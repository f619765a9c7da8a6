"""Where tiles lie along one side of an image, and how much each counts where they overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def mirrored(start: int, length: int, size: int) -> Tensor:
    """Indices ``start`` to ``start + length`` into a side of ``size``, reflected at its ends without repeating them."""
    index = torch.arange(start, start + length)
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.where(index < size, index, period - index)


@dataclass(frozen=True)
class Axis:
    """Tiles along one side.

    Attributes:
        size: Pixels of the side.
        tile: Pixels of a tile; the last may reach beyond the side, where the image is mirrored.
        starts: Where each begins, ascending.
        windows: (tiles, scale * tile), the share of each in each pixel of the result; they sum to 1.
    """

    size: int
    tile: int
    starts: tuple[int, ...]
    windows: Tensor

    @property
    def reach(self) -> int:
        """Where the last tile ends."""
        return self.starts[-1] + self.tile


def whole(size: int, multiple: int, least: int, scale: int) -> Axis:
    """One tile for the whole side, ``least`` or more and a multiple of ``multiple``."""
    tile = max(math.ceil(size / multiple) * multiple, least)
    return Axis(size, tile, (0,), torch.ones(1, scale * tile))


def tiled(size: int, tile: int, overlap: int, margin: int, scale: int, multiple: int = 1) -> Axis:
    """Tiles that overlap by ``overlap`` at least, evenly spread.

    Args:
        size: Pixels of the side.
        tile: Of a tile, a multiple of ``multiple``.
        overlap: Smallest overlap of neighbours; more than twice the margin.
        margin: Pixels at the ends of a tile that do not count, but at the ends of the side: the network sees zeros
            beyond them.
        scale: Pixels of the result for each.
        multiple: Of which each start is one.
    """
    padded = math.ceil(size / multiple) * multiple
    if padded <= tile:
        return whole(size, multiple, tile, scale)
    steps = math.ceil((padded - tile) / (tile - overlap))
    starts = [round((padded - tile) * i / (steps * multiple)) * multiple for i in range(steps + 1)]
    length = scale * tile
    ramp = scale * (overlap - 2 * margin)
    inward = torch.arange(length, dtype=torch.float64) + 0.5 - scale * margin
    rise = torch.sin(math.pi / 2 * (inward / ramp).clamp(0, 1)).square()
    raw = torch.ones(len(starts), length, dtype=torch.float64)
    raw[1:] *= rise
    raw[:-1] *= rise.flip(0)
    total = torch.zeros(scale * (starts[-1] + tile), dtype=torch.float64)
    for start, window in zip(starts, raw):
        total[scale * start:scale * start + length] += window
    shares = [window / total[scale * start:scale * start + length] for start, window in zip(starts, raw)]
    return Axis(size, tile, tuple(starts), torch.stack(shares).float())
