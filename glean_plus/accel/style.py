"""StyleGAN2's blocks with what is constant of them resolved: scales, demodulation, FIR filter, noise and bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor

from glean_plus.accel.convolutions import Convolution, Convolutions
from glean_plus.accel.epilogue import Epilogue
from glean_plus.accel.maps import inside, padded
from glean_plus.accel.winograd import Workspace
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
        convolutions: What makes its convolution.

    Raises:
        ValueError: If its FIR filter is not StyleGAN2's.
    """

    def __init__(self, layer: StyleConv, noise: Tensor, code: Tensor | None, convolutions: Convolutions) -> None:
        self.modulation, self.constant, self.dtype = layer.conv.style_modulation, code is not None, convolutions.dtype
        weight = layer.conv.weight_orig[0] * layer.conv.scale
        self.energy = weight.float().square().sum(dim=(2, 3))  # (K, C), of which the demodulation is made
        if code is not None:
            scale, out_scale = self._scales(code)
            weight = weight * scale[0, :, None, None] * out_scale[0, :, None, None, None]
        self.noise = (layer.noise_injector.weight * SQRT2 * noise[0, 0]).unsqueeze(-1)  # (H, W, 1)
        bias, (height, width) = layer.activate.bias * SQRT2, noise.shape[-2:]
        self.conv: Convolution
        if hasattr(layer.conv, 'blur'):
            if not torch.allclose(layer.conv.blur.kernel.cpu(), fir_kernel(gain=4.0)):
                raise ValueError('Only the FIR filter (1, 3, 3, 1) can be folded, but this bank has another one.')
            self.conv = convolutions.up(weight, bias, height, width)
        else:
            self.conv = convolutions.conv(weight, bias, height, width)

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
        place: tuple[int, int] = (0, 0),
        in_scale: Tensor | None = None,
        out_scale: Tensor | None = None,
        then: Tensor | None = None,
    ) -> None:
        """x (N, h + 2, w + 2, C) -> ``out`` (N, H, W, K).

        Args:
            x, out, workspace: As for a convolution.
            place: Row and column of the whole map that ``out`` begins with, by which the noise is continued.
            in_scale, out_scale: What :meth:`scales` makes of codes, where they are the pictures' own; None for
                ``in_scale`` if x has it already.
            then: (N, 1, 1, K), multiplies the result at the end: the next layer's ``in_scale``.
        """
        noise = self._noise(place, out.shape[1:3])
        self.conv(x, out, workspace, Epilogue(out_scale, noise, LRELU_SLOPE, then), in_scale)

    def _noise(self, place: tuple[int, int], size: Sequence[int]) -> Tensor:
        """A part of the noise, (H, W, 1), which is repeated without end."""
        if all(first + length <= side for first, length, side in zip(place, size, self.noise.shape)):
            return self.noise[place[0]:place[0] + size[0], place[1]:place[1] + size[1]]
        rows, columns = (
            torch.arange(first, first + length, device=self.noise.device) % side
            for first, length, side in zip(place, size, self.noise.shape)
        )
        return self.noise[rows][:, columns]


class StyleBlock:
    """The two style layers of a resolution above 4: g of half the size -> g_i (S_i of Eq. 3 and 10).

    Args:
        bank: The bank.
        resolution: Where the block ends.
        codes: One a layer of the whole bank, (1, style_channels), if all pictures have the same; None if not.
        convolutions: What makes its convolutions.
    """

    def __init__(
        self,
        bank: StyleGAN2Bank,
        resolution: int,
        codes: Sequence[Tensor | None] | None,
        convolutions: Convolutions,
    ) -> None:
        self.resolution, self.channels = resolution, bank.channels[resolution]
        self.indices = bank.layers_of(resolution)
        self.layers = [
            StyleLayer(
                bank.convs[str(index - 1)], getattr(bank, f'injected_noise_{index}'),
                None if codes is None else codes[index], convolutions,
            ) for index in self.indices
        ]  # fmt: skip

    def scales(self, codes: Sequence[Tensor | None]) -> Scales:
        """What codes make of pictures' own codes: for each layer the scales of its inputs and of its results."""
        if self.layers[0].constant:
            return None
        return [layer.scales(codes[index]) for layer, index in zip(self.layers, self.indices)]

    def __call__(
        self,
        g: Tensor,
        out: Tensor,
        scales: Scales,
        workspace: Workspace,
        place: tuple[int, int] = (0, 0),
        name: str = 'between',
    ) -> None:
        """g (N, h + 2, w + 2, C) -> ``out`` (N, 2 h, 2 w, channels).

        Args:
            g: The map with its border, or some of its rows with a neighbour above and below. The first and the last row
                of the result are then not right, as their own neighbours are missing.
            out: Where to write.
            scales: Of :meth:`scales`.
            workspace: For what is computed on the way.
            place: Row and column of the whole result that ``out`` begins with.
            name: Of the memory between the two layers.
        """
        images, height, width = g.shape[0], g.shape[1] - 2, g.shape[2] - 2
        between = padded(workspace, name, images, 2 * height, 2 * width, self.channels, like=g)
        first, second = self.layers
        if scales is None:
            first(g, inside(between), workspace, place)
            second(between, out, workspace, place)
        else:
            (in_1, out_1), (in_2, out_2) = scales
            first(g, inside(between), workspace, place, in_1, out_1, in_2)
            second(between, out, workspace, place, out_scale=out_2)
