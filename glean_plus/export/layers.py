"""The conditioned layers of banks with what is constant of them resolved: convolutions, scales and shifts of buffers.

Each is called as the layer that it stands for. Where the code is the same for all images, it is in the weights, and
the code of a call is not looked at.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.banks import BigGANBank, BigGANDeepBank, LatentBank, StyleGAN1Bank, StyleGAN2Bank
from glean_plus.models.banks.biggan import ConditionalBatchNorm
from glean_plus.models.banks.stylegan1 import AdaIN, Conv, UpConv, repeating_kernel
from glean_plus.models.banks.stylegan2 import StyleConv
from glean_plus.models.ops import LRELU_SLOPE, SQRT2


def _each(fir: Tensor, channels: int) -> Tensor:
    """A FIR filter (k, k) as the weights (channels, 1, k, k) of a convolution of each channel."""
    return fir.flip(0, 1).expand(channels, 1, -1, -1).contiguous()


class PlainStyleConv(nn.Module):
    """StyleGAN2's ``StyleConv``: a convolution, or with a code for each image, one between two scales.

    Args:
        layer: The module.
        code: The code (1, style_channels) of all images, or None if each has its own.
    """

    def __init__(self, layer: StyleConv, code: Tensor | None) -> None:
        super().__init__()
        modulation = layer.conv.style_modulation
        weight = layer.conv.weight_orig[0] * layer.conv.scale                                # [KCkk]
        self.up = hasattr(layer.conv, 'blur')
        self.constant = code is not None
        self.register_buffer('energy', weight.square().sum(dim=(2, 3)).t())                  # [CK]
        self.register_buffer('affine', modulation.linear.weight)
        self.register_buffer('shift', modulation.bias * modulation.lr_mul)
        bias = layer.activate.bias * SQRT2
        if code is not None:
            in_scale, out_scale = self._scales(code)
            weight = weight * in_scale[0, :, None, None] * out_scale[0, :, None, None, None]
            del self.energy, self.affine, self.shift
        if self.up:  # by a transposed convolution; with the filter in its weights it would multiply four times as often
            weight = weight.transpose(0, 1)
            self.register_buffer('fir', _each(layer.conv.blur.kernel, len(bias)))
        self.register_buffer('weight', weight.contiguous())
        self.register_buffer('bias', bias)
        self.register_buffer('strength', layer.noise_injector.weight * SQRT2)

    def _scales(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """(N, style_channels) -> scales of the inputs (N, C) and of the results (N, K)."""
        scale = F.linear(code, self.affine, self.shift)
        return scale, SQRT2 * (scale.square() @ self.energy + 1e-8).rsqrt()

    def forward(self, x: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        if self.constant:
            x = self._convolve(x, self.bias)
        else:
            in_scale, out_scale = self._scales(code)
            x = self._convolve(x * in_scale[:, :, None, None], None)
            x = x * out_scale[:, :, None, None] + self.bias[:, None, None]
        return F.leaky_relu(x + self.strength * noise, LRELU_SLOPE)

    def _convolve(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W), or twice the size."""
        if not self.up:
            return F.conv2d(x, self.weight, bias, padding=1)
        x = F.conv_transpose2d(x, self.weight, stride=2)
        return F.conv2d(x, self.fir, bias, padding=1, groups=len(self.fir))


class PlainConv(nn.Module):
    """StyleGAN's ``Conv`` that keeps the size, its weight scaled.

    Args:
        layer: The module.
    """

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        self.register_buffer('weight', layer.conv.weight)
        self.register_buffer('bias', layer.conv.bias.detach().clone())
        self.padding = self.weight.shape[-1] // 2  # here and not below, where PyTorch 2.1 traces a size as a tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.padding)


class PlainUpConv(nn.Module):
    """StyleGAN's ``UpConv``, repetition in the weights of its convolution.

    Args:
        layer: The module.
    """

    def __init__(self, layer: UpConv) -> None:
        super().__init__()
        conv, blur = layer
        self.official = layer.official
        self.register_buffer('weight', repeating_kernel(conv.conv.weight).contiguous())
        self.register_buffer('bias', conv.conv.bias.detach().clone()[:, None, None])
        self.register_buffer('blur', _each(blur.kernel, len(self.bias)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv_transpose2d(x, self.weight, stride=2, padding=1)
        if not self.official:
            x = F.leaky_relu(x + self.bias, LRELU_SLOPE)
        x = F.conv2d(x, self.blur, padding=1, groups=len(self.blur))
        return x + self.bias if self.official else x


class PlainAdaIN(nn.Module):
    """StyleGAN's ``AdaIN``.

    Args:
        layer: The module.
        code: The code (1, style_channels) of all images, or None if each has its own.
    """

    def __init__(self, layer: AdaIN, code: Tensor | None) -> None:
        super().__init__()
        self.eps, self.constant = layer.eps, code is not None
        if code is None:
            self.register_buffer('weight', layer.affine.weight)
            self.register_buffer('bias', layer.affine.bias.detach().clone())
        else:
            self.register_buffer('affine', F.linear(code, layer.affine.weight, layer.affine.bias))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        affine = self.affine if self.constant else F.linear(code, self.weight, self.bias)    # [N, 2C]
        scale, shift = affine[:, :, None, None].chunk(2, dim=1)
        x = x - x.mean(dim=(2, 3), keepdim=True)
        return x * (x.square().mean(dim=(2, 3), keepdim=True) + self.eps).rsqrt() * scale + shift


class PlainNorm(nn.Module):
    """BigGAN's ``ConditionalBatchNorm`` of a code that all images share: a scale and a shift, and the ReLU.

    Args:
        layer: The module, its spectral normalisation resolved.
        code: The code (1, code_dim).
    """

    def __init__(self, layer: ConditionalBatchNorm, code: Tensor) -> None:
        super().__init__()
        norm = layer.bn
        scale = (1 + layer.gain(code)) * (norm.running_var + norm.eps).rsqrt()               # [1C]
        self.register_buffer('scale', scale[:, :, None, None])
        self.register_buffer('shift', (layer.bias(code) - scale * norm.running_mean)[:, :, None, None])

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return F.relu(x * self.scale + self.shift)


def resolve(bank: LatentBank, codes: list[Tensor | None]) -> None:
    """Put these layers into a bank, whose spectral normalisation is resolved.

    Args:
        bank: One of ours.
        codes: The code (1, code_dims[k]) of each layer that all images share; None where each has its own.

    Raises:
        TypeError: If the bank is another one.
    """
    if type(bank) not in RESOLVERS:
        known = ', '.join(kind.__name__ for kind in RESOLVERS)
        raise TypeError(f'A {type(bank).__name__} cannot be exported, only {known}.')
    RESOLVERS[type(bank)](bank, codes)


def _resolve_stylegan2(bank: StyleGAN2Bank, codes: list[Tensor | None]) -> None:
    for layer in bank.layers:
        if layer == 0:
            bank.conv1 = PlainStyleConv(bank.conv1, codes[0])
        else:
            name = str(layer - 1)
            bank.convs[name] = PlainStyleConv(bank.convs[name], codes[layer])


def _resolve_stylegan1(bank: StyleGAN1Bank, codes: list[Tensor | None]) -> None:
    for name, block in bank.convs.items():
        first = 2 * int(name)
        block.adain1 = PlainAdaIN(block.adain1, codes[first])
        block.adain2 = PlainAdaIN(block.adain2, codes[first + 1])
        block.conv2 = PlainConv(block.conv2)
        if not block.first:
            block.conv1 = PlainUpConv(block.conv1)


def _resolve_biggan(bank: BigGANBank | BigGANDeepBank, codes: list[Tensor | None]) -> None:
    for res in bank.resolutions:
        for name, layer in zip(bank.names_of(res), bank.layers_of(res)):
            code = codes[layer]
            if code is None:
                continue
            block = bank.conv_blocks[name]
            for child, norm in [*block.named_children()]:
                if isinstance(norm, ConditionalBatchNorm):
                    setattr(block, child, PlainNorm(norm, bank.conditioned(code)))


RESOLVERS = {
    StyleGAN1Bank: _resolve_stylegan1,
    StyleGAN2Bank: _resolve_stylegan2,
    BigGANBank: _resolve_biggan,
    BigGANDeepBank: _resolve_biggan,
}
