"""What follows a convolution, pixel by pixel, done while its result is in cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Epilogue:
    """From a convolution's result y (N, H, W, K) to what is written, in the order of the attributes.

    Attributes:
        out_scale: (N or 1, 1, 1, K); y becomes y * out_scale + bias, with the convolution's bias.
        noise: (H, W, 1), float32, added.
        slope: Of a leaky ReLU; 1 for none.
        then: (N or 1, 1, 1, K), multiplied: the scale of the next layer's input.
        residuals: Maps of y's shape and their factors, added.
    """

    out_scale: Tensor | None = None
    noise: Tensor | None = None
    slope: float = 1.0
    then: Tensor | None = None
    residuals: Sequence[tuple[Tensor, float]] = ()

    def apply(self, part: Tensor, top: int, bias: Tensor | None) -> None:
        """Change some rows of a result in place.

        Args:
            part: (N, h, W, K), without the bias if it is given.
            top: The row that they begin with.
            bias: (K,), or None if it is in already, which it must not be before ``out_scale``.
        """
        rows = slice(top, top + part.shape[1])
        if self.out_scale is not None:
            torch.addcmul(part.new_zeros(()) if bias is None else bias, part, self.out_scale, out=part)
        elif bias is not None:
            part.add_(bias)
        if self.noise is not None:
            part.add_(self.noise[rows].to(part.dtype))
        if self.slope != 1:
            F.leaky_relu_(part, self.slope)
        if self.then is not None:
            part.mul_(self.then)
        for residual, factor in self.residuals:
            part.add_(residual[:, rows], alpha=factor)


NOTHING = Epilogue()
