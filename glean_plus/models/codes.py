"""Where the bank's latent codes come from: predicted per image (Eq. 2) or learned (section 4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from glean_plus.models.contracts import Codes, WithCodes
from glean_plus.models.encoder import conv_act
from glean_plus.registry import MODELS

if TYPE_CHECKING:
    from typing_extensions import TypeGuard


@MODELS.register_module()
class PredictedCodes(Codes):
    """E_{N+1}: a convolution and a fully connected layer turn the coarsest feature into one code a layer (Eq. 2).

    Args:
        in_channels: Width of the coarsest feature f_N.
        resolution: Its side; 4 in the paper.
        code_dims: Length of each layer's code.
        layers: Unused: a picture's codes are predicted for the whole bank, W+.
    """

    def __init__(self, in_channels: int, resolution: int, code_dims: Sequence[int], layers: Sequence[int]) -> None:
        super().__init__()
        self.code_dims = tuple(code_dims)
        self.conv = nn.Sequential(*conv_act(in_channels, in_channels))
        self.linear = nn.Linear(in_channels * resolution**2, sum(self.code_dims))

    def forward(self, feature: Tensor) -> list[Tensor]:
        """(N, in_channels, 4, 4) -> one (N, code_dims[k]) per layer."""
        return list(self.linear(self.conv(feature).flatten(1)).split(self.code_dims, dim=1))

    def start_from(self, codes: Sequence[Tensor]) -> None:
        """Nothing to do: predicted codes depend on the image."""


@MODELS.register_module()
class LearnedCodes(Codes):
    """Codes that are parameters, the same for every image (section 4, item 2).

    Args:
        in_channels, resolution: Unused: the codes do not depend on the features.
        code_dims: Length of each layer's code.
        layers: Indices of the layers that the bank still has; only they get a code.
    """

    def __init__(self, in_channels: int, resolution: int, code_dims: Sequence[int], layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.num_layers = len(code_dims)
        self.codes = nn.ParameterList([nn.Parameter(torch.zeros(1, code_dims[layer])) for layer in self.layers])

    def forward(self, feature: Tensor) -> list[Tensor | None]:
        """One (1, code_dims[k]) per layer of the whole bank, None where the bank has no such layer."""
        codes: list[Tensor | None] = [None] * self.num_layers
        for layer, code in zip(self.layers, self.codes):
            codes[layer] = code
        return codes

    def train_only(self, layers: Collection[int]) -> None:
        """Train no codes but those of these layers. The others, which nothing reads, stay in checkpoints."""
        for layer, code in zip(self.layers, self.codes):
            if layer not in layers:
                code.requires_grad_(False)

    @torch.no_grad()
    def start_from(self, codes: Sequence[Tensor]) -> None:
        """Set the codes to the bank's means, one (code_dims[k],) per layer of the whole bank."""
        for layer, parameter in zip(self.layers, self.codes):
            parameter.copy_(codes[layer].expand_as(parameter))


def predicts_codes(network: nn.Module) -> TypeGuard[WithCodes]:
    """Whether a generator's codes depend on the image."""
    return isinstance(getattr(network, 'codes', None), PredictedCodes)


def check_codes(codes: Sequence[Tensor | None] | None, constant: bool) -> None:
    """Raise ValueError if codes are given to a folded model whose own are in its weights."""
    if codes is not None and constant:
        raise ValueError(
            'The learned codes of this folded model are in its weights: leave codes out, or use the model as it is.'
        )


def codes_of(codes: Sequence[Tensor | None], some: slice) -> list[Tensor | None]:
    """Codes of some of the images; those that are the same for all stay as they are."""
    return [code if code is None or len(code) == 1 else code[some] for code in codes]
