"""What GLEAN is compared with: a large ESRGAN, and GLEAN without its bank (paper sections 3.4 and 5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks.stylegan2 import channel_table
from glean_plus.models.blocks import INIT_SCALE, init_like_he, init_parts
from glean_plus.models.encoder import RRDBTrunk
from glean_plus.models.ops import LRELU_SLOPE
from glean_plus.models.task import RESTORATION, TaskSpec
from glean_plus.registry import MODELS


def check_sizes(in_size: int, out_size: int) -> None:
    """Raise ValueError unless ``out_size`` is ``in_size`` doubled once or more."""
    scale, rest = divmod(out_size, in_size) if in_size > 0 else (0, 0)
    if rest or scale < 2 or scale & (scale - 1):
        raise ValueError(
            f'The scale must be 2, 4, 8 or another power of two, but out_size {out_size} is not in_size {in_size} '
            'times one.'
        )


def convolutional_spec(network: Any) -> TaskSpec:
    """What a network of convolutions alone is for."""
    scale = network.out_size // network.in_size
    return TaskSpec(
        RESTORATION, network.in_size, scale, network.in_channels, network.out_channels, any_size=True
    )


@MODELS.register_module()
class ESRGANPlus(RRDBTrunk):
    """ESRGAN's generator for any power of two: (N, in_channels, H, W) -> (N, out_channels, s H, s W), about -1 to 1.

    The paper's ESRGAN+, "a larger version of ESRGAN with similar runtime to GLEAN", is not the ESRGAN+ of Rakotonirina
    & Rasoanaivo (ICASSP 2020), which adds noise. Its Table 5 has 23.97 M parameters, 225.0 G FLOPs (64 -> 1024) and
    0.13 s, where GLEAN takes 0.12 s, and says nothing of depth, width or up-sampling. With ESRGAN's own width and one
    up-sampling convolution a factor of two, 33 blocks have 23.97 M parameters and 189.6 G FLOPs in the paper's
    accounting, and 45 blocks 32.60 M and 225.0 G: no depth has both. Cost is what is to be alike, and the larger
    baseline is the stronger one, so the default is 45. Nor does the paper say whether it starts from a network trained
    on pixels alone, as ESRGAN does; here it does not.

    At 4x it is MMagic's ``RRDBNet``, and has its keys. It is fully convolutional: ``in_size`` and ``out_size`` only
    state the scale and the nominal sizes, and images of any size are taken.

    Args:
        in_size, out_size: Nominal sides of the input and the output.
        in_channels, out_channels: Channels of the input and the output.
        mid_channels: Width of the features.
        num_blocks: Residual-in-residual dense blocks (ESRGAN has 23).
        growth_channels: Growth of the dense blocks.

    Raises:
        ValueError: If the scale is no power of two, 2 or more.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        in_channels: int = 3,
        out_channels: int = 3,
        mid_channels: int = 64,
        num_blocks: int = 45,
        growth_channels: int = 32,
    ) -> None:
        check_sizes(in_size, out_size)
        super().__init__(in_channels, mid_channels, num_blocks, growth_channels)
        self.in_size, self.out_size = in_size, out_size
        self.in_channels, self.out_channels = in_channels, out_channels
        self.num_doublings = (out_size // in_size).bit_length() - 1
        for index in range(1, self.num_doublings + 1):
            self.add_module(f'conv_up{index}', nn.Conv2d(mid_channels, mid_channels, 3, 1, 1))
        self.conv_hr = nn.Conv2d(mid_channels, mid_channels, 3, 1, 1)
        self.conv_last = nn.Conv2d(mid_channels, out_channels, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(LRELU_SLOPE, inplace=True)

    task_spec = convolutional_spec

    def init_weights(self) -> None:
        """Start as ESRGAN does; the dense blocks have done so when they were built."""
        for layer in self.children():
            if isinstance(layer, nn.Conv2d):
                init_like_he(layer, INIT_SCALE)

    def forward(self, lq: Tensor) -> Tensor:
        feature = super().forward(lq)
        for index in range(1, self.num_doublings + 1):
            feature = F.interpolate(feature, scale_factor=2, mode='nearest')
            feature = self.lrelu(getattr(self, f'conv_up{index}')(feature))
        return self.conv_last(self.lrelu(self.conv_hr(feature)))


@MODELS.register_module()
class BankFreeGLEAN(nn.Module):
    """GLEAN without its bank: f_0 = E_0(x), d_0 = D_0(f_0), d_i = D_i(d_{i-1}); what Eq. 1 and 4 leave of it.

    Trained like GLEAN it shows what the bank adds. The encoder's further stages, the codes and the fusions only feed
    the bank, and are not there. That leaves it cheaper than GLEAN: ``width_ratio`` of the decoder spends the bank's
    cost on wider d at the same resolutions. The paper has no such model.

    It is fully convolutional: images of any size are taken.

    Args:
        in_size, out_size: Nominal sides of the input and the output.
        encoder: The encoder's config (default: ``GLEANEncoder`` with 23 RRDBs).
        decoder: The decoder's config (default: ``GLEANDecoder``, as wide as GLEAN's). It must need no bank.
        channels: Width at each resolution from ``in_size`` to ``out_size``, as the bank's in the GLEAN of which this
            is the baseline; StyleGAN2's published table if None.
        channel_multiplier: Of that table, 2 (config-f) or 1 (config-e). Not used with ``channels``.

    Raises:
        ValueError: If the scale is no power of two, 2 or more, the channel table lacks a resolution, or the decoder
            takes bank features.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        encoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        channels: Mapping[int, int] | None = None,
        channel_multiplier: int = 2,
    ) -> None:
        super().__init__()
        check_sizes(in_size, out_size)
        table = channel_table(channels, channel_multiplier)
        needed = [in_size << i for i in range((out_size // in_size).bit_length())]
        if missing := [res for res in needed if res not in table]:
            raise ValueError(f'The channel table {table} lacks the resolutions {missing}.')
        self.in_size, self.out_size = in_size, out_size
        self.encoder = MODELS.build(
            dict(type='GLEANEncoder') | dict(encoder or {}),
            default_args=dict(in_size=in_size, lowest_res=in_size, channels=table),
        )
        self.decoder = MODELS.build(
            dict(type='GLEANDecoder') | dict(decoder or {}),
            default_args=dict(in_size=in_size, out_size=out_size, channels=table, bank_resolutions=()),
        )
        if self.decoder.resolutions:
            raise ValueError(
                f'BankFreeGLEAN has no bank, but its decoder takes bank features at {self.decoder.resolutions}: '
                'leave out its bank_resolutions, or set them to ().'
            )
        self.in_channels, self.out_channels = self.encoder.in_channels, self.decoder.out_channels

    task_spec = convolutional_spec

    def init_weights(self) -> None:
        """Let parts that have pre-trained weights or a start of their own take it."""
        init_parts(self)

    def forward(self, lq: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', s H, s W), both about -1 to 1."""
        inputs = (lq,) if getattr(self.decoder, 'wants_input', False) else ()
        return self.decoder(self.encoder(lq)[self.in_size], None, *inputs)
