"""sRGB and CIE Lab (D65, 2 degrees), and colours brought into gamut at constant lightness.

Both conversions run in single precision at least, also under autocast, and have finite gradients for any input.
Lab is L, 0 to 100, and a, b, which sRGB's colours keep within -108 and 99.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glean_plus.utils.precision import at_least_float32, full_precision

WHITE = (0.95047, 1.0, 1.08883)  # XYZ
# Linear RGB of the primaries of sRGB (ITU-R BT.709) to XYZ, and its inverse.
TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
FROM_XYZ = (
    (3.2404813432005266, -1.5371515162713185, -0.4985363261688878),
    (-0.9692549499965682, 1.8759900014898907, 0.0415559265582928),
    (0.0556466391351772, -0.2040413383665112, 1.0573110696453443),
)
# IEC 61966-2-1: below these, sRGB is a straight line.
SRGB_BELOW, SRGB_LINEAR_BELOW = 0.04045, 0.0031308
# Of Y/Yn, below which CIE's cube root has a straight continuation, and its slope.
LAB_BELOW, LAB_SLOPE = 0.008856, 7.787
LINEAR_BELOW = 6 / 29  # of f, below which CIE's cube has a straight continuation


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (..., 3, H, W), 0 to 1 -> Lab. What is beyond 0 and 1 is clipped."""
    with full_precision(rgb.device):
        rgb = at_least_float32(rgb).clamp(0, 1)
        linear = torch.where(rgb > SRGB_BELOW, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
        relative = _mix(TO_XYZ, linear) / linear.new_tensor(WHITE).view(3, 1, 1)
        root = relative.clamp(min=LAB_BELOW) ** (1 / 3)  # the clamp keeps its gradient finite
        f_x, f_y, f_z = torch.where(relative > LAB_BELOW, root, LAB_SLOPE * relative + 4 / 29).unbind(-3)
        return torch.stack([116 * f_y - 16, 500 * (f_x - f_y), 200 * (f_y - f_z)], dim=-3)


def _mix(matrix: Sequence[Sequence[float]], image: Tensor) -> Tensor:
    """A 3x3 matrix times each pixel of (..., 3, H, W)."""
    first, second, third = image.unbind(-3)
    return torch.stack([a * first + b * second + c * third for a, b, c in matrix], dim=-3)


def lab_to_rgb(lab: Tensor, into_gamut: bool = True) -> Tensor:
    """Lab (..., 3, H, W) -> sRGB.

    Args:
        lab: Any a and b; L is 0 to 100.
        into_gamut: Desaturate what no sRGB has, see :func:`desaturate`; the result is 0 to 1 then. False leaves it
            beyond 0 and 1, where its distance from a ground truth still has a gradient that leads back.
    """
    with full_precision(lab.device):
        lightness, a, b = at_least_float32(lab).unbind(-3)
        f_y = (lightness + 16) / 116
        f = torch.stack([f_y + a / 500, f_y, f_y - b / 200], dim=-3)
        xyz = torch.where(f > LINEAR_BELOW, f**3, 3 * LINEAR_BELOW**2 * (f - 4 / 29))
        linear = _mix(FROM_XYZ, xyz * xyz.new_tensor(WHITE).view(3, 1, 1))
        if into_gamut:
            linear = desaturate(linear, xyz[..., 1:2, :, :])
        curve = 1.055 * linear.clamp(min=SRGB_LINEAR_BELOW) ** (1 / 2.4) - 0.055
        return torch.where(linear > SRGB_LINEAR_BELOW, curve, 12.92 * linear)


def desaturate(linear: Tensor, luminance: Tensor) -> Tensor:
    """Bring linear RGB into 0 to 1 at its own luminance, and so at its lightness, which is a function of luminance.

    A colour outside moves straight towards the gray of its luminance, as far as it must and no farther. Luminance is
    linear in RGB, so that it does not change on the way.

    Args:
        linear: (..., 3, H, W), any values.
        luminance: Its Y, (..., 1, H, W); beyond 0 to 1 there is no colour, and it is clipped.
    """
    gray = luminance.clamp(0, 1)
    offset = linear - gray
    room = torch.where(offset > 0, 1 - gray, gray)
    # The share of the way at which the first channel meets 0 or 1. Below 1e-6, an offset is rounding.
    share = (room / offset.abs().clamp(min=1e-6)).amin(dim=-3, keepdim=True).clamp(max=1)
    return (gray + share * offset).clamp(0, 1)


def tint(lightness: Tensor, ab: Sequence[float]) -> Tensor:
    """Images of one colour throughout, in gamut: lightness (N, 1, H, W), -1 to 1 -> RGB (N, 3, H, W), -1 to 1.

    ``(0, 0)`` makes the gray image of that lightness.
    """
    lightness = at_least_float32(lightness)
    colour = lightness.new_tensor(ab).view(1, 2, 1, 1).expand(len(lightness), -1, *lightness.shape[2:])
    rgb = 2 * lab_to_rgb(torch.cat([to_lab_lightness(lightness), colour], dim=1)) - 1
    # The white of Lab and that of the matrix differ in the fifth digit, enough for a rounded gray to be a level off.
    return rgb if any(ab) else rgb.mean(dim=1, keepdim=True).expand_as(rgb)


def to_lab_lightness(lightness: Tensor) -> Tensor:
    """What a network takes, -1 to 1 -> L, 0 to 100."""
    return 50 * (at_least_float32(lightness) + 1)


def from_lab_lightness(lightness: Tensor) -> Tensor:
    """L, 0 to 100 -> what a network takes, -1 to 1."""
    return lightness / 50 - 1


def recolor(rgb: Tensor, ab: Tensor) -> Tensor:
    """sRGB (..., 3, H, W), 0 to 1 -> the same lightness with a and b of Lab, (..., 2, H, W), in gamut."""
    return lab_to_rgb(torch.cat([rgb_to_lab(rgb)[..., :1, :, :], ab], dim=-3))
