"""What it is to search a bank for an image.

PULSE (Menon et al., CVPR 2020) searches W+ of StyleGAN, one code for each layer, but not freely: vectors stay on the
sphere of radius sqrt(dim), where almost all of a normal distribution is, and a prior keeps them near to what the bank
was trained on.

What differs from the authors' code (github.com/adamian98/pulse): the noise maps are drawn once and fixed, where theirs
has the first five optimised, each on its sphere; the geodesic distances are averaged over the pairs, and their weight,
which is about 0.03 there in these units, is lower, which suits the banks that could be tried; the error is not cut off
at 30 dB (``eps``), so that a result is as near to its input as the space allows; MATLAB's bicubic has its own borders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor


class Space(ABC):
    """Images of a bank, as a function of a few tensors.

    The first of them, (N, K, D), consists of vectors on spheres of radius sqrt(D); the others are free. All are of unit
    scale, so that one learning rate suits them.
    """

    #: What the prior counts beside the mean squared error, for values of 0 to 1.
    prior_weight: float = 0.001

    @abstractmethod
    def start(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """``count`` random starts, (count, ...) each, on the CPU."""

    @abstractmethod
    def draw(self, tensors: list[Tensor]) -> Tensor:
        """Images (N, 3, out_size, out_size), about -1 to 1, in the bank's order of colours."""

    @abstractmethod
    def prior(self, tensors: list[Tensor]) -> Tensor:
        """How far they are from what the bank was trained on, (N,); 0 is nearest."""

    @staticmethod
    @torch.no_grad()
    def to_sphere(tensors: list[Tensor]) -> None:
        """Bring the first tensor back to its spheres, in place."""
        vectors = tensors[0]
        vectors.mul_(vectors.shape[-1] ** 0.5 / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12))


def geodesic(vectors: Tensor) -> Tensor:
    """Mean squared angle between vectors (N, K, D), over the pairs: (N,), in squared radians; 0 where K is 1."""
    count = vectors.shape[1]
    first, second = torch.triu_indices(count, count, offset=1, device=vectors.device)
    if not len(first):
        return vectors.new_zeros(len(vectors))
    units = F.normalize(vectors, dim=-1)
    a, b = units[:, first], units[:, second]                                 # [N, pairs, D]
    # Exact for small and large angles alike; the small number keeps the gradient of equal vectors finite.
    apart, along = ((part.square().sum(dim=-1) + 1e-12).sqrt() for part in (a - b, a + b))
    return (2 * torch.atan2(apart, along)).square().mean(dim=1)
