"""Convolutions by the kernel that compiler.py builds."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glean_plus.accel.compiler import library
from glean_plus.accel.maps import Workspace

# Results of a tile. Products in bfloat16 round less in smaller ones; where what follows damps the rounding, as the sum
# with a residual or a filter does, they need not be.
TILE, BF16_TILE = (4, 4), (4, 2)
# Up to so many channels, the transforms take longer than the products, so tiles are not smaller either.
NARROW = 32
# The memory of a thread's transformed maps (bytes), and tiles in one go: a multiple of what the kernel takes at a time.
MEMORY, AT_LEAST, AT_MOST, STEP = 600_000, 12, 48, 12
# Results in one go, and bytes of filters at a time.
PART, FILTERS = 128, 20_000_000
# What the kernel leaves free between the planes of two products.
PAD = 32
# Fewer tiles than these do not pay for the transform of the filters.
FEWEST_TILES = 64

_pointer, _integer, _float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class Task(ctypes.Structure):
    """``Task`` of kernel.cpp."""

    _fields_ = [
        *((name, _integer) for name in (
            'images', 'height', 'width', 'in_channels', 'out_channels', 'maps', 'products', 'rows', 'columns',
            'shuffle', 'phases', 'threads', 'tiles', 'part', 'group',
        )),
        ('x', _pointer), ('x_image', _integer), ('x_row', _integer), ('x_pixel', _integer),
        ('in_scale', _pointer), ('in_scale_image', _integer),
        ('y', _pointer), ('y_image', _integer), ('y_row', _integer), ('y_pixel', _integer),
        ('weight', _pointer), ('filter_rows', _pointer), ('filter_columns', _pointer), ('bias', _pointer),
        ('out_scale', _pointer), ('out_scale_image', _integer),
        ('noise', _pointer), ('noise_row', _integer), ('slope', _float),
        ('then', _pointer), ('then_image', _integer),
        ('residual', _pointer * 2), ('residual_image', _integer * 2), ('residual_row', _integer * 2),
        ('residual_pixel', _integer * 2), ('residual_scale', _float * 2),
        ('filters', _pointer), ('scratch', _pointer), ('scratch_size', _integer),
    ]  # fmt: skip


class ThinTask(ctypes.Structure):
    """``Thin`` of kernel.cpp."""

    _fields_ = [
        *((name, _integer) for name in ('height', 'width', 'in_channels', 'out_channels', 'maps', 'threads')),
        ('x', _pointer), ('x_row', _integer), ('x_pixel', _integer), ('weight', _pointer), ('bias', _pointer),
        ('y', _pointer), ('y_plane', _integer), ('y_row', _integer),
    ]  # fmt: skip


@dataclass(frozen=True)
class Epilogue:
    """From a convolution's result y (N, H, W, K) to what is written, in the order of the attributes.

    Attributes:
        out_scale: (N or 1, 1, 1, K); y becomes y * out_scale + bias, with the convolution's bias.
        noise: (H, W, 1), float32, added.
        slope: Of a leaky ReLU; 1 for none.
        then: (N or 1, 1, 1, K), multiplied: the scale of the next layer's input.
        residuals: Maps of y's shape and their factors, added.
    """

    out_scale: Tensor | None = None
    noise: Tensor | None = None
    slope: float = 1.0
    then: Tensor | None = None
    residuals: Sequence[tuple[Tensor, float]] = ()


NOTHING = Epilogue()


@functools.cache
def filter_matrix(results: int = 4) -> Tensor:
    """G of Winograd's algorithm: three taps -> ``results`` + 2 factors. Float64.

    The transforms of input and result, and the points at which polynomials are evaluated, are the kernel's. The same
    tensor at each call, so not to be changed.
    """
    matrices = {
        2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        4: [[4, 0, 0], [2 / 3, 2 / 3, 2 / 3], [2 / 3, -2 / 3, 2 / 3], [-8 / 3, -4 / 3, -2 / 3],
            [-8 / 3, 4 / 3, -2 / 3], [0, 0, 1]],
    }  # fmt: skip
    return torch.tensor(matrices[results], dtype=torch.float64)


def has_code(in_channels: int, out_channels: int) -> bool:
    """Whether the kernel has code for a convolution of these channels."""
    return bool(library().lanes(_integer(in_channels), _integer(out_channels)) >= 4)


def pays(height: int, width: int) -> bool:
    """Whether maps of this size have enough tiles for the kernel to gain."""
    return -(-height // 4) * -(-width // 4) >= FEWEST_TILES


class CompiledConv:
    """3x3 convolution with stride 1 and a bias, on maps that have their border already.

    Its weights are transformed at each call, which takes little of its time, so that they need no more memory than
    plain ones.

    Args:
        weight: (K, C, 3, 3), both multiples of 4.
        bias: (K,), or None.
        dtype: Of the maps, float32 or bfloat16.
        shuffle: A pixel shuffle by 2 follows; K / 4 is a multiple of 4.
        damped: What follows damps its rounding.

    Raises:
        CompilerError: If the kernel cannot be built.
        ValueError: When called, on maps of another type or size.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        shuffle: bool = False,
        damped: bool = False,
    ) -> None:
        weight = weight.detach()
        bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
        if shuffle:
            weight = weight.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1)
            bias = bias.reshape(-1, 4).t().flatten()
        self._set(weight, bias, dtype, shuffle, damped)

    def _set(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, shuffle: bool, damped: bool, axis: Tensor | None = None
    ) -> None:
        """Take weights whose channels are (row, column, channel) for the shuffle.

        With ``axis``, (2, 3, 3), they are those of all four phases, made of the same by its matrices along each axis.
        """
        self.kernel, self.dtype, self.shuffle, self.phases = library(), dtype, shuffle, axis is not None
        own, self.in_channels = weight.shape[:2]
        self.out_channels = own if axis is None else 4 * own
        self.weight = weight.permute(2, 3, 1, 0).to(torch.float32, copy=True).contiguous()
        self.bias = bias.to(torch.float32, copy=True).contiguous()
        lanes = self.kernel.lanes(_integer(self.in_channels), _integer(own))
        self.halves = dtype == torch.bfloat16 and lanes == 16 and bool(self.kernel.has_bfloat16())
        smaller = self.halves and not damped and max(self.in_channels, self.out_channels) > NARROW
        self.tile = BF16_TILE if smaller else TILE
        self.part = min(self.out_channels, PART)
        self.matrices = [filter_matrix(results) for results in self.tile]
        if axis is not None:
            self.matrices = [torch.einsum('fi,pij->pfj', matrix, axis.double()) for matrix in self.matrices]
        self.matrices = [matrix.float().contiguous() for matrix in self.matrices]
        self._task = Task()
        self._key: tuple[object, ...] | None = None  # what the task was prepared for

    def __call__(
        self,
        x: Tensor,
        out: Tensor,
        workspace: Workspace,
        epilogue: Epilogue = NOTHING,
        in_scale: Tensor | None = None,
    ) -> None:
        """Convolve; scales and noise are float32, also for maps in bfloat16.

        Args:
            x: (N, h + 2, w + 2, C), border included, sides being multiples of the tile's.
            out: (N, h, w, K), need not be contiguous; with ``shuffle`` (N, 2 h, 2 w, K / 4).
            workspace: For what is computed on the way.
            epilogue: What follows, done with each part of the result while it is in cache.
            in_scale: (N or 1, 1, 1, C), which the input is multiplied by.
        """
        scales = dict(in_scale=in_scale, out_scale=epilogue.out_scale, then=epilogue.then)
        others = [(each.data_ptr(), each.stride(), factor) for each, factor in epilogue.residuals]
        if epilogue.noise is not None:
            others.append((epilogue.noise.data_ptr(), epilogue.noise.stride(), 0.0))
        key = (x.data_ptr(), x.shape, x.stride(), x.dtype, out.data_ptr(), out.stride(), out.dtype, epilogue.slope,
               others, torch.get_num_threads())  # fmt: skip
        if self._key != (key, self._memory(workspace)):  # the same maps as the last time, as a rule
            self._key, self._task = None, self._prepare(x, out, workspace, epilogue)
        kept = []  # until the kernel has read them
        for name, scale in scales.items():
            if scale is None:
                setattr(self._task, name, None)
                continue
            if self.shuffle and name != 'in_scale':
                scale = scale.repeat(1, 1, 1, 4)
            scale = scale.flatten(1).float().contiguous()
            setattr(self._task, name, scale.data_ptr())
            setattr(self._task, f'{name}_image', 0 if len(scale) == 1 else scale.shape[1])
            kept.append(scale)
        if self.kernel.convolve_3x3(ctypes.byref(self._task)):
            raise ValueError(f'There is no code for {self.in_channels} to {self.out_channels} channels, {self.dtype}.')
        self._key = (key, self._memory(workspace))

    def _memory(self, workspace: Workspace) -> tuple[tuple[int, int], ...]:
        """What of the workspace a task points to."""
        return tuple(workspace.extent(name, self.weight) for name in ('filters', 'scratch'))

    def _prepare(self, x: Tensor, out: Tensor, workspace: Workspace, epilogue: Epilogue) -> Task:
        """All of a task but the scales."""
        images, height, width = x.shape[0], x.shape[1] - 2, x.shape[2] - 2
        if height % self.tile[0] or width % self.tile[1] or not x.dtype == out.dtype == self.dtype:
            raise ValueError(
                f'A compiled convolution takes {self.dtype} of multiples of {self.tile}, but got {x.dtype} of '
                f'{height}x{width}.'
            )
        threads = torch.get_num_threads()
        products = (self.tile[0] + 2) * (self.tile[1] + 2)
        tiles = self._tiles_at_once(images * height * width // (self.tile[0] * self.tile[1]), products, threads)
        planes = [tiles * channels + PAD for channels in (self.in_channels, self.part)]
        memory = products * (planes[0] * (2 if self.halves else 4) + planes[1] * 4)
        each = products * self.in_channels * (2 if self.halves else 4)
        group = min(self.out_channels, max(1, FILTERS // (each * self.part)) * self.part)
        task = Task(
            images=images, height=height, width=width, in_channels=self.in_channels, out_channels=self.out_channels,
            maps=self.dtype == torch.bfloat16, products=self.halves, rows=self.tile[0], columns=self.tile[1],
            shuffle=self.shuffle, phases=self.phases, threads=threads, tiles=tiles, part=self.part, group=group,
            slope=epilogue.slope,
            weight=self.weight.data_ptr(), bias=self.bias.data_ptr(),
            filter_rows=self.matrices[0].data_ptr(), filter_columns=self.matrices[1].data_ptr(),
            filters=workspace.take('filters', each * group // 4, like=self.weight).data_ptr(),
            scratch=workspace.take('scratch', threads * memory // 4, like=self.weight).data_ptr(), scratch_size=memory,
        )  # fmt: skip
        task.x, task.x_image, task.x_row, task.x_pixel = _map(x)
        task.y, task.y_image, task.y_row, task.y_pixel = _map(out)
        if epilogue.noise is not None:
            task.noise, task.noise_row = epilogue.noise.data_ptr(), epilogue.noise.stride(0)
        for number, (residual, factor) in enumerate(epilogue.residuals):
            task.residual[number], *strides = _map(residual)
            task.residual_scale[number] = factor
            task.residual_image[number], task.residual_row[number], task.residual_pixel[number] = strides
        return task

    def _tiles_at_once(self, tiles: int, products: int, threads: int) -> int:
        """As many as stay in cache, and the same number for each thread."""
        most = MEMORY // (4 * products * (self.in_channels + self.out_channels)) // STEP * STEP
        most = max(AT_LEAST, min(AT_MOST, most))
        rounds = -(-tiles // (most * threads))
        return -(-tiles // (rounds * threads * STEP)) * STEP


class CompiledUpConv(CompiledConv):
    """StyleGAN2's up-sampling as a convolution to four phases, the FIR filter (1, 3, 3, 1) in its weights.

    Args:
        weight: (K, C, 3, 3), with all that scales it.
        bias: (K,).
        dtype: Of the maps.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self._set(weight.detach(), bias.detach().repeat(4), dtype, True, True, up_phases())


def up_phases() -> Tensor:
    """A transposed convolution with stride 2 and the filter after it, along an axis: taps -> those of both phases.

    Of the six taps of the two together, a phase has every second. Float64 (phase, tap of the phase, tap).
    """
    fir = np.array([1.0, 3.0, 3.0, 1.0]) / 4
    both = torch.from_numpy(np.stack([np.convolve(row, fir) for row in np.eye(3)], axis=1))  # [6, 3]
    # The pixel of an input one to the right of the output's comes in with the first tap.
    return torch.stack([both[phase::2].flip(0) for phase in range(2)])


class CompiledThinConv:
    """3x3 convolution to at most four channels, as planes.

    Args:
        weight: (K, C, 3, 3), C a multiple of 4.
        bias: (K,).
        dtype: Of the maps.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.kernel, self.dtype = library(), dtype
        self.out_channels, self.in_channels = weight.shape[:2]
        self.weight = weight.detach().permute(2, 3, 0, 1).to(torch.float32, copy=True).contiguous()
        self.bias = bias.detach().to(torch.float32, copy=True)

    def __call__(self, x: Tensor, out: Tensor, workspace: Workspace) -> None:
        """x (h + 2, w + 2, C), border included -> ``out`` (K, h, w), float32."""
        task = ThinTask(
            height=out.shape[1], width=out.shape[2], in_channels=self.in_channels, out_channels=self.out_channels,
            maps=self.dtype == torch.bfloat16, threads=torch.get_num_threads(), x=x.data_ptr(), x_row=x.stride(0),
            x_pixel=x.stride(1), weight=self.weight.data_ptr(), bias=self.bias.data_ptr(), y=out.data_ptr(),
            y_plane=out.stride(0), y_row=out.stride(1),
        )  # fmt: skip
        if self.kernel.convolve_thin(ctypes.byref(task)):
            raise ValueError(f'There is no code for {self.in_channels} to {self.out_channels} channels.')


def _map(x: Tensor) -> tuple[int, int, int, int]:
    """Address and strides of a map."""
    if x.stride(3) != 1:
        raise ValueError(f"A map's channels must be next to each other, but its strides are {x.stride()}.")
    return x.data_ptr(), x.stride(0), x.stride(1), x.stride(2)
