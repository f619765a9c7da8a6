"""The encoder: features of the input at falling resolutions (paper section 3.1, Eq. 1)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from glean_plus.models.blocks import RRDB
from glean_plus.models.checkpointing import again
from glean_plus.models.containers import Sequential
from glean_plus.models.contracts import Encoder
from glean_plus.models.ops import LRELU_SLOPE
from glean_plus.registry import MODELS


class RRDBTrunk(nn.Module):
    """ESRGAN without its up-sampling: residual-in-residual dense blocks at the input's resolution."""

    def __init__(self, in_channels: int, mid_channels: int, num_blocks: int, growth_channels: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(in_channels, mid_channels, 3, 1, 1)
        self.body = Sequential(*(RRDB(mid_channels, growth_channels) for _ in range(num_blocks)))
        self.conv_body = nn.Conv2d(mid_channels, mid_channels, 3, 1, 1)
        self.recompute = False

    def forward(self, x: Tensor) -> Tensor:
        first = feature = self.conv_first(x)
        for block in self.body:
            feature = again(block, feature) if self.recompute else block(feature)
        return first + self.conv_body(feature)


def conv_act(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """3x3 convolution and leaky ReLU."""
    return [nn.Conv2d(in_channels, out_channels, 3, stride, 1), nn.LeakyReLU(LRELU_SLOPE, inplace=True)]


@MODELS.register_module()
class GLEANEncoder(Encoder):
    """E_0 ... E_N: f_0 from an RRDB trunk and a convolution, then f_i = E_i(f_{i-1}), each half the size (Eq. 1).

    Args:
        in_size: Nominal side of the input.
        lowest_res: Resolution of the last feature: 4 for GLEAN; for LightGLEAN half of where the bank starts, whose
            first block doubles it again.
        channels: Width of the feature at each resolution; GLEAN takes the bank's.
        in_channels: Channels of the input.
        rrdb_channels: Width of the trunk.
        num_rrdbs: Blocks of the trunk (23; the paper's footnote 1 loses 0.02 dB with 10).
        growth_channels: Growth of the dense blocks.
    """

    def __init__(
        self,
        in_size: int,
        lowest_res: int,
        channels: Mapping[int, int],
        in_channels: int = 3,
        rrdb_channels: int = 64,
        num_rrdbs: int = 23,
        growth_channels: int = 32,
    ) -> None:
        super().__init__()
        resolutions = [in_size]
        while resolutions[-1] > lowest_res:
            resolutions.append(resolutions[-1] // 2)
        if resolutions[-1] != lowest_res:
            raise ValueError(f'lowest_res {lowest_res} cannot be reached by halving in_size {in_size}.')
        self.resolutions = tuple(resolutions)
        self.in_channels = in_channels
        trunk = RRDBTrunk(in_channels, rrdb_channels, num_rrdbs, growth_channels)
        self.stages = nn.ModuleList([nn.Sequential(trunk, *conv_act(rrdb_channels, channels[in_size]))])
        for above, res in zip(resolutions, resolutions[1:]):
            width = channels[res]
            self.stages.append(nn.Sequential(*conv_act(channels[above], width, stride=2), *conv_act(width, width)))

    def forward(self, lq: Tensor) -> dict[int, Tensor]:
        """(N, in_channels, H, W) -> {resolution: (N, channels[resolution], h, w)}, the nominal resolutions as keys."""
        features: dict[int, Tensor] = {}
        feature = lq
        for res, stage in zip(self.resolutions, self.stages):
            feature = stage(feature)
            features[res] = feature
        return features
