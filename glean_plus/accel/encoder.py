"""GLEAN's encoder with dense blocks that grow in place."""

from __future__ import annotations

from torch import Tensor, nn

from glean_plus.accel.conv import nchw, nhwc
from glean_plus.accel.convolutions import Convolution, Convolutions
from glean_plus.accel.epilogue import Epilogue
from glean_plus.accel.maps import inside, padded, with_border
from glean_plus.accel.winograd import Workspace
from glean_plus.models.encoder import GLEANEncoder, RRDBTrunk
from glean_plus.models.ops import LRELU_SLOPE

# What a dense block and an RRDB add to their input is scaled by this (ESRGAN).
RESIDUAL_SCALE = 0.2
# A trunk's buffers: an RRDB's input, which its end needs, and what its three dense blocks make.
BUFFERS = 4
ACTIVATED = Epilogue(slope=LRELU_SLOPE)


class FoldedEncoder(nn.Module):
    """What a ``GLEANEncoder`` computes: called as that, on channels_last maps.

    A dense block's map has room for all that its convolutions add, so that nothing is concatenated; the residual sums
    are part of the convolution before them.

    Args:
        encoder: The encoder, in the type of the maps. What is not made anew is shared with it.
        convolutions: What makes the convolutions.
        workspace: Whose memory the maps are in.
    """

    def __init__(self, encoder: GLEANEncoder, convolutions: Convolutions, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        size = encoder.resolutions[0]
        self.trunk = FoldedTrunk(encoder.stages[0][0], size, convolutions, workspace)
        conv = encoder.stages[0][1]
        self.first = convolutions.conv(conv.weight, conv.bias, size, size)
        self.resolutions = encoder.resolutions
        self.down = nn.ModuleList([stage[:2] for stage in encoder.stages[1:]])
        self.convs = [
            convolutions.conv(stage[2].weight, stage[2].bias, res, res)
            for res, stage in zip(self.resolutions[1:], encoder.stages[1:])
        ]

    def forward(self, lq: Tensor) -> dict[int, Tensor]:
        """See :meth:`GLEANEncoder.forward`."""
        feature = self._convolve(self.first, self.trunk(lq))
        features = {self.resolutions[0]: feature}
        for res, down, conv in zip(self.resolutions[1:], self.down, self.convs):
            features[res] = feature = self._convolve(conv, with_border(nhwc(down(feature)), self.workspace, 'stage'))
        return features

    def _convolve(self, conv: Convolution, x: Tensor) -> Tensor:
        """A map with its border -> (N, K, H, W) of memory of its own."""
        out = x.new_empty(x.shape[0], x.shape[1] - 2, x.shape[2] - 2, conv.out_channels)
        conv(x, out, self.workspace, ACTIVATED)
        return nchw(out)


class FoldedTrunk(nn.Module):
    """An ``RRDBTrunk``: (N, C, H, W) -> a map with its border, in the workspace."""

    def __init__(self, trunk: RRDBTrunk, size: int, convolutions: Convolutions, workspace: Workspace) -> None:
        super().__init__()
        self.workspace, self.conv_first = workspace, trunk.conv_first
        self.blocks = []
        for rrdb in trunk.body:
            self.blocks += [_dense_block(rrdb.rdb1, size, RESIDUAL_SCALE, convolutions)]
            self.blocks += [_dense_block(rrdb.rdb2, size, RESIDUAL_SCALE, convolutions)]
            self.blocks += [_dense_block(rrdb.rdb3, size, RESIDUAL_SCALE**2, convolutions)]
        self.conv_body = convolutions.conv(trunk.conv_body.weight, trunk.conv_body.bias, size, size)

    def forward(self, lq: Tensor) -> Tensor:
        first = nhwc(self.conv_first(lq))
        images, height, across, width = first.shape
        wide = max((convs[-1].in_channels for convs in self.blocks), default=width)
        buffers = padded(self.workspace, 'dense', BUFFERS * images, height, across, wide, first).split(images)
        inside(buffers[0])[..., :width].copy_(first)
        for number, convs in enumerate(self.blocks):
            x, out = buffers[number % BUFFERS], buffers[(number + 1) % BUFFERS]
            end = width
            for conv in convs[:-1]:
                conv(x[..., :end], inside(x)[..., end:end + conv.out_channels], self.workspace, ACTIVATED)
                end += conv.out_channels
            residuals = [(inside(x)[..., :width], 1.0)]
            if number % 3 == 2:  # the RRDB's own
                residuals = [(inside(x)[..., :width], RESIDUAL_SCALE),
                             (inside(buffers[(number - 2) % BUFFERS])[..., :width], 1.0)]  # fmt: skip
            convs[-1](x, inside(out)[..., :width], self.workspace, Epilogue(residuals=residuals))
        last = buffers[len(self.blocks) % BUFFERS][..., :width]
        out = padded(self.workspace, 'trunk', images, height, across, width, first)
        self.conv_body(last, inside(out), self.workspace, Epilogue(residuals=[(first, 1.0)]))
        return out


def _dense_block(block: nn.Module, size: int, factor: float, convolutions: Convolutions) -> list[Convolution]:
    """Its five convolutions, the last with the factor of its result in it."""
    convs = [block.conv1, block.conv2, block.conv3, block.conv4, block.conv5]
    factors = [1.0] * 4 + [factor]
    return [
        convolutions.conv(conv.weight * f, conv.bias * f, size, size, damped=True) for conv, f in zip(convs, factors)
    ]
