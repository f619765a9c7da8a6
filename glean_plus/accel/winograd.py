"""3x3 convolution with fewer multiplications (Winograd 1980; Lavin and Gray, CVPR 2016), as PyTorch operations.

F(4, 3): four results of a filter of three taps need six products, not twelve, once input, filter and result are
transformed. Along rows alone that halves the products, and what is left is a 1x3 convolution; along
both axes it leaves a quarter, as matrix products. The transforms are sums of rows, so they are cheap where the
channels are many and the rows stay in cache.

Maps are [rows, columns, channels] here, contiguous, with a border of one pixel all around.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Results in one go, and the products that they need, along one axis.
TILE, PRODUCTS = 4, 6
# The polynomials are evaluated at 0, 1, -1, POINT, -POINT and infinity; 1/2 keeps rounding small and is exact.
POINT = 0.5


def transform_input(d: Sequence[Tensor], out: Sequence[Tensor], scratch: Sequence[Tensor]) -> None:
    """B^T d along one axis, in twelve sums.

    Args:
        d: Six tensors of one shape, neighbours along the axis.
        out: Six to write to.
        scratch: Three of the same shape.
    """
    even, odd, other = scratch
    square = POINT * POINT
    torch.sub(d[4], d[2], alpha=square, out=even)
    torch.sub(d[3], d[1], alpha=square, out=odd)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=POINT, out=out[3])
    torch.sub(even, odd, alpha=POINT, out=out[4])
    torch.sub(d[0], d[2], out=other)
    torch.add(even, other, alpha=square, out=out[0])
    torch.sub(d[5], d[3], out=other)
    torch.sub(other, odd, alpha=square, out=out[5])


def transform_output(m: Sequence[Tensor], out: Sequence[Tensor], scratch: Sequence[Tensor]) -> None:
    """A^T m along one axis, in ten sums: six tensors -> four.

    Args:
        m: Six tensors of one shape.
        out: Four to write to.
        scratch: Four of the same shape.
    """
    even, odd, even_p, odd_p = scratch
    torch.add(m[1], m[2], out=even)
    torch.sub(m[1], m[2], out=odd)
    torch.add(m[3], m[4], out=even_p)
    torch.sub(m[3], m[4], out=odd_p)
    torch.add(odd, odd_p, alpha=POINT, out=out[1])
    torch.add(even, even_p, alpha=POINT**2, out=out[2])
    torch.add(even, even_p, out=even)
    torch.add(even, m[0], out=out[0])
    torch.add(odd, odd_p, alpha=POINT**3, out=odd)
    torch.add(odd, m[5], out=out[3])


@functools.cache
def filter_matrix(results: int = TILE) -> Tensor:
    """G: three taps -> ``results`` + 2 factors, so that A^T ((G g) * (B^T d)) is the convolution. Float64.

    The same tensor at each call, so not to be changed.

    Args:
        results: 4, or 2 with the points 0, 1, -1 and infinity, as the compiled kernel has it.
    """
    if results == 2:
        return torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    points = (0.0, 1.0, -1.0, POINT, -POINT)
    factors = np.zeros((PRODUCTS, 3))
    for i, p in enumerate(points):
        rest = [q for j, q in enumerate(points) if j != i]
        # B^T holds the coefficients of prod (x - q); transform_input has its own sign and scale of each row.
        leading = _row(i)[np.flatnonzero(np.poly(rest)[::-1])[-1]]
        factors[i] = p ** np.arange(3) / np.prod([p - q for q in rest]) / leading
    factors[-1, -1] = 1 / _row(PRODUCTS - 1)[-1]
    return torch.from_numpy(factors)


def _row(index: int) -> np.ndarray:
    """A row of the matrix that transform_input applies."""
    d = list(torch.eye(PRODUCTS, dtype=torch.float64))
    out = [torch.empty(PRODUCTS, dtype=torch.float64) for _ in range(PRODUCTS)]
    transform_input(d, out, [torch.empty(PRODUCTS, dtype=torch.float64) for _ in range(3)])
    return out[index].numpy()


class Workspace:
    """Memory that operations share, one after the other, so that nothing is allocated for each strip.

    Two operations at the same time, as from two threads, must not share one.
    """

    def __init__(self) -> None:
        self._flat: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, *shape: int, like: Tensor) -> Tensor:
        """Uninitialised memory of a shape, with the type and device of a tensor; the last of this name is lost."""
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
        """Give all of it back."""
        self._flat.clear()


def row_filters(weight: Tensor) -> Tensor:
    """Weight (K, C, 3, 3) -> (6, K, C, 1, 3), float64: the filters for transformed rows."""
    return torch.einsum('fr,kcrs->fkcs', filter_matrix(), weight.double()).unsqueeze(3)


def tile_filters(weight: Tensor) -> Tensor:
    """Weight (K, C, 3, 3) -> (6, 6, C, K), float64: the matrices for transformed tiles, columns before rows."""
    matrix = filter_matrix()
    return torch.einsum('fs,gr,kcrs->fgck', matrix, matrix, weight.double())


def transform_rows(x: Tensor, workspace: Workspace) -> Tensor:
    """Maps (N, 4 h + 2, W, C) -> (6, N, h, W, C), transformed along the rows, in the workspace."""
    images, rows, width, channels = x.shape
    strips = (rows - 2) // TILE
    shape = (images, strips, width, channels)
    out = workspace.take('rows', PRODUCTS, *shape, like=x)
    scratch = workspace.take('scratch', 3, *shape, like=x)
    d = [x[:, j:j + (strips - 1) * TILE + 1:TILE] for j in range(PRODUCTS)]
    transform_input(d, out.unbind(), scratch.unbind())
    return out


def transform_tiles(x: Tensor, out: Tensor, workspace: Workspace) -> None:
    """Maps (N, 4 h + 2, 4 w + 2, C) -> ``out`` (6, 6, N, h, w, C), transformed along both axes, columns first."""
    rows = transform_rows(x, workspace)
    tiles = out.shape[-2]
    d = [rows[:, :, :, j:j + (tiles - 1) * TILE + 1:TILE] for j in range(PRODUCTS)]
    scratch = workspace.take('scratch', 3, *out.shape[1:], like=x)
    transform_input(d, out.unbind(), scratch.unbind())


def untransform_rows(products: Sequence[Tensor], out: Tensor, workspace: Workspace) -> None:
    """Six products (N, h, W, K) -> ``out`` (N, 4 h, W, K)."""
    parts = out.unflatten(1, (-1, TILE)).unbind(2)
    scratch = workspace.take('scratch', 4, *products[0].shape, like=out)
    transform_output(products, parts, scratch.unbind())


def untransform_tiles(products: Tensor, out: Tensor, workspace: Workspace) -> None:
    """Products (6, 6, N, h, w, K), columns first -> ``out`` (N, 4 h, 4 w, K)."""
    columns = workspace.take('columns', TILE, *products.shape[1:], like=products)
    scratch = workspace.take('scratch', 4, *products.shape[1:], like=products)
    transform_output(products.unbind(), columns.unbind(), scratch.unbind())
    # (column in the tile, N, h, w, K) for each row in the tile
    parts = out.unflatten(1, (-1, TILE)).unflatten(3, (-1, TILE)).permute(2, 4, 0, 1, 3, 5).unbind()
    scratch = workspace.take('scratch', 4, *parts[0].shape, like=products)
    transform_output(columns.unbind(1), parts, scratch.unbind())
