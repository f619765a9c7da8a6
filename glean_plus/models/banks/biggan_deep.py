"""BigGAN-deep as a latent bank (Brock et al., ICLR 2019, appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glean_plus.models.banks.biggan import BigGANBase
from glean_plus.models.banks.biggan_layers import (
    ConditionalBatchNorm,
    Conv,
    FoldedNorm,
    FoldedNormedConv,
    folded_conv,
    upsample,
)
from glean_plus.models.banks.mmagic import BIGGAN_DEEP
from glean_plus.models.folding import FoldedLayer
from glean_plus.models.spectral_norm import SpectralOptions
from glean_plus.registry import MODELS

# A block works on this share of the channels that come in.
BOTTLENECK = 4


class DeepResBlock(nn.Module):
    """BigGAN-deep's block: a bottleneck of four convolutions, and a shortcut without any.

    The shortcut drops the channels that are too many. ``up`` doubles the size.
    """

    def __init__(
        self, in_channels: int, out_channels: int, code_dim: int, sn: SpectralOptions, up: bool
    ) -> None:
        super().__init__()
        if out_channels > in_channels or in_channels < BOTTLENECK:
            raise ValueError(
                f'A block of BigGAN-deep takes {BOTTLENECK} channels or more and cannot widen; {in_channels} to '
                f'{out_channels} is not possible.'
            )
        hidden = in_channels // BOTTLENECK
        self.bn1 = ConditionalBatchNorm(in_channels, code_dim, sn)
        self.conv1 = Conv(in_channels, hidden, 1, sn)
        self.bn2 = ConditionalBatchNorm(hidden, code_dim, sn)
        self.conv2 = Conv(hidden, hidden, 3, sn)
        self.bn3 = ConditionalBatchNorm(hidden, code_dim, sn)
        self.conv3 = Conv(hidden, hidden, 3, sn)
        self.bn4 = ConditionalBatchNorm(hidden, code_dim, sn)
        self.conv4 = Conv(hidden, out_channels, 1, sn)
        self.out_channels, self.up = out_channels, up

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.bn2(self.conv1(self.bn1(x, code)), code)
        x = x[:, : self.out_channels]
        if self.up:
            y, x = upsample(y), upsample(x)
        y = self.conv3(self.bn3(self.conv2(y), code))
        return x + self.conv4(self.bn4(y, code))


class FoldedDeepResBlock(FoldedLayer):
    """A :class:`DeepResBlock`; arguments as of :class:`FoldedNorm`."""

    def __init__(self, block: DeepResBlock, index: int, code: Tensor | None, roll: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.index, self.up, self.out_channels = index, block.up, block.out_channels
        first, *norms = (FoldedNorm(norm, code, roll) for norm in (block.bn1, block.bn2, block.bn3, block.bn4))
        convs = (block.conv1, block.conv2, block.conv3)
        self.norm = first
        self.convs = nn.ModuleList(
            FoldedNormedConv(conv, norm, dtype, up=block.up and conv is block.conv2) for conv, norm in zip(convs, norms)
        )
        self.last = folded_conv(block.conv4, dtype)

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        y = self.norm(x, code)
        for conv in self.convs:
            y = conv(y, code)
        x = x[:, :self.out_channels]
        return self.last(y).add_(upsample(x) if self.up else x)


@MODELS.register_module()
class BigGANDeepBank(BigGANBase):
    """BigGAN-deep's generator, whole or from a resolution on, with MMagic's state-dict keys.

    Every code is [class embedding | the whole noise], that of layer 0, the linear one, too. Each resolution has two
    blocks, layers 2k - 1 and 2k at 4 * 2**k: the first still works at half the size, the second doubles it. (The
    weights take noise and embedding the other way round; the bank sees to that.) The arguments are those of
    :class:`BigGANBase`; published are 128 for ``noise_size`` and ``base_channels``, ``torch`` for ``sn_style``, and 128
    to 512 px for ``out_size``. Widths must not grow with the resolution.

    Example:
        >>> channels = {4: 8, 8: 8, 16: 8}
        >>> bank = BigGANDeepBank(16, noise_size=6, num_classes=3, shared_dim=4, channels=channels, attention=())
        >>> bank(torch.zeros(2, 6), torch.tensor([0, 2])).shape
        torch.Size([2, 3, 16, 16])
    """

    architecture = 'BigGAN-deep'
    anchors = ('noise2feat.bias', 'conv_blocks.0.conv4.conv.bias')
    mmagic = BIGGAN_DEEP
    published = dict(noise_size=128, base_channels=128, sn_style='torch')
    blocks_per_resolution = 2
    widening = 'conv4'
    folded_block = FoldedDeepResBlock
    splits_noise = False

    def _blocks(self, below: int, width: int, code_dim: int, sn: SpectralOptions) -> list[nn.Module]:
        return [DeepResBlock(below, below, code_dim, sn, up=False), DeepResBlock(below, width, code_dim, sn, up=True)]

    def _start(self, code: Tensor) -> Tensor:
        # The channels come last in the layer's output.
        return self.noise2feat(self.conditioned(code)).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2).contiguous()

    def conditioned(self, code: Tensor) -> Tensor:
        return code.roll(-self.shared_dim, dims=1)

    def _channels_last(self, rows: Tensor) -> Tensor:
        return rows
