"""Maps with a border of zeros, which is what convolutions read."""

from __future__ import annotations

from torch import Tensor


def padded(images: int, height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """A map with its border, (N, height + 2, width + 2, channels), zero in the border and anything inside.

    Args:
        like: Has the type and device.
    """
    x = like.new_empty(images, height + 2, width + 2, channels)
    for edge in (x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]):
        edge.zero_()
    return x


def inside(x: Tensor) -> Tensor:
    """A map without its border."""
    return x[:, 1:-1, 1:-1]


def with_border(x: Tensor) -> Tensor:
    """A copy of a map (N, H, W, C) with a border."""
    out = padded(*x.shape, like=x)
    inside(out).copy_(x)
    return out

