"""Data consistency of flat areas: what an input fixes exactly, whatever the model makes of it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.inference.channels import Layers

# Rows that are compared at a time.
ROWS = 256


def is_constant(image: np.ndarray) -> bool:
    """Whether all pixels of an image (H, W, K) are the same."""
    return all(bool((image[top:top + ROWS] == image[:1, :1]).all()) for top in range(0, len(image), ROWS))


def hold_opacity(result: Tensor, opacity: Tensor, scale: int) -> Tensor:
    """Keep fully transparent and fully opaque areas exactly so.

    An input pixel whose 5x5 neighborhood is 0 throughout, or 1 throughout, fixes its block of the result. Next to such
    pixels lies a rim, one pixel wide, in which the result fades from that value to the model's own: bilinearly between
    the centers of the pixels. All else is the model's own.

    Args:
        result: (1, s H, s W), what a model makes of the opacity.
        opacity: (1, H, W), 0 to 1, of the input.
        scale: s.
    """
    around = F.pad(opacity[None], (1, 1, 1, 1), mode='replicate')
    highest, lowest = F.max_pool2d(around, 3, stride=1), -F.max_pool2d(-around, 3, stride=1)
    free = ((highest > 0) & (lowest < 1)).to(result)  # pixels whose 3x3 neighborhood is not flat
    share = F.interpolate(free, scale_factor=scale, mode='bilinear', align_corners=False)[0]
    flat = opacity.round().to(result).repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    return torch.lerp(flat, result, share)


class FlatAreas:
    """What an input fixes exactly of its result.

    * Colors that are the same throughout the image, and an opacity that is: the result has them, too.
    * Areas that are fully transparent or fully opaque, away from their edges: see :func:`hold_opacity`.

    Flat areas within an opaque image are left to the model, which may have texture to add.

    Args:
        image: (H, W, K) pixel values of the input.
        layers: What its channels are.
    """

    def __init__(self, image: np.ndarray, layers: Layers) -> None:
        self.colors, self.alpha = layers.colours, layers.alpha
        self.constant_colors = is_constant(image[..., :self.colors])
        self.constant_alpha = self.alpha and is_constant(image[..., self.colors:])

    @property
    def nothing(self) -> bool:
        """Whether the input fixes nothing."""
        return not (self.constant_colors or self.alpha)

    def hold(self, result: Tensor, lq: Tensor) -> Tensor:
        """Rows of a result (K, s h, s W) -> the same with the flat areas of its input (K, h, W), 0 to 1."""
        colors, alpha = result[:self.colors], result[self.colors:]
        scale = result.shape[1] // lq.shape[1]
        if self.constant_colors:
            colors = lq[:self.colors, :1, :1].to(result).expand_as(colors)
        if self.constant_alpha:
            alpha = lq[self.colors:, :1, :1].to(result).expand_as(alpha)
        elif self.alpha:
            alpha = hold_opacity(alpha, lq[self.colors:], scale)
        return torch.cat([colors, alpha]) if self.constant_colors or self.alpha else result
