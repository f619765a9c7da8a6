"""StyleGAN as a latent bank (Karras et al., CVPR 2019).

MMagic's network, whose published weights this bank reads, differs from the authors': the up-sampled features pass a
leaky ReLU before the blur as well as after it, biases are added before the blur, all channels of a layer share one
strength of the noise, and instance norm has another epsilon. Weights belong to the network that they were trained in,
hence both are here; ``official=True`` is the authors'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks.mmagic import STYLEGAN1, accepts_mmagic
from glean_plus.models.banks.style import ConstantInput, NoiseInjection, StyleBank
from glean_plus.models.banks.stylegan2 import channel_table
from glean_plus.models.containers import ModuleDict
from glean_plus.models.folding import FoldedConv, FoldedFIR, FoldedLayer, FoldedLinear, tracing
from glean_plus.models.ops import FIR, LRELU_SLOPE, SQRT2, EqualizedParameter, fir_filter, repeating_kernel
from glean_plus.registry import MODELS
from glean_plus.utils.precision import at_least_float32, full_precision
from glean_plus.weights.formats.layout import count, side

# From this side on, up-sampling and convolution are one transposed convolution, as in the authors' code: below it, the
# many channels make that slower.
FUSED_FROM = 128


def adaptive_instance_norm(
    x: Tensor,       # [NCHW] features; N may be 1 for all images
    scale: Tensor,   # [NC]   of each normalised channel; N may be 1 as well
    shift: Tensor,   # [NC]   added to it
    eps: float = 1e-5,
) -> Tensor:
    """Give each channel of each image a mean and spread that follow from the code.

    One batch norm over N * C channels of a single image does it; its statistics are taken in float32 or wider. No file
    format has one that takes the statistics of what it is given, so a traced graph computes them.

    Returns:
        (N, C, H, W).
    """
    if tracing():
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x * (x.square().mean(dim=(2, 3), keepdim=True) + eps).rsqrt()
        return x * scale[:, :, None, None] + shift[:, :, None, None]
    n = max(len(x), len(scale))
    c, h, w = x.shape[1:]
    merged = x.expand(n, -1, -1, -1).reshape(1, n * c, h, w)
    with full_precision(x.device):
        weight, bias = (at_least_float32(part.expand(n, -1).reshape(-1)) for part in (scale, shift))
        return F.batch_norm(merged, None, None, weight, bias, training=True, eps=eps).view(n, c, h, w)


def upsample_conv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Repeat every sample twice on both axes, then convolve: (N, I, H, W), (O, I, 3, 3) -> (N, O, 2H, 2W).

    A result sees at most two different samples on each axis, so that from ``FUSED_FROM`` on a 4x4 kernel of sums, laid
    on the samples themselves, does it with less than half the multiplications.
    """
    if 2 * x.shape[-1] < FUSED_FROM:
        return F.conv2d(F.interpolate(x, scale_factor=2), weight, bias, padding=1)
    return F.conv_transpose2d(x, repeating_kernel(weight), bias, stride=2, padding=1)


class EqualizedWeightAndBias(EqualizedParameter):
    """Weight and bias of a layer. The weight's scale makes up for a leaky ReLU, wherever there is none as well."""

    def __init__(self, *shape: int) -> None:
        super().__init__(*shape, fan_in=math.prod(shape[1:]), gain=SQRT2)
        self.bias = nn.Parameter(torch.zeros(shape[0]))


class Conv(nn.Module):
    """Convolution with equalised learning rate, (N, in, H, W) -> (N, out, H, W), or twice the size."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = EqualizedWeightAndBias(out_channels, in_channels, kernel_size, kernel_size)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight.to(x.dtype), self.conv.bias.to(x.dtype)
        if self.upsample:
            return upsample_conv2d(x, weight, bias)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class UpConv(nn.Sequential):
    """Doubles the size: convolution, leaky ReLU, blur; or without the ReLU, and with the bias after the blur."""

    def __init__(self, in_channels: int, out_channels: int, official: bool) -> None:
        super().__init__(Conv(in_channels, out_channels, 3, upsample=True), FIR(taps=(1, 2, 1)))
        self.official = official

    def parts(self) -> tuple[Conv, FIR]:
        """Convolution and blur."""
        conv, blur = self
        return conv, blur  # type: ignore[return-value]  # a Sequential is of modules of any class

    def forward(self, x: Tensor) -> Tensor:
        conv, blur = self.parts()
        x = conv(x)
        if not self.official:
            return fir_filter(F.leaky_relu(x, LRELU_SLOPE, inplace=True), blur.kernel, (1, 1))
        bias = conv.conv.bias.to(x.dtype).view(1, -1, 1, 1)
        return fir_filter(x - bias, blur.kernel, (1, 1)) + bias


class AdaIN(nn.Module):
    """Instance norm whose scale and shift are an affine function of the code."""

    def __init__(self, channels: int, style_channels: int, eps: float) -> None:
        super().__init__()
        self.affine = EqualizedWeightAndBias(2 * channels, style_channels)
        self.eps = eps
        nn.init.ones_(self.affine.bias[:channels])

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = F.linear(code, self.affine.weight, self.affine.bias).chunk(2, dim=1)
        return adaptive_instance_norm(x, scale, shift, self.eps)


class StyleBlock(nn.Module):
    """Two style layers, each a convolution, noise, leaky ReLU and AdaIN; the very first has no convolution."""

    def __init__(self, in_channels: int | None, out_channels: int, style_channels: int, official: bool) -> None:
        super().__init__()
        self.first = in_channels is None
        eps, strengths = (1e-8, (1, out_channels, 1, 1)) if official else (1e-5, (1,))
        self.conv1 = ConstantInput(out_channels) if in_channels is None else UpConv(in_channels, out_channels, official)
        self.noise_injector1 = NoiseInjection(strengths)
        self.adain1 = AdaIN(out_channels, style_channels, eps)
        self.conv2 = Conv(out_channels, out_channels, 3)
        self.noise_injector2 = NoiseInjection(strengths)
        self.adain2 = AdaIN(out_channels, style_channels, eps)

    def forward(self, x: Tensor, codes: Sequence[Tensor], noises: Sequence[Tensor | None]) -> Tensor:
        if not self.first:
            x = self.conv1(x)
        x = self.adain1(self._disturb(x, self.noise_injector1, noises[0]), codes[0])
        return self.adain2(self._disturb(self.conv2(x), self.noise_injector2, noises[1]), codes[1])

    @staticmethod
    def _disturb(x: Tensor, injector: NoiseInjection, noise: Tensor | None) -> Tensor:
        if noise is not None:
            x = x + (injector.weight * noise).to(x.dtype)
        return F.leaky_relu(x, LRELU_SLOPE)


class FoldedUpConv(nn.Module):
    """A folded :class:`UpConv`."""

    bias: Tensor | None

    def __init__(self, layer: UpConv, dtype: torch.dtype) -> None:
        super().__init__()
        conv, blur = layer.parts()
        bias = conv.conv.bias.detach()
        self.conv = FoldedConv.of(conv.conv.weight, None if layer.official else bias, dtype, 'repeat')
        self.register_buffer('bias', bias.to(dtype, copy=True).view(1, -1, 1, 1) if layer.official else None)
        self.blur = FoldedFIR(blur.kernel, len(bias))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.bias is None:
            return self.blur(F.leaky_relu_(x, LRELU_SLOPE))
        return self.blur(x).add_(self.bias)  # the blur would lessen it at the edge


class FoldedStyle(FoldedLayer):
    """A style layer: a convolution, noise, leaky ReLU and AdaIN.

    Args:
        conv: The folded convolution; nothing for the layer that starts from the constant.
        strength: Of the noise, (1,) or (1, C, 1, 1).
        norm: The module of the AdaIN.
        index: Of its code.
        noise: Its fixed noise map (1, 1, H, W).
        code: The code (1, style_channels) of all images, or None if each has its own.
        dtype: Of the maps.
    """

    strength: Tensor | None

    def __init__(
        self,
        conv: nn.Module,
        strength: Tensor,
        norm: AdaIN,
        index: int,
        noise: Tensor,
        code: Tensor | None,
        dtype: torch.dtype,
    ) -> None:
        # One strength for all channels is in the map; others would make it as large as the features.
        one = strength.numel() == 1
        super().__init__(strength * noise if one else noise)
        self.register_buffer('strength', None if one else strength.detach().to(dtype, copy=True))
        self.conv, self.index = conv, index
        self.affine, self.eps = FoldedLinear(norm.affine.weight, norm.affine.bias, code), norm.eps

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        x = self.conv(x)
        if noise is not None:
            noise = noise.to(x.dtype)
            x = x + noise if self.strength is None else torch.addcmul(x, self.strength, noise)
        x = F.leaky_relu(x, LRELU_SLOPE)
        scale, shift = self.affine(code).chunk(2, dim=1)
        if tracing():
            return adaptive_instance_norm(x, scale, shift, self.eps)
        images = max(len(x), len(scale))
        # One image after the other: channels of several cannot be merged where they are next to each other in memory.
        parts = (part.expand(images, *part.shape[1:]).split(1) for part in (x, scale, shift))
        normed = [adaptive_instance_norm(one, scale, shift, self.eps) for one, scale, shift in zip(*parts)]
        return normed[0] if images == 1 else torch.cat(normed)


@MODELS.register_module()
class StyleGAN1Bank(StyleBank):
    """StyleGAN's generator, whole or from a resolution on, with MMagic's state-dict keys.

    The block of resolution 2^(k + 2) is ``convs.k``; its layers, codes and fixed noises are 2k and 2k + 1.

    Args:
        channels: Width per resolution, for every resolution up to ``out_size``; the published table if None, which is
            that of StyleGAN2's config-e.
        official: The authors' network, for NVlabs' and GenForce's weights; otherwise MMagic's, for OpenMMLab's.

    The other arguments are those of :class:`StyleGAN2Bank`; those of MMagic's ``StyleGAN1Generator`` are taken as well.

    Raises:
        ValueError: As :class:`StyleGAN2Bank`.

    Example:
        >>> bank = StyleGAN1Bank(16, style_channels=8, num_mlps=1, channels={4: 8, 8: 8, 16: 8})
        >>> bank(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 16, 16])
    """

    architecture = 'StyleGAN1'
    anchors = ('convs.0.conv1.input', 'convs.0.adain1.affine.bias')
    mmagic = STYLEGAN1
    is_local = False  # instance norm has the statistics of the whole map
    mapping_gain = 1.0

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
        lr_mlp: float = 0.01,
        mapping: bool = True,
        rgb: bool = True,
        mix_prob: float = 0.9,
        official: bool = False,
        pretrained: Mapping[str, Any] | None = None,
        default_style_mode: str = 'mix',
        eval_style_mode: str = 'single',
        flip_channels: bool = False,
    ) -> None:
        super().__init__(
            out_size, start_res, channel_table(channels, channel_multiplier=1), style_channels, noise_size,
            out_channels, num_mlps, lr_mlp, mapping, mix_prob, pretrained, default_style_mode, eval_style_mode,
            flip_channels,
        )  # fmt: skip
        self.official = official
        self.variant = dict(official=official)
        self.convs: ModuleDict[StyleBlock] = ModuleDict()
        if rgb:
            self.to_rgbs: ModuleDict[Conv] = ModuleDict()
        for res in self.resolutions:
            width, index = self.channels[res], str(self._index(res))
            self.convs[index] = StyleBlock(self.channels.get(res // 2), width, style_channels, official)
            if rgb:
                self.to_rgbs[index] = Conv(width, out_channels, 1)
            self._add_fixed_noise(res)

    @classmethod
    def hyperparameters(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        levels = count(state, r'to_rgbs\.(\d+)\.')
        return dict(
            out_size=side(levels - 1),
            style_channels=state['convs.0.adain1.affine.weight_orig'].shape[1],
            out_channels=state['to_rgbs.0.conv.bias'].shape[0],
            channels={side(i): state[f'convs.{i}.conv2.conv.bias'].shape[0] for i in range(levels)},
            official=state['convs.0.noise_injector1.weight'].ndim == 4,
            **cls._mapping_hyperparameters(state),
        )

    def layers_of(self, resolution: int) -> tuple[int, ...]:
        index = self._index(resolution)
        return 2 * index, 2 * index + 1

    def _constant(self) -> Tensor:
        first = self.convs['0'].conv1
        assert isinstance(first, ConstantInput)  # as it is in a whole bank
        return first.input

    def _block(
        self, resolution: int, feature: Tensor, codes: Sequence[Tensor], noises: Sequence[Tensor | None]
    ) -> Tensor:
        return self.convs[str(self._index(resolution))](feature, codes, noises)

    def _folded_block(
        self, resolution: int, codes: Sequence[Tensor | None], dtype: torch.dtype
    ) -> list[FoldedStyle]:
        block = self.convs[str(self._index(resolution))]
        convs = (
            FoldedUpConv(block.conv1, dtype) if isinstance(block.conv1, UpConv) else nn.Identity(),
            FoldedConv.of(block.conv2.conv.weight, block.conv2.conv.bias, dtype),
        )
        parts = zip(convs, (block.noise_injector1, block.noise_injector2), (block.adain1, block.adain2))
        return [
            FoldedStyle(
                conv, injector.weight, norm, index, getattr(self, f'injected_noise_{index}'), codes[index], dtype
            )
            for index, (conv, injector, norm) in zip(self.layers_of(resolution), parts)
        ]

    def to_rgb(self, resolution: int, feature: Tensor) -> Tensor:
        """Image (N, out_channels, H, W) of ``resolution`` from its feature."""
        return at_least_float32(self.to_rgbs[str(self._index(resolution))](feature))

    def picture(self, codes: Sequence[Tensor | None], features: Mapping[int, Tensor]) -> Tensor:
        self._need('to_rgbs', 'pictures', 'rgb=True')
        return self.to_rgb(self.out_size, features[self.out_size])

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
        randomize_noise: bool = True,
        transition_weight: float | Tensor = 1.0,
        curr_scale: int = -1,
        add_noise: bool = True,
        return_features: bool = False,
        feat_idx: int = 5,
        return_latent_only: bool = False,
    ) -> Tensor | dict:
        """Make images; the interface is that of MMagic's ``StyleGAN1Generator``, so that its trainer works.

        Args:
            styles, num_batches, return_noise, return_latents, inject_index, truncation, truncation_latent,
                input_is_latent, injected_noise, randomize_noise, add_noise, return_features, feat_idx,
                return_latent_only: As for :meth:`StyleGAN2Bank.forward`.
            transition_weight: Below 1, the share of the last block in the image while the network grows; the rest is
                the image of the block before it, enlarged.
            curr_scale: Side of the image; -1 for ``out_size``.

        Returns:
            Images (N, out_channels, curr_scale, curr_scale), about -1 to 1, or the dict, or the codes.

        Raises:
            ValueError: If ``curr_scale`` is no resolution of the bank, or ``feat_idx`` no index of its features.
        """
        drawn = self._draw(styles, num_batches, inject_index, truncation, truncation_latent, input_is_latent)
        side = self.out_size if curr_scale < 0 else curr_scale
        if side not in self.resolutions:
            raise ValueError(f'curr_scale must be one of {list(self.resolutions)}, or -1, but is {curr_scale}.')
        if return_latent_only:
            return drawn.latent
        codes = drawn.latent.unbind(dim=1)
        features: list[Tensor] = []
        below: Tensor | None = None
        feature: Tensor | None = None
        for res in self.resolutions[:self._index(side) + 1]:
            noises = self._noises(res, drawn.latent, injected_noise, add_noise, randomize_noise)
            below, feature = feature, self.step(res, codes, feature, noises)
            features.append(feature)
        image = self.to_rgb(side, features[-1])
        if below is not None and transition_weight < 1:
            skip = F.interpolate(self.to_rgb(side // 2, below), scale_factor=2)
            image = skip + transition_weight * (image - skip)
        return self._result(
            image, drawn, features, return_noise or return_latents, feat_idx if return_features else None
        )
