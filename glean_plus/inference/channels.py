"""The channels of an image, and how a network that knows RGB alone, or gray, restores each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glean_plus.inference.network import Network

# Of luma (ITU-R BT.601), by which a gray image is made of a result in colour.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Codes:
    """Codes of the pictures' colours and alphas; None where each tile has its own."""

    colour: list[Tensor | None] | None = None
    alpha: list[Tensor | None] | None = None

    def of(self, pictures: Sequence[int]) -> Codes:
        """Those of these images, in their order."""
        return Codes(*(
            None if codes is None else [None if code is None else code[list(pictures)] for code in codes]
            for codes in (self.colour, self.alpha)
        ))  # fmt: skip


@dataclass(frozen=True)
class Layers:
    """What the channels of an image are.

    Attributes:
        gray: One channel of colour, not three.
        alpha: One more for opacity.
        white: The highest level: 255, 65535, or 1 for floats.
    """

    gray: bool
    alpha: bool
    white: float

    @property
    def colours(self) -> int:
        return 1 if self.gray else 3

    def tensor(self, image: np.ndarray) -> Tensor:
        """(H, W, K), levels -> (K, H, W), 0 to 1."""
        return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1) / self.white

    def codes(self, network: Network, pictures: Tensor) -> Codes:
        """Of whole images (N, K, in_size, in_size)."""
        colour = network.codes(self._inputs(network, pictures[:, :self.colours]))
        alpha = network.codes(self._inputs(network, pictures[:, self.colours:])) if self.alpha else None
        return Codes(colour, alpha)

    def restore(self, network: Network, tiles: Tensor, codes: Codes, origin: tuple[int, int]) -> Tensor:
        """(N, K, h, w), 0 to 1 -> (N, K', s h, s w): a gray image stays gray, alpha is restored as one.

        Of a colorizing network K' is a and b of Lab, and the alpha as it was.
        """
        result = network(self._inputs(network, tiles[:, :self.colours]), codes.colour, origin)
        if self.gray and not network.colorizes and not network.gray:
            result = (result * result.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        if not self.alpha:
            return result
        alpha = tiles[:, self.colours:].to(result.device)
        if not network.colorizes:
            alpha = self._restored_alpha(network, alpha, codes, origin)
        return torch.cat([result, alpha], dim=1)

    def _restored_alpha(self, network: Network, alpha: Tensor, codes: Codes, origin: tuple[int, int]) -> Tensor:
        """As a gray image; a tile of one opacity throughout, as most are, keeps it."""
        scale = network.scale
        result = alpha[..., :1, :1].repeat(1, 1, scale * alpha.shape[2], scale * alpha.shape[3])
        varied = [i for i, each in enumerate(alpha) if each.min() != each.max()]
        if varied:
            own = Codes(codes.alpha).of(varied).colour
            result[varied] = network(self._inputs(network, alpha[varied]), own, origin).mean(dim=1, keepdim=True)
        return result

    @staticmethod
    def _inputs(network: Network, channels: Tensor) -> Tensor:
        return channels if network.gray else channels.expand(-1, 3, -1, -1)
