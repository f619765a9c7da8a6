"""StyleGAN2 as a latent bank (Karras et al., CVPR 2020; paper section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks.mmagic import STYLEGAN2, accepts_mmagic
from glean_plus.models.banks.style import ConstantInput, NoiseInjection, StyleBank
from glean_plus.models.containers import ModuleDict
from glean_plus.models.folding import ConvolvingLayer, FoldedConv, needed
from glean_plus.models.ops import FIR, LRELU_SLOPE, SQRT2, EqualizedLinear, modulated_conv2d, upsample_fir
from glean_plus.registry import MODELS
from glean_plus.utils.precision import at_least_float32
from glean_plus.weights.formats.layout import count, side


def stylegan2_channels(channel_multiplier: int = 2) -> dict[int, int]:
    """The published channel table: ``channel_multiplier`` 2 is config-f, 1 is config-e."""
    wide = {res: 512 for res in (4, 8, 16, 32)}
    return wide | {2**i: 2 ** (14 - i) * channel_multiplier for i in range(6, 11)}


def channel_table(channels: Mapping[int, int] | None, channel_multiplier: int) -> dict[int, int]:
    """A config's table with integers as keys, or the published one for None."""
    if channels is None:
        return stylegan2_channels(channel_multiplier)
    return {int(res): width for res, width in channels.items()}


class ModulatedConv(nn.Module):
    """3x3 (or 1x1) convolution whose input channels are scaled by an affine function of the code."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_channels: int,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        fan_in = in_channels * kernel_size**2
        self.weight_orig = nn.Parameter(torch.randn(1, out_channels, in_channels, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(fan_in)
        self.style_modulation = EqualizedLinear(style_channels, in_channels, bias_init=1.0)
        self.demodulate = demodulate
        if upsample:
            self.blur = FIR(gain=4.0)

    def forward(self, x: Tensor, code: Tensor, bias: Tensor, gain: float = 1.0) -> Tensor:
        upsample_kernel = self.blur.kernel if hasattr(self, 'blur') else None
        weight = self.weight_orig[0] * self.scale
        return modulated_conv2d(x, weight, self.style_modulation(code), bias, self.demodulate, gain, upsample_kernel)


class Bias(nn.Module):
    """Holds the bias of an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyleConv(nn.Module):
    """One style layer: modulated convolution, noise, bias and activation."""

    def __init__(self, in_channels: int, out_channels: int, style_channels: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, 3, style_channels, upsample=upsample)
        self.noise_injector = NoiseInjection()
        self.activate = Bias(out_channels)

    def forward(self, x: Tensor, code: Tensor, noise: Tensor | None) -> Tensor:
        x = self.conv(x, code, self.activate.bias * SQRT2, gain=SQRT2)
        if noise is not None:
            x = x + (self.noise_injector.weight * SQRT2 * noise).to(x.dtype)
        return F.leaky_relu(x, LRELU_SLOPE, inplace=True)


class FoldedStyleConv(ConvolvingLayer):
    """A style layer. With a constant code it is a convolution; with one for each image, a convolution between scales.

    Args:
        layer: The module.
        index: Of its code.
        noise: Its fixed noise map (1, 1, H, W).
        code: The code (1, style_channels) of all images, or None if each has its own.
        dtype: Of the maps.
    """

    affine: Tensor  # these three are not there where the code is constant
    shift: Tensor
    energy: Tensor

    def __init__(
        self, layer: StyleConv, index: int, noise: Tensor, code: Tensor | None, dtype: torch.dtype
    ) -> None:
        super().__init__(layer.noise_injector.weight * SQRT2 * noise)
        self.index, self.constant = index, code is not None
        modulation = layer.conv.style_modulation
        weight = (layer.conv.weight_orig[0] * layer.conv.scale).detach().float()             # [KCkk]
        self.register_buffer('affine', modulation.linear.weight.detach().clone())
        self.register_buffer('shift', (modulation.bias * modulation.lr_mul).detach())
        self.register_buffer('energy', weight.square().sum(dim=(2, 3)))                      # [KC], for demodulation
        self.register_buffer('bias', (layer.activate.bias * SQRT2).detach())
        if code is not None:
            scale, out_scale = self.scales(code.detach())
            weight = weight * scale[0, :, None, None] * out_scale[0, :, None, None, None]
            del self.affine, self.shift, self.energy
        fir = layer.conv.blur.kernel if hasattr(layer.conv, 'blur') else None
        bias = self.bias if self.constant else None
        self.conv = FoldedConv.of(weight, bias, dtype, None if fir is None else 'fir', fir)

    def scales(self, code: Tensor) -> tuple[Tensor, Tensor]:
        scale = F.linear(code.float(), self.affine, self.shift)
        return scale, SQRT2 * (scale.square() @ self.energy.t() + 1e-8).rsqrt()

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        if self.constant:
            x = self.conv(x)
        else:
            shift = self.bias.to(x.dtype).view(1, -1, 1, 1)
            scale, out_scale = (each.to(x.dtype)[:, :, None, None] for each in self.scales(needed(code)))
            x = torch.addcmul(shift, self.conv(x * scale), out_scale)
        return F.leaky_relu_(x if noise is None else x.add_(noise.to(x.dtype)), LRELU_SLOPE)


class ToRGB(nn.Module):
    """Features to image, added to the up-sampled image of the resolution below."""

    def __init__(self, in_channels: int, out_channels: int, style_channels: int, upsample: bool = True) -> None:
        super().__init__()
        if upsample:
            self.upsample = FIR(gain=4.0)
        self.conv = ModulatedConv(in_channels, out_channels, 1, style_channels, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, x: Tensor, code: Tensor, skip: Tensor | None = None) -> Tensor:
        x = at_least_float32(self.conv(x, code, self.bias.flatten()))
        return x if skip is None else x + upsample_fir(skip, self.upsample.kernel)


@MODELS.register_module()
class StyleGAN2Bank(StyleBank):
    """StyleGAN2's generator, whole or from a resolution on, with MMagic's state-dict keys.

    Args:
        out_size: Side of the image, a power of two from 8 on.
        start_res: First resolution that is kept. 4 keeps everything; above it, the blocks below, the constant and
            their noise do not exist, as in LightGLEAN (Eq. 10), whose bank starts at the input resolution.
        style_channels: Length of a latent code.
        noise_size: Length of the mapping network's input; ``style_channels`` if None.
        out_channels: Channels of the image.
        num_mlps: Layers of the mapping network.
        channels: Width per resolution, e.g. ``{4: 128, 8: 128, 16: 64}``; the published table if None. Values of the
            published table are not mixed in: every resolution up to ``out_size`` must be given.
        channel_multiplier: 2 for config-f, 1 for config-e; only used with the published table.
        lr_mlp: Learning-rate multiplier of the mapping network.
        mapping: Keep the mapping network. GLEAN predicts codes and LightGLEAN learns them, so neither needs it.
        rgb: Keep the ToRGB layers, which only :meth:`forward` uses.
        mix_prob: Probability of style mixing when :meth:`forward` draws the noise itself in training.
        pretrained: ``dict(checkpoint=path or URL, prefix='generator_ema')``, loaded by :meth:`init_weights`. MMagic's,
            rosinality's, BasicSR's, NVlabs' and GenForce's files are recognised.
        default_style_mode, eval_style_mode: Whether styles are mixed in training, and in evaluation: ``mix`` or
            ``single``.
        flip_channels: Reverse the order of the channels in what :meth:`forward` makes; MMagic's ``bgr2rgb``.

    The arguments of MMagic's ``StyleGAN2Generator`` are taken as well, those that a bank has no use for with the values
    that change nothing.

    Raises:
        ValueError: On sizes that are no powers of two, a channel table with a gap, or a value of one of MMagic's
            arguments that a bank cannot have.

    Example:
        >>> bank = StyleGAN2Bank(16, style_channels=8, num_mlps=1, channels={4: 8, 8: 8, 16: 8})
        >>> bank(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 16, 16])
    """

    architecture = 'StyleGAN2'
    anchors = ('constant_input.input', 'conv1.conv.style_modulation.bias')
    mmagic = STYLEGAN2
    adds_images = True

    @accepts_mmagic
    def __init__(
        self,
        out_size: int,
        start_res: int = 4,
        style_channels: int = 512,
        noise_size: int | None = None,
        out_channels: int = 3,
        num_mlps: int = 8,
        channels: Mapping[int, int] | None = None,
        channel_multiplier: int = 2,
        lr_mlp: float = 0.01,
        mapping: bool = True,
        rgb: bool = True,
        mix_prob: float = 0.9,
        pretrained: Mapping[str, Any] | None = None,
        default_style_mode: str = 'mix',
        eval_style_mode: str = 'single',
        flip_channels: bool = False,
    ) -> None:
        super().__init__(
            out_size, start_res, channel_table(channels, channel_multiplier), style_channels, noise_size, out_channels,
            num_mlps, lr_mlp, mapping, mix_prob, pretrained, default_style_mode, eval_style_mode, flip_channels,
        )  # fmt: skip
        # The keys are MMagic's: block 4 is conv1, then two convs and one ToRGB a resolution, numbered from 8 on.
        self.convs: ModuleDict[StyleConv] = ModuleDict()
        if rgb:
            self.to_rgbs: ModuleDict[ToRGB] = ModuleDict()
        for res in self.resolutions:
            width, index = self.channels[res], self._index(res)
            if res == 4:
                self.constant_input = ConstantInput(width)
                self.conv1 = StyleConv(width, width, style_channels)
                if rgb:
                    self.to_rgb1 = ToRGB(width, out_channels, style_channels, upsample=False)
            else:
                below = self.channels[res // 2]
                self.convs[str(2 * index - 2)] = StyleConv(below, width, style_channels, upsample=True)
                self.convs[str(2 * index - 1)] = StyleConv(width, width, style_channels)
                if rgb:
                    self.to_rgbs[str(index - 1)] = ToRGB(width, out_channels, style_channels)
            self._add_fixed_noise(res)

    @classmethod
    def hyperparameters(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        levels = count(state, r'to_rgbs\.(\d+)\.')
        channels = {4: state['constant_input.input'].shape[1]}
        channels |= {side(i + 1): state[f'convs.{2 * i + 1}.activate.bias'].shape[0] for i in range(levels)}
        return dict(
            out_size=side(levels),
            style_channels=state['conv1.conv.style_modulation.linear.weight_orig'].shape[1],
            out_channels=state['to_rgb1.bias'].shape[1],
            channels=channels,
            **cls._mapping_hyperparameters(state),
        )

    def layers_of(self, resolution: int) -> tuple[int, ...]:
        index = self._index(resolution)
        return (0,) if index == 0 else (2 * index - 1, 2 * index)

    def _constant(self) -> Tensor:
        return self.constant_input.input

    def _block(
        self, resolution: int, feature: Tensor, codes: Sequence[Tensor], noises: Sequence[Tensor | None]
    ) -> Tensor:
        for index, code, noise in zip(self.layers_of(resolution), codes, noises):
            feature = self._layer(index)(feature, code, noise)
        return feature

    def _layer(self, index: int) -> StyleConv:
        return self.conv1 if index == 0 else self.convs[str(index - 1)]

    def _folded_block(
        self, resolution: int, codes: Sequence[Tensor | None], dtype: torch.dtype
    ) -> list[FoldedStyleConv]:
        return [
            FoldedStyleConv(self._layer(index), index, getattr(self, f'injected_noise_{index}'), codes[index], dtype)
            for index in self.layers_of(resolution)
        ]

    def to_rgb(
        self, resolution: int, codes: Sequence[Tensor | None], feature: Tensor, skip: Tensor | None = None
    ) -> Tensor:
        """Image (N, out_channels, H, W) of ``resolution`` from its feature and the image of half the size."""
        index = self._index(resolution)
        layer = self.to_rgb1 if index == 0 else self.to_rgbs[str(index - 1)]
        return layer(feature, codes[self.layers_of(resolution)[-1] + 1], skip)

    def picture(self, codes: Sequence[Tensor | None], features: Mapping[int, Tensor]) -> Tensor:
        self._need('to_rgbs', 'pictures', 'rgb=True')
        first, *others = self.resolutions
        image = self.to_rgb(first, codes, features[first])
        for res in others:
            image = self.to_rgb(res, codes, features[res], image)
        return image

    def forward(
        self,
        styles: Tensor | Sequence[Tensor] | Callable[[tuple[int, int]], Tensor] | None = None,
        num_batches: int = -1,
        return_noise: bool = False,
        return_latents: bool = False,
        inject_index: int | None = None,
        truncation: float = 1.0,
        truncation_latent: Tensor | None = None,
        input_is_latent: bool = False,
        injected_noise: Sequence[Tensor | None] | None = None,
        add_noise: bool = True,
        randomize_noise: bool = True,
        label: Tensor | None = None,
        update_ws: bool = False,
        return_features: bool = False,
        feat_idx: int = 5,
        return_latent_only: bool = False,
    ) -> Tensor | dict:
        """Make images; the interface is that of MMagic's ``StyleGANv2Generator``, so that its trainer works.

        Args:
            styles: Noise (N, noise_size), or codes (N, style_channels) or (N, num_latents, style_channels) with
                ``input_is_latent``; a pair of them mixes styles; a function of a shape, or None for a normal
                distribution, draws ``num_batches`` of them and mixes with probability ``mix_prob`` in training.
            num_batches: How many to draw.
            return_noise, return_latents: Return a dict of ``fake_img``, ``latent``, ``inject_index``, ``noise_batch``.
            inject_index: First layer that takes the second style; random if None.
            truncation: Below 1, codes are drawn towards ``truncation_latent`` by this factor.
            truncation_latent: (style_channels,); the mean code if None.
            input_is_latent: ``styles`` are codes.
            injected_noise: One map per style layer.
            add_noise: Add noise at all.
            randomize_noise: Draw new noise; otherwise use the fixed noise of the bank.
            label, update_ws: There are neither classes nor a mean code that is tracked: None and False.
            return_features: With ``return_noise`` or ``return_latents``, add ``feats`` to the dict: the features
                (N, channels[res], res, res) of the block at index ``feat_idx``, 0 for that at 4.
            feat_idx: See ``return_features``.
            return_latent_only: Return the codes (N, num_latents, style_channels) alone.

        Returns:
            Images (N, out_channels, out_size, out_size), about -1 to 1, or the dict, or the codes.

        Raises:
            ValueError: On a label, ``update_ws``, or a ``feat_idx`` that there is not.
        """
        if label is not None or update_ws:
            raise ValueError('This bank has neither classes nor a tracked mean code: leave label and update_ws out.')
        drawn = self._draw(styles, num_batches, inject_index, truncation, truncation_latent, input_is_latent)
        if return_latent_only:
            return drawn.latent
        codes = drawn.latent.unbind(dim=1)
        features: list[Tensor] = []
        feature: Tensor | None = None
        skip: Tensor | None = None
        for res in self.resolutions:
            noises = self._noises(res, drawn.latent, injected_noise, add_noise, randomize_noise)
            feature = self.step(res, codes, feature, noises)
            features.append(feature)
            image = skip = self.to_rgb(res, codes, feature, skip)
        return self._result(
            image, drawn, features, return_noise or return_latents, feat_idx if return_features else None
        )
