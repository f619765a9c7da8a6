"""Maps as the compiled kernel has them, (N, H, W, C), with a border of zeros where they are read."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Memory that operations share, one after the other, so that nothing is allocated for each strip.

    Two operations at the same time, as from two threads, must not share one.
    """

    def __init__(self) -> None:
        self._flat: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, *shape: int, like: Tensor) -> Tensor:
        """Uninitialized memory of a shape, with the type and device of a tensor; the last of this name is lost."""
        size, key = math.prod(shape), (name, like.dtype, like.device)
        flat = self._flat.get(key)
        if flat is None or flat.numel() < size:
            flat = None
            self._flat.pop(key, None)  # before there is another
            self._flat[key] = flat = like.new_empty(size)
        return flat[:size].view(shape)

    def extent(self, name: str, like: Tensor) -> tuple[int, int]:
        """Address and size in elements of what is there under a name, zeros if nothing is."""
        flat = self._flat.get((name, like.dtype, like.device))
        return (0, 0) if flat is None else (flat.data_ptr(), flat.numel())

    def release(self) -> None:
        """Free all of it."""
        self._flat.clear()


def nchw(x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W), the same memory, which PyTorch calls channels_last."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), the same memory."""
    return x.permute(0, 2, 3, 1)


def padded(
    workspace: Workspace, name: str, images: int, height: int, width: int, channels: int, like: Tensor
) -> Tensor:
    """A map with its border, (N, height + 2, width + 2, channels), zero in the border and anything inside.

    Args:
        workspace, name: Whose memory of which name; the last map of this name is lost.
        like: Has the type and device.
    """
    x = workspace.take(name, images, height + 2, width + 2, channels, like=like)
    clear_around(x, height, width)
    return x


def clear_around(x: Tensor, height: int, width: int) -> None:
    """Set a map (N, height + 2 or more, width + 2 or more, C) to zero around its first height x width places."""
    for edge in (x[:, 0], x[:, height + 1:], x[:, :, 0], x[:, :, width + 1:]):
        edge.zero_()


def inside(x: Tensor) -> Tensor:
    """A map without its border."""
    return x[:, 1:-1, 1:-1]


def with_border(x: Tensor, workspace: Workspace, name: str) -> Tensor:
    """A copy of a map (N, H, W, C) with a border, as :func:`padded` makes it, and zeros up to multiples of 4."""
    images, height, width, channels = x.shape
    out = workspace.take(name, images, height + -height % 4 + 2, width + -width % 4 + 2, channels, like=x)
    clear_around(out, height, width)
    out[:, 1:height + 1, 1:width + 1].copy_(x)
    return out
