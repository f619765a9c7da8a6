"""Images of any size through a network: in one go, in tiles, or fitted into the network's own size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glean_plus.inference.axis import Axis, mirrored, tiled, whole
from glean_plus.inference.channels import Codes, Layers
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.network import Network
from glean_plus.utils.imresize import matlab_resize, matlab_strips

MODES = ('direct', 'tiles', 'fit')
# Shares of the model's side: the smallest overlap of tiles, and what of a tile's end does not count.
OVERLAP, MARGIN = 1 / 2, 1 / 16
# The same in pixels, where a direct pass is made in parts.
DIRECT_OVERLAP, DIRECT_MARGIN = 32, 4
# Of a pixel of a result that is held: four channels as floats.
BYTES = 16
# Rows that are worked on at a time where nothing else says how many.
ROWS = 256
# Rows of the input whose results are handed on at a time.
PIECE = 32


@dataclass(frozen=True)
class Limits:
    """What may be used at a time.

    Attributes:
        batch: Tiles in a call of the network.
        memory: Bytes: 7/16 for the network's activations, the rest for rows of the image and of the result.
    """

    batch: int
    memory: int

    @property
    def activations(self) -> int:
        return self.memory * 7 // 16

    def rows(self, width: int, most: int) -> int:
        """How many rows, so many pixels wide, are held at a time: as an eighth of the memory holds, 1 to ``most``."""
        return max(1, min(most, self.memory // 8 // (BYTES * width)))


def default_mode(network: Network) -> str:
    """What does best on held-out images: see docs/guides/images.md."""
    if network.colorizes:
        return 'fit'
    return 'direct' if network.any_size else 'tiles'


def check_mode(network: Network, mode: str) -> None:
    """Raise RestoreError if the network cannot be run so."""
    if mode not in MODES:
        raise RestoreError(f'The mode is one of {", ".join(MODES)}, not {mode!r}.')
    if mode == 'direct' and not network.any_size:
        raise RestoreError('This model is bound to its input size and has no direct mode: take tiles or fit.')


def pixels_at_once(network: Network, limits: Limits) -> int:
    """Pixels of the input, a tile or more, whose activations the memory holds.

    Raises:
        RestoreError: If it is too small for a single tile.
    """
    pixels, tile = int(limits.activations / network.bytes_per_pixel), network.in_size**2
    if pixels < tile:
        need = math.ceil(16 / 7 * tile * network.bytes_per_pixel / 2**20)
        raise RestoreError(f'This model needs {need} MB for one tile: raise the memory, now {limits.memory >> 20} MB.')
    return pixels


def axes(network: Network, mode: str, height: int, width: int, limits: Limits) -> tuple[Axis, Axis]:
    """Tiles of an image, along its height and its width.

    Raises:
        RestoreError: If the memory is too small for a single tile, or for the rows of the result that a row of tiles
            makes.
    """
    rows, columns = _axes(network, mode, height, width, limits)
    need = 4 * BYTES * network.scale**2 * min(rows.tile, height) * columns.reach
    if need > limits.memory:
        raise RestoreError(
            f'An image {width} pixels wide needs {math.ceil(need / 2**20)} MB: raise the memory, now '
            f'{limits.memory >> 20} MB.'
        )
    return rows, columns


def _axes(network: Network, mode: str, height: int, width: int, limits: Limits) -> tuple[Axis, Axis]:
    size, scale, multiple = network.in_size, network.scale, network.multiple
    pixels = pixels_at_once(network, limits)
    if mode == 'tiles':
        overlap, margin = round(OVERLAP * size), round(MARGIN * size)
        rows, columns = (tiled(side, size, overlap, margin, scale) for side in (height, width))
        return rows, columns
    rows, columns = (whole(side, multiple, size, scale) for side in (height, width))
    if rows.tile * columns.tile <= pixels:
        return rows, columns
    # Parts lower than wide: the rows of the result that are held are as high as a part, and as wide as the image.
    held = int(limits.memory / 8 / (BYTES * scale**2 * columns.tile))
    tile_height = min(rows.tile, max(int(math.sqrt(pixels)), pixels // columns.tile), max(held, size))
    tile_width = min(columns.tile, pixels // tile_height)
    parts = []
    for length, tile in ((height, tile_height), (width, tile_width)):
        tile = max(tile // multiple * multiple, size)
        overlap = min(DIRECT_OVERLAP, tile // 2)
        parts.append(tiled(length, tile, overlap, min(DIRECT_MARGIN, overlap // 4), scale, multiple))
    return parts[0], parts[1]


def strips(
    network: Network, images: Sequence[np.ndarray], layers: Layers, mode: str, limits: Limits
) -> Iterator[Tensor]:
    """Restore images of one size and kind together.

    Args:
        network: What restores them.
        images: (H, W, K) each, as ``layers`` says, of any size and type.
        layers: What their channels are.
        mode: One of :data:`MODES`.
        limits: What may be used at a time.

    Returns:
        Rows of the results, (N, K', h, s W), from the top, as soon as they are done; float32, not clamped, on the CPU,
        or, of images that are restored in one go, on the network's device.
    """
    if mode == 'fit':
        yield from _fitted(network, images, layers, limits)
        return
    height, width = images[0].shape[:2]
    rows, columns = axes(network, mode, height, width, limits)
    scale = network.scale
    codes = _shared_codes(network, images, layers, rows, columns)
    per_call = max(1, min(limits.batch, int(limits.activations / (network.bytes_per_pixel * rows.tile * columns.tile))))
    held = scale * min(rows.tile, height)  # rows of the result; what is beyond the image is not kept
    buffer = torch.zeros(0)
    piece_rows = limits.rows(scale * width, PIECE * scale)
    if len(rows.starts) * len(columns.starts) == 1:
        results = _in_one(network, images, layers, codes, (rows.tile, columns.tile), per_call)
        yield from results[:, :, :scale * height, :scale * width].split(piece_rows, dim=2)
        return
    places = [(image, column) for column in range(len(columns.starts)) for image in range(len(images))]
    across = mirrored(0, columns.reach, width)
    for row, top in enumerate(rows.starts):
        down = mirrored(top, rows.tile, height)
        bands = torch.stack([layers.tensor(image[down.numpy()][:, across.numpy()]) for image in images])
        for some in _chunks(places, per_call, alone=mode == 'direct'):
            starts = [columns.starts[column] for _, column in some]
            tiles = torch.stack([
                bands[image, :, :, start:start + columns.tile] for (image, _), start in zip(some, starts)
            ])  # fmt: skip
            origin = (top, starts[0]) if mode == 'direct' else (0, 0)
            results = layers.restore(network, tiles, codes.of([image for image, _ in some]), origin).cpu()
            if not buffer.numel():
                buffer = torch.zeros(len(images), results.shape[1], held, scale * columns.reach)
            for (image, column), start, result in zip(some, starts, results):
                window = rows.windows[row][:held, None] * columns.windows[column]
                buffer[image, :, :, scale * start:scale * (start + columns.tile)] += result[:, :held] * window
        last = row + 1 == len(rows.starts)
        done = int(scale * ((height if last else rows.starts[row + 1]) - top))
        for piece in buffer[:, :, :done, :scale * width].split(piece_rows, dim=2):
            yield piece.clone()
        if not last:
            rest = buffer[:, :, done:].clone()
            buffer.zero_()
            buffer[:, :, :rest.shape[2]] = rest


def _in_one(
    network: Network,
    images: Sequence[np.ndarray],
    layers: Layers,
    codes: Codes,
    size: tuple[int, int],
    per_call: int,
) -> Tensor:
    """Whole images, mirrored at their ends up to ``size``, ``per_call`` at a time -> their results."""
    height, width = images[0].shape[:2]
    down, across = mirrored(0, size[0], height).numpy(), mirrored(0, size[1], width).numpy()
    results = []
    for start in range(0, len(images), per_call):
        some = range(start, min(start + per_call, len(images)))
        tiles = torch.stack([layers.tensor(images[i][down][:, across]) for i in some])
        results.append(layers.restore(network, tiles, codes.of(some), (0, 0)))
    return torch.cat(results) if len(results) > 1 else results[0]


def _chunks(places: Sequence[tuple[int, int]], count: int, alone: bool) -> Iterator[Sequence[tuple[int, int]]]:
    """``count`` places at a time; ``alone`` keeps those of different columns apart."""
    start = 0
    while start < len(places):
        end = min(start + count, len(places))
        if alone:
            end = next((i for i in range(start, end) if places[i][1] != places[start][1]), end)
        yield places[start:end]
        start = end


def _shared_codes(
    network: Network, images: Sequence[np.ndarray], layers: Layers, rows: Axis, columns: Axis
) -> Codes:
    """Codes of the whole images for all their tiles, where there are several and codes are predicted.

    They keep an image of one piece. On held-out emoji a tile's own codes measure the same, or up to 0.4 dB better
    where a tile looks like a whole emoji.
    """
    if not network.predicts_codes or len(rows.starts) * len(columns.starts) == 1:
        return Codes()
    size = (network.in_size, network.in_size)
    return layers.codes(network, torch.stack([shrunk(image, size, layers) for image in images]))


def shrunk(image: np.ndarray, size: tuple[int, int], layers: Layers, rows: int = ROWS) -> Tensor:
    """(H, W, K) -> (K, *size), 0 to 1, by MATLAB's bicubic; as floats, ``rows`` at a time."""
    height, width = image.shape[:2]
    narrow = [matlab_resize(layers.tensor(image[top:top + rows]), (min(rows, height - top), size[1]))
              for top in range(0, height, rows)]  # fmt: skip
    return matlab_resize(torch.cat(narrow, dim=1), size).clamp(0, 1)


def _fitted(network: Network, images: Sequence[np.ndarray], layers: Layers, limits: Limits) -> Iterator[Tensor]:
    """The whole image, brought to the network's size and padded by its mirror image, and the result brought back."""
    height, width = images[0].shape[:2]
    size, scale = network.in_size, network.scale
    small = [max(1, round(side * size / max(height, width))) for side in (height, width)]
    rows = limits.rows(width, ROWS)
    fitted = torch.stack([shrunk(image, (small[0], small[1]), layers, rows) for image in images])
    padded = fitted[:, :, mirrored(0, size, small[0])][..., mirrored(0, size, small[1])]
    per_call = max(1, min(limits.batch, int(limits.activations / (network.bytes_per_pixel * size * size))))
    results = torch.cat([
        layers.restore(network, part, Codes(), (0, 0)).cpu() for part in padded.split(per_call)
    ])[:, :, :scale * small[0], :scale * small[1]]  # fmt: skip
    yield from matlab_strips(results, (scale * height, scale * width), limits.rows(scale * width, ROWS))
