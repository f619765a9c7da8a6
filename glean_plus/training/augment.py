"""Augmentation of real and generated images alike, against over-fitting the discriminator on few images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def _brightness(x: Tensor) -> Tensor:
    return x + torch.rand(x.shape[0], 1, 1, 1, device=x.device) - 0.5


def _saturation(x: Tensor) -> Tensor:
    gray = x.mean(dim=1, keepdim=True)
    return (x - gray) * (torch.rand(x.shape[0], 1, 1, 1, device=x.device) * 2) + gray


def _contrast(x: Tensor) -> Tensor:
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (torch.rand(x.shape[0], 1, 1, 1, device=x.device) + 0.5) + mean


def _color(x: Tensor) -> Tensor:
    return _contrast(_saturation(_brightness(x)))


def _translation(x: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift by up to ``ratio`` of the side, zeros coming in."""
    n, _, h, w = x.shape
    reach_y, reach_x = int(h * ratio + 0.5), int(w * ratio + 0.5)
    shift_y = torch.randint(-reach_y, reach_y + 1, (n, 1, 1), device=x.device)
    shift_x = torch.randint(-reach_x, reach_x + 1, (n, 1, 1), device=x.device)
    rows = (torch.arange(h, device=x.device).view(1, h, 1) + shift_y + 1).clamp(0, h + 1)
    columns = (torch.arange(w, device=x.device).view(1, 1, w) + shift_x + 1).clamp(0, w + 1)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    images = torch.arange(n, device=x.device).view(n, 1, 1)
    return padded[images, rows, columns].permute(0, 3, 1, 2)


def _cutout(x: Tensor, ratio: float = 0.5) -> Tensor:
    """Zero one square of ``ratio`` of the side."""
    n, _, h, w = x.shape
    size_y, size_x = int(h * ratio + 0.5), int(w * ratio + 0.5)
    top = torch.randint(-(size_y // 2), h - size_y // 2 + 1, (n, 1, 1), device=x.device)
    left = torch.randint(-(size_x // 2), w - size_x // 2 + 1, (n, 1, 1), device=x.device)
    rows = torch.arange(h, device=x.device).view(1, h, 1)
    columns = torch.arange(w, device=x.device).view(1, 1, w)
    hole = (rows >= top) & (rows < top + size_y) & (columns >= left) & (columns < left + size_x)
    return x * (~hole).unsqueeze(1)


POLICIES: dict[str, Callable[[Tensor], Tensor]] = {'color': _color, 'translation': _translation, 'cutout': _cutout}


class DiffAugment:
    """Differentiable augmentation (Zhao et al., NeurIPS 2020), each policy sampled for each image.

    Args:
        policy: Names out of ``color``, ``translation``, ``cutout``, applied in this order.

    Raises:
        ValueError: On an unknown name.
    """

    def __init__(self, policy: Sequence[str]) -> None:
        unknown = [name for name in policy if name not in POLICIES]
        if unknown:
            raise ValueError(f'Unknown augmentation {unknown}; known are {sorted(POLICIES)}.')
        self.policy = tuple(policy)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W), -1 to 1, to the same shape."""
        for name in self.policy:
            x = POLICIES[name](x)
        return x
