"""The compiled kernel on top of a folded GLEAN: the parts that it is faster at are replaced."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glean_plus.accel.bands import Bands, convolving, has_usual_filter
from glean_plus.accel.compiled import CompiledConv, CompiledUpConv, Epilogue, has_code, pays
from glean_plus.accel.compiler import check_device, library
from glean_plus.accel.folded import FoldedGLEAN
from glean_plus.accel.maps import Workspace, clear_around, nchw, nhwc, padded, with_border
from glean_plus.models.encoder import RRDBTrunk
from glean_plus.models.folding import FoldedConv
from glean_plus.models.glean import GLEAN
from glean_plus.models.ops import LRELU_SLOPE

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

# What a dense block and an RRDB add to their input is scaled by this (ESRGAN).
RESIDUAL_SCALE = 0.2
# A trunk's buffers: an RRDB's input, which its end needs, and what its three dense blocks make.
BUFFERS = 4
ACTIVATED = Epilogue(slope=LRELU_SLOPE)


class CompiledGLEAN(FoldedGLEAN):
    """A folded model with a kernel that this machine's C++ compiler builds, the first time; on a CPU.

    Args:
        model: A GLEAN or LightGLEAN.
        dtype: Of the maps, float32 or bfloat16.

    Raises:
        CompilerError: If the kernel cannot be built.
        ValueError: On another type or device.
    """

    def __init__(self, model: GLEAN, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(model, dtype)
        check_device(next(model.parameters()).device)
        if dtype == torch.float16:
            raise ValueError('The compiled kernel is for float32 and bfloat16, but dtype is torch.float16.')
        library()
        self.workspace, self.one_at_a_time = Workspace(), threading.Lock()
        exact = self if dtype == torch.float32 else FoldedGLEAN(model)  # the kernel rounds transformed weights itself
        with torch.no_grad():
            self.finish = Bands.of(exact, model, dtype, self.workspace)
            if self.finish is not None:  # the weights of what it does are not needed elsewhere
                self.decoder = nn.Identity()
                for res in self.finish.blocks:
                    for layer in convolving(self.bank.layers[str(res)]):
                        layer.release()
            for name in ('encoder', 'codes', 'bank', 'fusions', 'decoder'):
                self._replace(getattr(self, name), getattr(exact, name))

    def _replace(self, part: nn.Module, exact: nn.Module) -> None:
        for name, child in part.named_children():
            same = getattr(exact, name)
            if _is_trunk(child):
                setattr(part, name, CompiledTrunk(child, same, self.dtype, self.workspace))
            elif isinstance(child, FoldedConv):
                if fits(child):
                    setattr(part, name, KernelConv(child, same, self.dtype, self.workspace))
            else:
                self._replace(child, same)

    def restore(self, *inputs: Any) -> Tensor:
        with self.one_at_a_time:
            return super().restore(*inputs)

    def release(self) -> None:
        """Free the memory of the maps, which is kept for the next image: fresh memory takes time."""
        self.workspace.release()


def fits(conv: FoldedConv) -> bool:
    """Whether the kernel has code for a convolution."""
    if conv.weight.shape[2:] != (3, 3) or conv.stride != 1:
        return False
    if conv.up is None:
        return has_code(conv.weight.shape[1], conv.weight.shape[0])
    return has_usual_filter(conv) and has_code(*conv.weight.shape[:2])


def _is_trunk(part: nn.Module) -> TypeGuard[RRDBTrunk]:
    if type(part) is not RRDBTrunk:
        return False
    parts = [*part.body.modules(), part.conv_body]
    convs = [each for each in parts if isinstance(each, FoldedConv)]
    return len(convs) == 15 * len(part.body) + 1 and all(fits(conv) for conv in convs)


def compiled(conv: FoldedConv, dtype: torch.dtype) -> CompiledConv:
    """A folded convolution that the kernel has code for."""
    if conv.up is None:
        return CompiledConv(conv.weight, conv.bias, dtype)
    weight = conv.weight.transpose(0, 1)
    return CompiledUpConv(weight, weight.new_zeros(len(weight)) if conv.bias is None else conv.bias, dtype)


class KernelConv(nn.Module):
    """A folded convolution, by the kernel if the first maps that it is called with are large enough for it.

    Args:
        plain: The convolution, 3x3 with stride 1.
        exact: The same in float32.
        dtype: Of the maps.
        workspace: For what is computed on the way.
    """

    def __init__(self, plain: FoldedConv, exact: FoldedConv, dtype: torch.dtype, workspace: Workspace) -> None:
        super().__init__()
        self.dtype, self.workspace, self.scale = dtype, workspace, 1 if plain.up is None else 2
        self.plain: FoldedConv | None = plain
        self.exact: FoldedConv | None = exact

    def forward(self, x: Tensor) -> Tensor:
        images, _, height, width = x.shape
        if self.exact is not None:  # the weights are needed in one form alone
            if pays(height, width):
                self.kernel, self.plain = compiled(self.exact, self.dtype), None
            self.exact = None
        if self.plain is not None:
            return self.plain(x)
        bordered = with_border(nhwc(x), self.workspace, 'bordered')
        rows, columns = (self.scale * (side - 2) for side in bordered.shape[1:3])
        out = x.new_empty(images, rows, columns, self.kernel.out_channels // self.scale**2)
        self.kernel(bordered, out, self.workspace)
        return nchw(out[:, :self.scale * height, :self.scale * width])


class CompiledTrunk(nn.Module):
    """A folded ``RRDBTrunk`` whose dense blocks grow in place: their map has room for all that is concatenated.

    The residual sums are part of the convolution before them. It stays as it is if the first maps are too small.

    Args:
        plain: The trunk.
        exact: The same in float32.
        dtype: Of the maps.
        workspace: Whose memory the maps are in.
    """

    def __init__(self, plain: RRDBTrunk, exact: RRDBTrunk, dtype: torch.dtype, workspace: Workspace) -> None:
        super().__init__()
        self.dtype, self.workspace, self.conv_first = dtype, workspace, plain.conv_first
        self.plain: RRDBTrunk | None = plain
        self.exact: RRDBTrunk | None = exact
        self.blocks: list[list[CompiledConv]] = []

    def _compile(self, trunk: RRDBTrunk) -> None:
        for rrdb in trunk.body:
            for block, share in ((rrdb.rdb1, 1.0), (rrdb.rdb2, 1.0), (rrdb.rdb3, RESIDUAL_SCALE)):
                convs = [block.conv1, block.conv2, block.conv3, block.conv4, block.conv5]
                factors = [1.0] * 4 + [RESIDUAL_SCALE * share]
                self.blocks.append([
                    CompiledConv(conv.weight * factor, conv.get_parameter('bias') * factor, self.dtype, damped=True)
                    for conv, factor in zip(convs, factors)
                ])  # fmt: skip
        self.conv_body = CompiledConv(trunk.conv_body.weight, trunk.conv_body.bias, self.dtype)

    def forward(self, lq: Tensor) -> Tensor:
        images, _, height, width = lq.shape
        if self.exact is not None:
            if pays(height, width):
                self._compile(self.exact)
                self.plain = None
            self.exact = None
        if self.plain is not None:
            return self.plain(lq)
        first = nhwc(self.conv_first(lq))
        channels, rows, columns = first.shape[3], height + -height % 4, width + -width % 4
        wide = max((convs[-1].in_channels for convs in self.blocks), default=channels)
        memory = padded(self.workspace, 'dense', BUFFERS * images, rows, columns, wide, first)
        clear_around(memory, height, width)
        buffers = memory.split(images)
        buffers[0][:, 1:height + 1, 1:width + 1, :channels].copy_(first)

        def convolve(conv: CompiledConv, x: Tensor, out: Tensor, epilogue: Epilogue) -> None:
            conv(x, out[:, 1:-1, 1:-1], self.workspace, epilogue)
            if (rows, columns) != (height, width):
                clear_around(out, height, width)

        for number, convs in enumerate(self.blocks):
            x, out = buffers[number % BUFFERS], buffers[(number + 1) % BUFFERS]
            end = channels
            for conv in convs[:-1]:
                convolve(conv, x[..., :end], x[..., end:end + conv.out_channels], ACTIVATED)
                end += conv.out_channels
            residuals = [(x[:, 1:-1, 1:-1, :channels], 1.0)]
            if number % 3 == 2:  # the RRDB's own
                own = buffers[(number - 2) % BUFFERS][:, 1:-1, 1:-1, :channels]
                residuals = [(residuals[0][0], RESIDUAL_SCALE), (own, 1.0)]
            convolve(convs[-1], x, out[..., :channels], Epilogue(residuals=residuals))
        result = first.new_empty(images, rows, columns, channels)
        self.conv_body(buffers[len(self.blocks) % BUFFERS][..., :channels], result, self.workspace)
        return nchw(result[:, :height, :width].add_(first))
