"""What takes the decoder's place in other tasks than super-resolution (appendix A)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from glean_plus.models.contracts import Decoder
from glean_plus.models.encoder import conv_act
from glean_plus.models.task import COLORIZATION
from glean_plus.registry import MODELS
from glean_plus.utils.color import lab_to_rgb, to_lab_lightness
from glean_plus.utils.precision import at_least_float32

# tanh reaches 0.85 of it at sRGB's most saturated colour, a blue of b = -108: no colour lies where tanh is flat.
AB_RANGE = 128


@MODELS.register_module()
class ColorizationHead(Decoder):
    """Four convolutions predict a and b of Lab, which join the input's L (section 5.4, appendix A).

    They take f_0 and the bank's last feature side by side: what the decoder takes at its last resolution (Eq. 4). The
    paper gives neither their width nor the range of a and b: 64 is the width of the decoder's hidden layer, and
    a, b = 128 tanh(x) bounds colours, whose conversion to RGB is cubic.

    Evaluated, colours that no sRGB has are desaturated at constant lightness, so that the result has the input's L.
    In training they are left as they are, and their losses have gradients that lead back into the gamut.

    Args:
        in_size, out_size: Nominal sides of the input and the output, which are the same here.
        channels: The bank's channels at each resolution.
        mid_channels: Width between the convolutions.

    Raises:
        ValueError: If the sizes differ; (when called) on an input that is no lightness.
    """

    wants_input = True
    task = COLORIZATION
    out_channels = 3

    def __init__(self, in_size: int, out_size: int, channels: Mapping[int, int], mid_channels: int = 64) -> None:
        super().__init__()
        if in_size != out_size:
            raise ValueError(
                f'ColorizationHead gives an image of the size of its input, but in_size is {in_size} and the bank '
                f"makes {out_size} px: set in_size to the bank's out_size."
            )
        self.resolutions = [out_size]
        self.convs = nn.Sequential(
            *conv_act(2 * channels[out_size], mid_channels),
            *conv_act(mid_channels, mid_channels),
            *conv_act(mid_channels, mid_channels),
            nn.Conv2d(mid_channels, 2, 3, 1, 1),
        )

    def forward(self, f_0: Tensor, bank_features: Mapping[int, Tensor], lightness: Tensor) -> Tensor:
        """f_0 and g (N, C, H, W) and lightness (N, 1, H, W), L / 50 - 1 -> RGB (N, 3, H, W), -1 to 1."""
        if lightness.shape[1] != 1:
            raise ValueError(
                f'Colorization takes lightness, one channel, but the input has {lightness.shape[1]}: make it with '
                "LabLightness in the pipeline, and set encoder=dict(in_channels=1) in the generator."
            )
        x = torch.cat([f_0, bank_features[self.resolutions[0]]], dim=1)
        ab = AB_RANGE * torch.tanh(at_least_float32(self.convs(x)))
        lab = torch.cat([to_lab_lightness(lightness), ab], dim=1)
        return 2 * lab_to_rgb(lab, into_gamut=not self.training) - 1
