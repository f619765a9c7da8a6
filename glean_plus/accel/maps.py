"""Maps with a border of zeros, which is what convolutions read."""

from __future__ import annotations

from torch import Tensor

from glean_plus.accel.winograd import Workspace


def padded(
    workspace: Workspace, name: str, images: int, height: int, width: int, channels: int, like: Tensor
) -> Tensor:
    """A map with its border, (N, height + 2, width + 2, channels), zero in the border and anything inside.

    Args:
        workspace, name: Whose memory of which name; the last map of this name is lost.
        like: Has the type and device.
    """
    x = workspace.take(name, images, height + 2, width + 2, channels, like=like)
    for edge in (x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]):
        edge.zero_()
    return x


def inside(x: Tensor) -> Tensor:
    """A map without its border."""
    return x[:, 1:-1, 1:-1]


def with_border(x: Tensor, workspace: Workspace, name: str) -> Tensor:
    """A copy of a map (N, H, W, C) with a border, as :func:`padded` makes it."""
    out = padded(workspace, name, *x.shape, like=x)
    inside(out).copy_(x)
    return out
