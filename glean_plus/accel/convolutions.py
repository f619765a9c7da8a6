"""Which convolution is used where: the one place that knows all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from glean_plus.accel.compiled import CompiledConv, CompiledThinConv, CompiledUpConv, can_compile
from glean_plus.accel.compiler import check_device, library
from glean_plus.accel.conv import Conv3x3, ThinConv, UpConv
from glean_plus.accel.epilogue import Epilogue
from glean_plus.accel.winograd import Workspace

DTYPES = (torch.float32, torch.bfloat16)


class Convolution(Protocol):
    """3x3, stride 1, on maps with their border: see :meth:`Conv3x3.__call__`."""

    in_channels: int
    out_channels: int

    def __call__(
        self, x: Tensor, out: Tensor, workspace: Workspace, epilogue: Epilogue = ..., in_scale: Tensor | None = ...
    ) -> None: ...


class Convolutions:
    """Makes convolutions of one type of maps.

    Args:
        dtype: Of the maps, one of :data:`DTYPES`.
        device: Where they are.
        compiled: Take the compiled kernel where it has code for a size and is faster; PyTorch's operations elsewhere.

    Raises:
        CompilerError: If the kernel is asked for and cannot be built.
        ValueError: On another type, or if the kernel is asked for on another device than a CPU.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device, compiled: bool = False) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {DTYPES}, but is {dtype}.')
        self.dtype, self.compiled = dtype, compiled
        if compiled:
            check_device(device)
            library()

    def conv(
        self,
        weight: Tensor,
        bias: Tensor | None,
        height: int,
        width: int,
        shuffle: bool = False,
        damped: bool = False,
    ) -> Convolution:
        """For maps of about a size; a smaller number of rows must be a multiple of 4 too.

        ``shuffle`` and ``damped`` are those of :class:`CompiledConv`.
        """
        if self.compiled and can_compile(weight.shape[1], weight.shape[0] // (4 if shuffle else 1), height, width):
            return CompiledConv(weight, bias, self.dtype, shuffle, damped=damped)
        return Conv3x3(weight, bias, self.dtype, min(height, width), shuffle=shuffle)

    def up(self, weight: Tensor, bias: Tensor, height: int, width: int) -> Convolution:
        """StyleGAN2's up-sampling, to a height and width."""
        if self.compiled and can_compile(weight.shape[1], weight.shape[0], height // 2, width // 2):
            return CompiledUpConv(weight, bias, self.dtype)
        return UpConv(weight, bias, self.dtype)

    def thin(self, weight: Tensor, bias: Tensor) -> Callable[[Tensor, Tensor, Workspace], None]:
        """To few channels, as planes."""
        if self.compiled and len(weight) <= 4 and weight.shape[1] % 4 == 0:
            return CompiledThinConv(weight, bias, self.dtype)
        return ThinConv(weight, bias, self.dtype)


