"""The arithmetic of the StyleGANs in plain PyTorch: equalised weights, FIR filters, modulated convolution.

Everything is written for any spatial size, any float type and any memory format; nothing here needs a compiled op.
Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.utils.precision import at_least_float32, full_precision

# StyleGAN2's activation is sqrt(2) * leaky_relu(x, 0.2), which keeps the variance of a unit normal. As the leaky ReLU
# is linear in positive factors, the sqrt(2) is put into the weights and biases before it wherever those are small.
LRELU_SLOPE = 0.2
SQRT2 = math.sqrt(2)


def fir_kernel(taps: tuple[float, ...] = (1, 3, 3, 1), gain: float = 1.0) -> Tensor:
    """A FIR filter as a 2-D kernel that sums to ``gain``.

    Args:
        taps: The 1-D filter; (1, 3, 3, 1) is StyleGAN2's.
        gain: Sum of the result: 1 for blurring, 4 after doubling the size by zero insertion.

    Returns:
        Float32 tensor of shape (len(taps), len(taps)).
    """
    row = torch.tensor(taps, dtype=torch.float32)
    kernel = row[:, None] * row[None, :]
    return kernel * (gain / kernel.sum())


def fir_filter(
    x: Tensor,                       # [NCHW] features
    kernel: Tensor,                  # [hw]   as made by fir_kernel
    padding: tuple[int, int],        # zeros before and after, on both axes
    up: int = 1,                     # zeros put between the samples first, up - 1 each
    down: int = 1,                   # keep every down-th result
) -> Tensor:
    """Insert zeros, pad, filter every channel with the same kernel, and subsample.

    Subsampling is done by slicing: a strided depthwise convolution computes less, but its gradient is ten times slower
    in bfloat16 on CPUs.

    Returns:
        (N, C, H', W') with H' = (up H + before + after - taps) // down + 1.
    """
    n, c, h, w = x.shape
    if up > 1:
        zeros = x.new_zeros(n, c, h, up, w, up)
        zeros[:, :, :, 0, :, 0] = x
        x = zeros.view(n, c, h * up, w * up)
    before, after = padding
    if before != after:
        x, before = F.pad(x, (before, after, before, after)), 0
    weight = kernel.flip(0, 1).to(x.dtype).expand(c, 1, *kernel.shape)
    x = F.conv2d(x, weight, padding=before, groups=c)
    return x if down == 1 else x[:, :, ::down, ::down]


def upsample_fir(x: Tensor, kernel: Tensor) -> Tensor:
    """Double height and width: zeros between the samples, then the FIR filter (4, 4), whose gain is 4."""
    return fir_filter(x, kernel, (2, 1), up=2)


def repeating_kernel(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) -> (I, O, 4, 4), with which a transposed convolution (stride 2, padding 1) repeats and convolves."""
    weight = F.pad(weight.flip(2, 3), (1, 1, 1, 1))                          # [OI55]
    weight = weight[..., :-1] + weight[..., 1:]                              # [OI54]
    weight = weight[..., :-1, :] + weight[..., 1:, :]                        # [OI44]
    return weight.transpose(0, 1)


def depthwise(kernel: Tensor, channels: int) -> Tensor:
    """A FIR filter (k, k) as the weights (channels, 1, k, k) of a convolution of each channel."""
    return kernel.flip(0, 1).expand(channels, 1, -1, -1).contiguous()


class FIR(nn.Module):
    """A FIR kernel as a buffer, so that it travels with the weights."""

    kernel: Tensor

    def __init__(self, gain: float = 1.0, taps: tuple[float, ...] = (1, 3, 3, 1)) -> None:
        super().__init__()
        self.register_buffer('kernel', fir_kernel(taps, gain))


def modulated_conv2d(
    x: Tensor,                               # [NIHW] features
    weight: Tensor,                          # [OIkk] weights, equalised
    scale: Tensor,                           # [NI]   the affine-transformed code; N may be 1 for all images
    bias: Tensor,                            # [O]    added at the end
    demodulate: bool = True,
    gain: float = 1.0,                       # multiplies the result, before the bias
    upsample_kernel: Tensor | None = None,   # [4, 4] doubles the size and filters with it
) -> Tensor:
    """Convolution with per-image weights w * s, normalised per output channel ("demodulated"), plus a bias.

    The weights are never made per image: scaling the input by s and the output by
    1 / sqrt(sum (w s)^2 + 1e-8) is the same thing, and lets one ordinary convolution serve the whole batch.

    Returns:
        (N, O, H, W), or (N, O, 2H, 2W) with ``upsample_kernel``.
    """
    if demodulate and x.dtype == torch.float16:
        # As NVlabs: with large codes, the products would leave its range. Demodulation undoes both divisions.
        scale = _up_to_one(scale, (1,))
        weight = _up_to_one(weight, (1, 2, 3)) / math.sqrt(weight[0].numel())
    if demodulate:
        with full_precision(x.device):                                       # 1e-8 is nothing in half precision
            energy = at_least_float32(weight).square().sum(dim=(2, 3))       # [OI]
            out_scale = gain * (at_least_float32(scale).square() @ energy.t() + 1e-8).rsqrt()
        out_scale = out_scale.to(x.dtype)[:, :, None, None]                  # [NO11]
    else:
        out_scale = x.new_tensor(gain)
    x = x * scale.to(x.dtype)[:, :, None, None]
    if upsample_kernel is None:
        x = F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)
    else:
        x = F.conv_transpose2d(x, weight.transpose(0, 1).to(x.dtype), stride=2)
        x = fir_filter(x, upsample_kernel, (1, 1))
    return torch.addcmul(bias.to(x.dtype).view(1, -1, 1, 1), x, out_scale.to(x.dtype))


def _up_to_one(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """x in float32 or wider, divided by its largest absolute value along some axes."""
    x = at_least_float32(x)
    return x / x.abs().amax(dim=dims, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)


class EqualizedParameter(nn.Module):
    """Holds ``weight_orig``, sampled from N(0, 1), and gives the weight scaled by He's constant at run time.

    ``gain`` is multiplied to that constant: sqrt(2) where a leaky ReLU that does not scale itself is to follow.
    The key and its shape are those of MMagic's equalised modules, so that published state dicts load.
    """

    def __init__(self, *shape: int, fan_in: int, lr_mul: float = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.randn(*shape) / lr_mul)
        self.scale = gain * lr_mul / math.sqrt(fan_in)

    @property
    def weight(self) -> Tensor:
        return self.weight_orig * self.scale


class EqualizedLinear(nn.Module):
    """Fully connected layer with equalised learning rate: (N, in) -> (N, out).

    Args:
        activate: Follow with the leaky ReLU, scaled by ``gain``.
        lr_mul: Learning-rate multiplier of weight and bias (0.01 in the mapping network).
        bias_init: Start value of the bias; 1 for a layer that makes scales from codes.
        gain: Of the activation; sqrt(2) in StyleGAN2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_init: float = 0.0,
        lr_mul: float = 1.0,
        activate: bool = False,
        gain: float = SQRT2,
    ) -> None:
        super().__init__()
        self.linear = EqualizedParameter(out_features, in_features, fan_in=in_features, lr_mul=lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))
        self.lr_mul = lr_mul
        self.activate = activate
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.linear.weight, self.bias * self.lr_mul)
        return F.leaky_relu(x, LRELU_SLOPE) * self.gain if self.activate else x
