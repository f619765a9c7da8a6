"""Convolutions of constant weights on padded maps, by the method that is fastest for their size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.accel.epilogue import NOTHING, Epilogue
from glean_plus.accel.winograd import (
    PRODUCTS,
    TILE,
    Workspace,
    row_filters,
    tile_filters,
    transform_rows,
    transform_tiles,
    untransform_rows,
    untransform_tiles,
)

METHODS = ('direct', 'rows', 'tiles')
# Below so many channels, in float32 (True) or less, what Winograd saves is less than what the transforms cost.
ROWS_FROM = {True: 32, False: 48}
TILES_FROM = 96
# Rows of larger maps do not stay in cache for the transforms of tiles; of smaller ones there is too little to save.
TILES_UP_TO = 128
SMALLEST = 32
# Tiles in one go: as many as stay in cache, and enough for a matrix product of some size.
TILES_AT_ONCE = {'wide': 512, 'narrow': 128}
WIDE = 512


def scaled(x: Tensor, in_scale: Tensor | None, workspace: Workspace) -> Tensor:
    """A map as PyTorch's convolutions want it, contiguous and multiplied by (N or 1, 1, 1, C); itself if it is."""
    if in_scale is None and x.is_contiguous():
        return x
    out = workspace.take('scaled', *x.shape, like=x)
    return out.copy_(x) if in_scale is None else torch.mul(x, in_scale, out=out)


def nchw(x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W), the same memory, which PyTorch calls channels_last."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), the same memory."""
    return x.permute(0, 2, 3, 1)


class Conv3x3:
    """3x3 convolution with stride 1 and a bias, on maps that have their border already.

    Args:
        weight: (K, C, 3, 3).
        bias: (K,), or None.
        dtype: Of the maps.
        size: Smaller side of the maps that are to come, by which a method is chosen.
        method: ``direct``; ``rows`` or ``tiles``, Winograd's along one axis or both, for sizes that are multiples of 4.
            None chooses.
        shuffle: A pixel shuffle by 2 follows.

    Raises:
        ValueError: On another method, or, when called, a map whose size does not fit it.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        size: int = 0,
        method: str | None = None,
        shuffle: bool = False,
    ) -> None:
        if shuffle:
            weight = weight.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1)
            bias = None if bias is None else bias.unflatten(0, (-1, 4)).t().flatten()
        self.shuffle = shuffle
        self.out_channels, self.in_channels = weight.shape[:2]
        if method is None:
            method = choose_method(self.in_channels, self.out_channels, size, dtype, weight.device)
        if method not in METHODS:
            raise ValueError(f'method must be one of {METHODS}, but is {method!r}.')
        self.method = method
        weight = weight.detach()
        zeros = weight.new_zeros(self.out_channels)
        self.bias = (zeros if bias is None else bias.detach()).to(dtype, copy=True)
        if method == 'rows':
            self.row_filters = [_channels_last(each, dtype) for each in row_filters(weight)]
        elif method == 'tiles':
            self.tile_filters = tile_filters(weight).to(dtype).flatten(0, 1).contiguous()
        else:
            self.weight = _channels_last(weight, dtype)

    def __call__(
        self,
        x: Tensor,
        out: Tensor,
        workspace: Workspace,
        epilogue: Epilogue = NOTHING,
        in_scale: Tensor | None = None,
    ) -> None:
        """Convolve.

        Args:
            x: (N, h + 2, w + 2, C), border included.
            out: (N, h, w, K), need not be contiguous; with ``shuffle`` (N, 2 h, 2 w, K / 4).
            workspace: For what is computed on the way.
            epilogue: What follows, done with each strip of the result while it is in cache.
            in_scale: (N or 1, 1, 1, C), which the input is multiplied by.
        """
        x = scaled(x, in_scale, workspace)
        height, width = x.shape[1] - 2, x.shape[2] - 2
        if self.method != 'direct' and (height % TILE or width % TILE):
            raise ValueError(
                f"A map of {height}x{width} needs method='direct': {self.method!r} takes multiples of {TILE}."
            )
        strip = self._strip(len(x), width)
        scale = 2 if self.shuffle else 1
        for top in range(0, height, strip):
            bottom = min(top + strip, height)
            part = out[:, top * scale:bottom * scale]
            # Before a scale of the result, the bias has to wait.
            self._convolve(x[:, top:bottom + 2], part, workspace, self.bias if epilogue.out_scale is None else None)
            epilogue.apply(part, top * scale, None if epilogue.out_scale is None else self.bias)

    def _convolve(self, x: Tensor, out: Tensor, workspace: Workspace, bias: Tensor | None) -> None:
        work = {'direct': self._direct, 'rows': self._rows, 'tiles': self._tiles}[self.method]
        if not self.shuffle:
            work(x, out, workspace, bias)
            return
        images, height, width, _ = x.shape
        wide = workspace.take('wide', images, height - 2, width - 2, self.out_channels, like=x)
        work(x, wide, workspace, bias)
        # Channels are (row, column, channel) here, not (channel, row, column) as PyTorch has them.
        blocks = wide.unflatten(3, (2, 2, -1)).permute(0, 1, 3, 2, 4, 5)
        out.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).copy_(blocks)

    def _strip(self, images: int, width: int) -> int:
        """Rows of the input in one go."""
        if self.method == 'tiles':
            at_once = TILES_AT_ONCE['wide' if self.in_channels >= WIDE else 'narrow']
            return TILE * max(1, at_once * TILE // (width * images))
        return TILE * max(1, min(16, 4096 // (width * images)))

    def _direct(self, x: Tensor, out: Tensor, workspace: Workspace, bias: Tensor | None) -> None:
        out.copy_(nhwc(F.conv2d(nchw(x), self.weight, bias)))

    def _rows(self, x: Tensor, out: Tensor, workspace: Workspace, bias: Tensor | None) -> None:
        rows = transform_rows(x, workspace)
        products = []
        for place, weight in enumerate(self.row_filters):
            # At the point 1, a constant comes out as itself in all four results.
            products.append(nhwc(F.conv2d(nchw(rows[place]), weight, bias if place == 1 else None)))
        untransform_rows(products, out, workspace)

    def _tiles(self, x: Tensor, out: Tensor, workspace: Workspace, bias: Tensor | None) -> None:
        images, height, width, _ = out.shape
        grid = (images, height // TILE, width // TILE)
        tiles = workspace.take('tiles', PRODUCTS, PRODUCTS, *grid, self.in_channels, like=x)
        transform_tiles(x, tiles, workspace)
        products = workspace.take('products', PRODUCTS, PRODUCTS, *grid, self.out_channels, like=x)
        multiply(tiles, self.tile_filters, products)
        if bias is not None:
            products[1, 1] += bias
        untransform_tiles(products, out, workspace)


class UpConv:
    """StyleGAN2's up-sampling: a 3x3 transposed convolution with stride 2, then the FIR filter (1, 3, 3, 1).

    Args:
        weight: (K, C, 3, 3), with all that scales it.
        bias: (K,).
        dtype: Of the maps.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self.bias = bias.detach().to(dtype, copy=True)
        # The filter is applied as (1, 3, 3, 1) along each axis, whose sum 64 is to be 4.
        self.weight = _channels_last((weight.detach() / 16).transpose(0, 1), dtype)

    def __call__(
        self,
        x: Tensor,
        out: Tensor,
        workspace: Workspace,
        epilogue: Epilogue = NOTHING,
        in_scale: Tensor | None = None,
    ) -> None:
        """x (N, h + 2, w + 2, C), border included -> ``out`` (N, 2 h, 2 w, K); the rest as :class:`Conv3x3`'s."""
        x = scaled(x, in_scale, workspace)
        images, height, width = x.shape[0], x.shape[1] - 2, x.shape[2] - 2
        strip = max(4, min(height, 4096 // (width * images)))
        for top in range(0, height, strip):
            bottom = min(top + strip, height)
            part = out[:, 2 * top:2 * bottom]
            wide = nhwc(F.conv_transpose2d(nchw(x[:, top:bottom + 2]), self.weight, stride=2))[:, 1:-1, 1:-1]
            rows = workspace.take('filtered', images, *wide.shape[1:], like=x)[:, :-3]
            _filter(wide, 1, rows, workspace)
            _filter(rows, 2, part, workspace)
            epilogue.apply(part, 2 * top, self.bias)


def _filter(x: Tensor, dim: int, out: Tensor, workspace: Workspace) -> None:
    """The FIR filter (1, 3, 3, 1) along an axis of a map, whose length loses 3."""
    size = x.shape[dim] - 3
    inner = workspace.take('scratch', *out.shape, like=x)
    torch.add(x.narrow(dim, 1, size), x.narrow(dim, 2, size), out=inner)
    torch.add(x.narrow(dim, 0, size), x.narrow(dim, 3, size), out=out)
    out.add_(inner, alpha=3)


class ThinConv:
    """3x3 convolution to so few channels that a convolution for many would waste most of its work.

    Every pixel's product with each of the nine taps, as one matrix product, then nine shifted sums of planes.

    Args:
        weight: (K, C, 3, 3).
        bias: (K,).
        dtype: Of the maps.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self.taps = weight.detach().to(dtype, copy=True).permute(2, 3, 0, 1).reshape(-1, self.in_channels)
        self.bias = bias.detach().to(torch.float32, copy=True)

    def __call__(self, x: Tensor, out: Tensor, workspace: Workspace) -> None:
        """x (h + 2, w + 2, C), border included -> ``out`` (K, h, w), float32."""
        x = scaled(x, None, workspace)
        height, width = out.shape[1:]
        planes = workspace.take('planes', len(self.taps), (height + 2) * (width + 2), like=x)
        strip = max(1, 16384 // width) * (width + 2)
        pixels = x.flatten(0, 1)
        for start in range(0, len(pixels), strip):
            torch.mm(self.taps, pixels[start:start + strip].t(), out=planes[:, start:start + strip])
        taps = planes.view(3, 3, self.out_channels, -1, width + 2)
        out.copy_(self.bias[:, None, None].expand_as(out))
        for row in range(3):
            for column in range(3):
                out += taps[row, column, :, row:row + height, column:column + width]


def multiply(tiles: Tensor, filters: Tensor, products: Tensor) -> None:
    """Tiles (6, 6, N, h, w, C) times filters (36, C, K) -> ``products`` (6, 6, N, h, w, K)."""
    torch.bmm(tiles.flatten(2, 4).flatten(0, 1), filters, out=products.flatten(2, 4).flatten(0, 1))


def choose_method(
    in_channels: int, out_channels: int, size: int, dtype: torch.dtype, device: torch.device
) -> str:
    """The fastest method, by measurements on CPUs; a GPU's library chooses for itself.

    Filters are four times as large for ``tiles``, so small maps must not have them. In bfloat16, tiles round too much.
    """
    narrow, exact = min(in_channels, out_channels), dtype == torch.float32
    if device.type != 'cpu' or size % TILE or size < SMALLEST or narrow < ROWS_FROM[exact]:
        return 'direct'
    return 'tiles' if exact and narrow >= TILES_FROM and size <= TILES_UP_TO else 'rows'


def _channels_last(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy, so that what is folded does not change with the model."""
    return weight.to(dtype, copy=True, memory_format=torch.channels_last)
