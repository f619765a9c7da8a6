"""StyleGAN2 as a latent bank (Karras et al., CVPR 2020; paper section 3.2)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmagic.registry import MODELS
from torch import Tensor, nn

from glean_plus.models.banks.base import LatentBank
from glean_plus.models.ops import LRELU_SLOPE, SQRT2, EqualizedLinear, fir_kernel, modulated_conv2d, upsample_fir
from glean_plus.weights import select_prefix


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


class FIR(nn.Module):
    """A FIR kernel as a buffer, so that it travels with the weights."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer('kernel', fir_kernel(gain=gain))


class NoiseInjection(nn.Module):
    """Holds the learned strength of the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


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


class ToRGB(nn.Module):
    """Features to picture, added to the up-sampled picture of the resolution below."""

    def __init__(self, in_channels: int, out_channels: int, style_channels: int, upsample: bool = True) -> None:
        super().__init__()
        if upsample:
            self.upsample = FIR(gain=4.0)
        self.conv = ModulatedConv(in_channels, out_channels, 1, style_channels, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, x: Tensor, code: Tensor, skip: Tensor | None = None) -> Tensor:
        x = self.conv(x, code, self.bias.flatten()).float()
        return x if skip is None else x + upsample_fir(skip, self.upsample.kernel)


class ConstantInput(nn.Module):
    """The learned 4x4 feature that a whole bank starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class PixelNorm(nn.Module):
    """Scales each vector to unit mean square over axis 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(dim=1, keepdim=True) + 1e-6).rsqrt()


@MODELS.register_module()
class StyleGAN2Bank(LatentBank):
    """StyleGAN2's generator, whole or from a resolution on, with MMagic's state-dict keys.

    Args:
        out_size: Side of the picture, a power of two from 8 on.
        start_res: First resolution that is kept. 4 keeps everything; above it, the blocks below, the constant and
            their noise do not exist, as in LightGLEAN (Eq. 10), whose bank starts at the input resolution.
        style_channels: Length of a latent code.
        noise_size: Length of the mapping network's input; ``style_channels`` if None.
        out_channels: Channels of the picture.
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

    Raises:
        ValueError: On sizes that are no powers of two, or a channel table with a gap.
    """

    architecture = 'StyleGAN2'
    left_out = {
        'style_mapping.': 'mapping network (codes do not come from noise)',
        'to_rgb': 'ToRGB (the decoder makes the picture)',
    }

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
    ) -> None:
        super().__init__()
        self.pretrained = pretrained
        if out_size < 8 or out_size & (out_size - 1):
            raise ValueError(f'out_size must be a power of two, 8 or more, but is {out_size}.')
        whole = [2**i for i in range(2, int(math.log2(out_size)) + 1)]
        if start_res not in whole:
            raise ValueError(f'start_res must be one of {whole}, but is {start_res}.')
        table = channel_table(channels, channel_multiplier)
        missing = [res for res in whole if res not in table]
        if missing:
            raise ValueError(f'The channel table {table} lacks the resolutions {missing}; out_size is {out_size}.')

        self.out_size = out_size
        self.start_res = start_res
        self.style_channels = style_channels
        self.noise_size = style_channels if noise_size is None else noise_size
        self.channels = {res: table[res] for res in whole}
        self.resolutions = tuple(res for res in whole if res >= start_res)
        self.num_latents = 2 * len(whole)
        self.code_dims = (style_channels,) * self.num_latents
        self.class_dims = (0,) * self.num_latents
        self.layers = tuple(layer for res in self.resolutions for layer in self._layers(res))
        self.num_mlps, self.lr_mlp, self.out_channels = num_mlps, lr_mlp, out_channels
        self.mix_prob = mix_prob
        self.__dict__['_loaded_mapping'] = None

        if mapping:
            self.style_mapping = self._mapping_network()
        # The keys are MMagic's: block 4 is conv1, then two convs and one ToRGB a resolution, numbered from 8 on.
        self.convs = nn.ModuleDict()
        if rgb:
            self.to_rgbs = nn.ModuleDict()
        for index, res in enumerate(whole):
            if res < start_res:
                continue
            width = table[res]
            if res == 4:
                self.constant_input = ConstantInput(width)
                self.conv1 = StyleConv(width, width, style_channels)
                if rgb:
                    self.to_rgb1 = ToRGB(width, out_channels, style_channels, upsample=False)
            else:
                below = table[res // 2]
                self.convs[str(2 * index - 2)] = StyleConv(below, width, style_channels, upsample=True)
                self.convs[str(2 * index - 1)] = StyleConv(width, width, style_channels)
                if rgb:
                    self.to_rgbs[str(index - 1)] = ToRGB(width, out_channels, style_channels)
            for layer in self._layers(res):
                self.register_buffer(f'injected_noise_{layer}', torch.randn(1, 1, res, res))

    @staticmethod
    def _layers(resolution: int) -> tuple[int, ...]:
        """Indices of a resolution's style layers, which are also those of their noise and codes."""
        index = int(math.log2(resolution)) - 2
        return (0,) if index == 0 else (2 * index - 1, 2 * index)

    def step(
        self,
        resolution: int,
        codes: Sequence[Tensor],
        feature: Tensor | None = None,
        noises: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """See :meth:`LatentBank.step`. ``noises`` replaces the bank's own fixed noise, one map (N or 1, 1, H, W) for
        each style layer of this block; None in place of a map adds none."""
        layers = self._layers(resolution)
        if noises is None:
            noises = [getattr(self, f'injected_noise_{layer}') for layer in layers]
        if resolution == 4:
            if feature is None:
                feature = self.constant_input.input.expand(codes[0].shape[0], -1, -1, -1)
            return self.conv1(feature, codes[0], noises[0])
        if feature is None:
            raise ValueError(f'The block at {resolution} needs a feature of the resolution below; only 4 needs none.')
        g: Tensor = feature
        for layer, noise in zip(layers, noises):
            g = self.convs[str(layer - 1)](g, codes[layer], noise)
        return g

    def to_rgb(self, resolution: int, codes: Sequence[Tensor], feature: Tensor, skip: Tensor | None = None) -> Tensor:
        """Picture (N, out_channels, H, W) of ``resolution`` from its feature and the picture of half the size."""
        index = int(math.log2(resolution)) - 2
        layer = self.to_rgb1 if index == 0 else self.to_rgbs[str(index - 1)]
        return layer(feature, codes[self._layers(resolution)[-1] + 1], skip)

    def _mapping_network(self) -> nn.Sequential:
        widths = [self.noise_size] + [self.style_channels] * self.num_mlps
        return nn.Sequential(
            PixelNorm(),
            *(EqualizedLinear(i, o, lr_mul=self.lr_mlp, activate=True) for i, o in zip(widths, widths[1:])),
        )

    def mean_codes(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        return [self.mean_code(num_samples, seed)] * self.num_latents

    def mean_code(self, num_samples: int = 4096, seed: int = 0) -> Tensor:
        """The average output of the mapping network, (style_channels,)."""
        mapping = getattr(self, 'style_mapping', None) or self._loaded_mapping
        if mapping is None:
            raise RuntimeError(
                'The mean code needs the mapping network: build the bank with mapping=True, or load a checkpoint.'
            )
        first = next(mapping.parameters())
        noise = torch.randn(num_samples, self.noise_size, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            return mapping(noise.to(first)).mean(dim=0)

    def whole(self) -> StyleGAN2Bank:
        return StyleGAN2Bank(
            self.out_size, style_channels=self.style_channels, noise_size=self.noise_size,
            out_channels=self.out_channels, num_mlps=self.num_mlps, channels=self.channels,
        )  # fmt: skip

    def load(self, state: Mapping[str, Tensor], source: str) -> None:
        # Networks whose mean code was tracked in training carry it along; nothing here reads it.
        state = {key: value for key, value in state.items() if key != 'w_avg'}
        super().load(state, source)
        if not hasattr(self, 'style_mapping'):
            mapping = self._mapping_network()
            mapping.load_state_dict(select_prefix(state, 'style_mapping', source))
            self.__dict__['_loaded_mapping'] = mapping.requires_grad_(False)  # for the mean code; not part of the model

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
    ) -> Tensor | dict:
        """Make pictures; the interface is that of MMagic's ``StyleGANv2Generator``, so that its trainer works.

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

        Returns:
            Pictures (N, out_channels, out_size, out_size), about -1 to 1, or the dict.
        """
        if self.start_res != 4:
            raise RuntimeError(f'This bank starts at {self.start_res} and makes no pictures; only a whole one does.')
        self._need('to_rgbs', 'pictures', 'rgb=True')
        if isinstance(styles, Tensor):
            styles = [styles]
        elif styles is None or callable(styles):
            if num_batches < 1:
                raise ValueError(f'num_batches must be positive where noise is drawn, but is {num_batches}.')
            draw = torch.randn if styles is None else styles
            mix = self.training and random.random() < self.mix_prob
            device = self.constant_input.input.device
            styles = [draw((num_batches, self.noise_size)).to(device) for _ in range(1 + mix)]

        noise_batch = None if input_is_latent else styles
        if not input_is_latent:
            self._need('style_mapping', 'pictures from noise', 'mapping=True')
            styles = [self.style_mapping(style) for style in styles]
        if truncation < 1:
            centre = self.mean_code() if truncation_latent is None else truncation_latent
            styles = [centre + truncation * (style - centre) for style in styles]
        latent, inject_index = self._spread(styles, inject_index)

        codes = latent.unbind(dim=1)
        noises = self._noises(4, latent, injected_noise, add_noise, randomize_noise)
        feature = self.step(4, codes, None, noises)
        image = self.to_rgb(4, codes, feature)
        for res in self.resolutions[1:]:
            noises = self._noises(res, latent, injected_noise, add_noise, randomize_noise)
            feature = self.step(res, codes, feature, noises)
            image = self.to_rgb(res, codes, feature, image)
        if return_noise or return_latents:
            return dict(fake_img=image, latent=latent, inject_index=inject_index, noise_batch=noise_batch)
        return image

    def _spread(self, styles: Sequence[Tensor], inject_index: int | None) -> tuple[Tensor, int]:
        """One or two styles to W+ codes (N, num_latents, style_channels)."""
        if len(styles) == 1:
            style = styles[0]
            latent = style if style.ndim == 3 else style.unsqueeze(1).repeat(1, self.num_latents, 1)
            return latent, self.num_latents
        if inject_index is None:
            inject_index = random.randint(1, self.num_latents - 1)
        first = styles[0].unsqueeze(1).repeat(1, inject_index, 1)
        second = styles[1].unsqueeze(1).repeat(1, self.num_latents - inject_index, 1)
        return torch.cat([first, second], dim=1), inject_index

    def _noises(
        self,
        resolution: int,
        latent: Tensor,
        injected_noise: Sequence[Tensor | None] | None,
        add_noise: bool,
        randomize_noise: bool,
    ) -> list[Tensor | None] | None:
        layers = self._layers(resolution)
        if not add_noise:
            return [None for _ in layers]
        if injected_noise is not None:
            return [injected_noise[layer] for layer in layers]
        if not randomize_noise:
            return None
        size = (latent.shape[0], 1, resolution, resolution)
        return [torch.randn(size, device=latent.device) for _ in layers]

    def _need(self, part: str, purpose: str, remedy: str) -> None:
        if not hasattr(self, part):
            raise RuntimeError(f'This bank was built without `{part}`, which {purpose} need; build it with {remedy}.')
