"""StyleGAN2's blocks with what is constant of them resolved: scales, demodulation, FIR filter, noise and bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.inference.conv import Conv3x3, UpConv
from glean_plus.inference.maps import inside, padded
from glean_plus.inference.winograd import Workspace
from glean_plus.models.banks.stylegan2 import StyleConv, StyleGAN2Bank
from glean_plus.models.ops import LRELU_SLOPE, SQRT2, fir_kernel

# For each layer the scales of its inputs and of its results; None where all pictures have the same codes.
Scales = Optional[list[tuple[Tensor, Tensor]]]


class StyleLayer:
    """One style layer. With a constant code it is a convolution; with a code for each picture, one between two scales.

    Args:
        layer: The module.
        noise: Its fixed noise (1, 1, H, W).
        code: The code (1, style_channels) of all pictures, or None if each has its own.
        dtype: Of the maps.

    Raises:
        ValueError: If its FIR filter is not StyleGAN2's.
    """

    def __init__(self, layer: StyleConv, noise: Tensor, code: Tensor | None, dtype: torch.dtype) -> None:
        self.modulation, self.constant, self.dtype = layer.conv.style_modulation, code is not None, dtype
        weight = layer.conv.weight_orig[0] * layer.conv.scale
        self.energy = weight.float().square().sum(dim=(2, 3))  # (K, C), of which the demodulation is made
        self.bias = layer.activate.bias * SQRT2
        if code is not None:
            scale, out_scale = self._scales(code)
            weight = weight * scale[0, :, None, None] * out_scale[0, :, None, None, None]
        self.noise = (layer.noise_injector.weight * SQRT2 * noise[0, 0]).to(dtype).unsqueeze(-1)  # (H, W, 1)
        self.conv: Conv3x3 | UpConv
        if hasattr(layer.conv, 'blur'):
            if not torch.allclose(layer.conv.blur.kernel.cpu(), fir_kernel(gain=4.0)):
                raise ValueError('Only the FIR filter (1, 3, 3, 1) can be folded, but this bank has another one.')
            self.conv = UpConv(weight, dtype)
        else:
            self.conv = Conv3x3(weight, self.bias if self.constant else None, dtype, min(noise.shape[-2:]))
        self.bias = self.bias.to(dtype)
        self.adds_bias = not (self.constant and isinstance(self.conv, Conv3x3))

    def scales(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, style_channels) -> scales of the inputs (N, 1, 1, C) and of the results (N, 1, 1, K)."""
        scale, out_scale = self._scales(code)
        return scale[:, None, None].to(self.dtype), out_scale[:, None, None].to(self.dtype)

    def _scales(self, code: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.modulation(code).float()
        return scale, SQRT2 * (scale.square() @ self.energy.t() + 1e-8).rsqrt()

    def __call__(
        self,
        x: Tensor,
        out: Tensor,
        workspace: Workspace,
        out_scale: Tensor | None = None,
        then: Tensor | None = None,
        row: int = 0,
    ) -> None:
        """x (N, h + 2, w + 2, C), scaled where codes are the pictures' own -> ``out`` (N, H, W, K).

        Args:
            x, out, workspace: As for a convolution.
            out_scale: (N, 1, 1, K), the demodulation, where codes are the pictures' own.
            then: (N, 1, 1, K), multiplies the result at the end: the scale of the next layer's input.
            row: Which row of the whole map ``out`` begins with.
        """

        def finish(part: Tensor, top: int) -> None:
            if out_scale is not None:
                torch.addcmul(self.bias, part, out_scale, out=part)
            elif self.adds_bias:
                part.add_(self.bias)
            part.add_(self.noise[row + top:row + top + part.shape[1]])
            F.leaky_relu_(part, LRELU_SLOPE)
            if then is not None:
                part.mul_(then)

        self.conv(x, out, workspace, finish)


class StyleBlock:
    """The two style layers of a resolution above 4: g of half the size -> g_i (S_i of Eq. 3 and 10).

    Args:
        bank: The bank.
        resolution: Where the block ends.
        codes: One a layer of the whole bank, (1, style_channels), if all pictures have the same; None if not.
        dtype: Of the maps.
    """

    def __init__(
        self, bank: StyleGAN2Bank, resolution: int, codes: Sequence[Tensor | None] | None, dtype: torch.dtype
    ) -> None:
        self.resolution, self.channels = resolution, bank.channels[resolution]
        self.indices = bank.layers_of(resolution)
        self.layers = [
            StyleLayer(
                bank.convs[str(index - 1)], getattr(bank, f'injected_noise_{index}'),
                None if codes is None else codes[index], dtype,
            ) for index in self.indices
        ]  # fmt: skip

    def scales(self, codes: Sequence[Tensor | None]) -> Scales:
        """What codes make of pictures' own codes: for each layer the scales of its inputs and of its results."""
        if self.layers[0].constant:
            return None
        return [layer.scales(codes[index]) for layer, index in zip(self.layers, self.indices)]

    def scale_input(self, g: Tensor, scales: Scales) -> None:
        """Scale a map (N, H, W, C) in place, for :meth:`__call__`."""
        if scales is not None:
            g.mul_(scales[0][0])

    def __call__(self, g: Tensor, out: Tensor, scales: Scales, workspace: Workspace, row: int = 0) -> None:
        """g (N, h + 2, w + 2, C) after :meth:`scale_input` -> ``out`` (N, 2 h, 2 w, channels).

        Args:
            g: The map with its border, or some of its rows with a neighbour above and below. The first and the last row
                of the result are then not right, as their own neighbours are missing.
            out: Where to write.
            scales: Of :meth:`scales`.
            workspace: For what is computed on the way.
            row: Which row of the whole result ``out`` begins with.
        """
        first, second = self.layers
        images, height, width = g.shape[0], g.shape[1] - 2, g.shape[2] - 2
        between = padded(workspace, 'between', images, 2 * height, 2 * width, self.channels, like=g)
        if scales is None:
            first(g, inside(between), workspace, row=row)
            second(between, out, workspace, row=row)
        else:
            (_, out_1), (scale_2, out_2) = scales
            first(g, inside(between), workspace, out_1, scale_2, row)
            second(between, out, workspace, out_2, row=row)
