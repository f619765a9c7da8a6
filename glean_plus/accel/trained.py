"""The compiled kernel in training: 3x3 convolutions and their gradients, in place of PyTorch's for a step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from glean_plus.accel.compiled import PAD, CompiledConv, _integer, _map, _pointer, filter_matrix
from glean_plus.accel.compiler import library
from glean_plus.accel.maps import Workspace, nhwc, with_border
from glean_plus.compat import torch_at_least
from glean_plus.models.checkpointing import WITH

# Tiles and channels in one go of the weights' gradient, whose sums stay in cache.
TILES, CHANNELS = 12, 64
# Fewer channels or tiles than these are not worth the transforms.
FEWEST_CHANNELS, FEWEST_TILES = 16, 256
_workspace = Workspace()
AUTOCAST_BY_DEVICE = torch_at_least('2.4')


class WeightTask(ctypes.Structure):
    """``WeightTask`` of kernel.cpp."""

    _fields_ = [
        *((name, _integer) for name in (
            'images', 'height', 'width', 'in_channels', 'out_channels', 'threads', 'tiles', 'in_part', 'out_part',
            'splits',
        )),
        ('x', _pointer), ('x_image', _integer), ('x_row', _integer), ('x_pixel', _integer),
        ('y', _pointer), ('y_image', _integer), ('y_row', _integer), ('y_pixel', _integer),
        ('filter', _pointer), ('out', _pointer), ('scratch', _pointer), ('scratch_size', _integer),
    ]  # fmt: skip


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel has code for this convolution with a border of one pixel, and gains by it."""
    if not (x.ndim == 4 and weight.shape[2:] == (3, 3) and x.dtype == weight.dtype == torch.float32):
        return False
    if x.device.type != 'cpu' or _autocast():
        return False
    channels, (height, width) = (weight.shape[0], weight.shape[1]), x.shape[2:]
    enough = min(channels) >= FEWEST_CHANNELS and len(x) * height * width // 16 >= FEWEST_TILES
    return enough and not any(each % 4 for each in (*channels, height, width))


def _autocast() -> bool:
    """Whether operations on a CPU are cast to another type."""
    if AUTOCAST_BY_DEVICE:
        return bool(torch.is_autocast_enabled('cpu'))
    return bool(torch.is_autocast_cpu_enabled())


class _Convolve(torch.autograd.Function):
    """x (N, C, H, W), weight (K, C, 3, 3) -> (N, K, H, W), channels_last, with its gradients."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(x if weight.requires_grad else None, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = context.saved_tensors
        gradient, = gradients
        needs_x, needs_weight, needs_bias = context.needs_input_grad
        to_x = to_weight = None
        if needs_x:
            to_x = _convolve(gradient, weight.flip(2, 3).transpose(0, 1), None)
        if needs_weight:
            to_weight = weight_gradient(x, gradient)
        return to_x, to_weight, gradient.sum(dim=(0, 2, 3)) if needs_bias else None


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # No view of another tensor, so that it can be changed in place.
    out = torch.empty(len(x), len(weight), *x.shape[2:], memory_format=torch.channels_last)
    CompiledConv(weight, bias)(with_border(nhwc(x), _workspace, 'x'), nhwc(out), _workspace)
    return out


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """x (N, C, H, W) and the gradient of the result (N, K, H, W) -> that of the weights, (K, C, 3, 3)."""
    kernel, threads = library(), torch.get_num_threads()
    images, in_channels, height, width = x.shape
    out_channels = gradient.shape[1]
    in_part, out_part = (_part(channels) for channels in (in_channels, out_channels))
    pieces = in_channels // in_part * (out_channels // out_part)
    splits = -(-2 * threads // pieces) if pieces < 2 * threads else 1
    memory = 4 * 36 * (TILES * (in_part + out_part) + 2 * PAD + in_part * out_part)
    source, result = with_border(nhwc(x), _workspace, 'x'), nhwc(gradient).contiguous()
    sums, matrix = x.new_empty(splits, 3, 3, in_channels, out_channels), filter_matrix().float().contiguous()
    task = WeightTask(
        images=images, height=height, width=width, in_channels=in_channels, out_channels=out_channels, threads=threads,
        tiles=TILES, in_part=in_part, out_part=out_part, splits=splits, filter=matrix.data_ptr(), out=sums.data_ptr(),
        scratch_size=memory,
        scratch=_workspace.take('scratch', threads * memory // 4, like=x).data_ptr(),
    )  # fmt: skip
    task.x, task.x_image, task.x_row, task.x_pixel = _map(source)
    task.y, task.y_image, task.y_row, task.y_pixel = _map(result)
    if kernel.convolve_weight_gradient(ctypes.byref(task)):
        raise ValueError(f'There is no code for {in_channels} to {out_channels} channels.')
    return sums.sum(dim=0).permute(3, 2, 0, 1).contiguous()


def _part(channels: int) -> int:
    """The largest number of channels up to the limit that divides these, a multiple of 4."""
    return next(part for part in range(min(CHANNELS, channels), 0, -4) if channels % part == 0)


class CompiledConvolutions(TorchFunctionMode):
    """As a context: convolutions of whatever is called go through the kernel where it has code for them and gains.

    Results are those of PyTorch up to rounding, channels_last, with gradients of the first order. For one thread of
    Python at a time.

    Attributes:
        left: Autocast has taken one of them to a type for which there is no code.

    Raises:
        CompilerError: If the kernel cannot be built.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left = False
        library()

    def __enter__(self) -> CompiledConvolutions:
        WITH.append(CompiledConvolutions)
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        WITH.pop()

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (F.conv2d, torch.conv2d):
            x, weight, bias, stride, padding, dilation, groups = _arguments(*args, **kwargs)
            plain = stride in (1, (1, 1)) and padding in (1, (1, 1)) and dilation in (1, (1, 1)) and groups == 1
            if plain and fits(x, weight):
                return _Convolve.apply(x, weight, bias)
            self.left |= plain and _autocast()
        return func(*args, **kwargs)


def _arguments(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...]:
    """Of ``conv2d``, however they are given."""
    stride, padding, dilation = (
        tuple(each) if isinstance(each, (list, tuple)) else each for each in (stride, padding, dilation)
    )
    return input, weight, bias, stride, padding, dilation, groups
