"""The decoder: fuses the encoder's and the bank's features into the image (paper section 3.3, Eq. 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from glean_plus.models.blocks import PixelShuffleUp
from glean_plus.models.containers import ModuleList
from glean_plus.models.contracts import Decoder
from glean_plus.models.ops import LRELU_SLOPE
from glean_plus.models.task import RESTORATION
from glean_plus.registry import MODELS


def enlarged(lq: Tensor, scale: int) -> Tensor:
    """The input enlarged by bicubic interpolation: what a residual decoder's output is added to."""
    return nn.functional.interpolate(lq, scale_factor=scale, mode='bicubic', align_corners=False)


@MODELS.register_module()
class GLEANDecoder(Decoder):
    """d_0 = D_0(f_0), d_i = D_i([d_{i-1}, g_{N-1+i}]): 3x3 convolutions, each followed by a pixel shuffle but the last.

    Its ``resolutions`` are those whose bank features it takes, its ``task`` is what the whole network is for.

    Args:
        in_size: Nominal side of the input.
        out_size: Nominal side of the output.
        channels: The bank's channels at each resolution.
        out_channels: Channels of the image.
        width_ratio: Width of d at each resolution as a share of the bank's: 1 in GLEAN, a quarter in LightGLEAN.
        last_channels: Width of a hidden layer before the output, as in MMagic's GLEAN; none if None, as in LightGLEAN.
        bank_resolutions: Resolutions at which the bank's feature joins d, all above ``in_size`` if None. Where it does
            not, d_i = D_i(d_{i-1}), and nothing of the bank's width is computed.
        residual: Predict the difference to the bicubically enlarged input instead of the image. The paper's decoder
            does not; with it, a short training keeps what the input shows.

    Raises:
        ValueError: If the output is not larger than the input, or the decoder has no such resolution.
    """

    task = RESTORATION

    def __init__(
        self,
        in_size: int,
        out_size: int,
        channels: Mapping[int, int],
        out_channels: int = 3,
        width_ratio: float = 1.0,
        last_channels: int | None = 64,
        bank_resolutions: Sequence[int] | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.wants_input = residual
        self.scale = out_size // in_size
        if out_size <= in_size:
            raise ValueError(
                f'GLEANDecoder enlarges: out_size must be larger than in_size, but they are {out_size} and {in_size}. '
                'For colorization, where they are equal, take ColorizationHead.'
            )
        self.out_channels = out_channels
        self.last: nn.Module
        self.stages: ModuleList[PixelShuffleUp] = ModuleList()
        self.stage_resolutions: list[int] = []
        self.resolutions = resolutions = list[int]()
        res, width = in_size, channels[in_size]
        while res < out_size:
            res *= 2
            out = max(1, round(channels[res] * width_ratio))
            self.stages.append(PixelShuffleUp(width, out))
            self.stage_resolutions.append(res)
            width = out
            if bank_resolutions is None or res in bank_resolutions:
                resolutions.append(res)
                width += channels[res]
        if unknown := sorted({*(bank_resolutions or ())} - {*self.resolutions}):
            raise ValueError(
                f'bank_resolutions has {unknown}, but a decoder from {in_size} to {out_size} has the resolutions '
                f'{self.stage_resolutions}.'
            )
        if last_channels is None:
            self.last = nn.Conv2d(width, out_channels, 3, 1, 1)
        else:
            self.last = nn.Sequential(
                nn.Conv2d(width, last_channels, 3, 1, 1),
                nn.LeakyReLU(LRELU_SLOPE, inplace=True),
                nn.Conv2d(last_channels, out_channels, 3, 1, 1),
            )

    def forward(
        self, f_0: Tensor, bank_features: Mapping[int, Tensor] | None = None, lq: Tensor | None = None
    ) -> Tensor:
        """f_0 (N, C, H, W), the bank's features at :attr:`resolutions`, the input if residual -> image, -1 to 1."""
        bank_features = bank_features or {}
        d = f_0
        for res, stage in zip(self.stage_resolutions, self.stages):
            d = stage(d)
            if res in self.resolutions:
                d = torch.cat([d, bank_features[res]], dim=1)
        image = self.last(d)
        return image if lq is None else image + enlarged(lq, self.scale)
