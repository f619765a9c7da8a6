"""Spectral normalisation (Miyato et al., ICLR 2018) in the two forms of MMagic's checkpoints, and without it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.utils.precision import full_precision

# Style -> names of the weight, of its left and of its right singular vector. `ajbrock`, after BigGAN's author, does not
# keep the latter and has a buffer `sv0` instead, which records sigma.
NAMES: dict[str, tuple[str, str, str | None]] = {
    'ajbrock': ('weight', 'u0', None),
    'torch': ('weight_orig', 'weight_u', 'weight_v'),
}


class SpectralOptions(TypedDict):
    """Of the layers below: one of :data:`NAMES`, and the least norm of the singular vectors."""

    sn_style: str
    sn_eps: float


def stored_style(state: Mapping[str, Tensor], layer: str) -> tuple[str, str]:
    """Name of a layer's weight in a state dict, and the style in which it is there."""
    return ('weight_orig', 'torch') if f'{layer}.weight_orig' in state else ('weight', 'ajbrock')


def power_iteration(matrix: Tensor, u: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """One step from [O] towards the first singular vectors of [OI]: u [O] and v [I]."""
    with torch.no_grad():
        v = F.normalize(matrix.t() @ u, dim=0, eps=eps)
        return F.normalize(matrix @ v, dim=0, eps=eps), v


def plain_weight(tensors: Mapping[str, Tensor], style: str, eps: float) -> Tensor:
    """W / sigma of a layer in evaluation mode, from its tensors by their names in ``style``.

    `torch` takes the stored vectors as they are; `ajbrock` refines its one by an iteration that is not stored.
    """
    weight_name, u_name, v_name = NAMES[style]
    weight, u = tensors[weight_name], tensors[u_name].flatten()
    matrix = weight.flatten(1)
    if v_name is None:
        u, v = power_iteration(matrix, u, eps)
    else:
        v = tensors[v_name]
    return weight / (u @ (matrix @ v))


class SpectralNorm(nn.Module):
    """What the layers below share. It is no layer by itself."""

    sn_style: str
    sn_eps: float
    sv0: Tensor

    def _add_spectral_norm(self, style: str, eps: float) -> None:
        if style not in NAMES:
            raise ValueError(f'sn_style must be one of {sorted(NAMES)}, but is {style!r}.')
        self.sn_style, self.sn_eps = style, eps
        weight = self._parameters.pop('weight')
        assert weight is not None
        nn.init.orthogonal_(weight)
        bias: Tensor | None = getattr(self, 'bias', None)  # an embedding has none
        if bias is not None:
            nn.init.zeros_(bias)
        # One iteration, so that a layer that has not been trained yet has a sigma to speak of.
        u, v = power_iteration(weight.flatten(1), torch.randn(len(weight)), eps)
        weight_name, u_name, v_name = NAMES[style]
        self.register_parameter(weight_name, weight)
        if v_name is None:
            self.register_buffer(u_name, u[None])                            # [1O], as in the checkpoints
            self.register_buffer('sv0', torch.ones(1))
        else:
            self.register_buffer(u_name, u)
            self.register_buffer(v_name, v)

    def plain_weight(self) -> Tensor:
        """W / sigma, as evaluation mode has it."""
        weight, u, v = NAMES[self.sn_style]
        tensors = {name: getattr(self, name) for name in (weight, u, v) if name}
        with full_precision(tensors[weight].device):
            return plain_weight(tensors, self.sn_style, self.sn_eps)

    def _fill(self, layer: nn.Conv2d | nn.Linear) -> None:
        layer.weight = nn.Parameter(self.plain_weight().detach())
        layer.train(self.training)

    def normalised_weight(self) -> Tensor:
        """W / sigma; in training mode, after an iteration that is stored."""
        if not self.training:
            return self.plain_weight()
        weight_name, u_name, v_name = NAMES[self.sn_style]
        weight, buffer = getattr(self, weight_name), getattr(self, u_name)
        matrix = weight.flatten(1)
        with full_precision(weight.device):
            u, v = power_iteration(matrix, buffer.flatten(), self.sn_eps)
            sigma = u @ (matrix @ v)
        with torch.no_grad():
            buffer.copy_(u.view_as(buffer))
            if v_name is None:
                self.sv0.copy_(sigma)
            else:
                getattr(self, v_name).copy_(v)
        return weight / sigma


class SpectralConv2d(SpectralNorm, nn.Conv2d):
    """Convolution of stride 1 that keeps the size, with a spectrally normalised weight."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bias: bool, sn_style: str, sn_eps: float
    ) -> None:
        nn.Conv2d.__init__(self, in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self._add_spectral_norm(sn_style, sn_eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.normalised_weight(), self.bias, padding=self.padding)

    def plain(self) -> nn.Conv2d:
        """The same layer of evaluation mode, without spectral normalisation."""
        with torch.device('meta'):
            side = self.kernel_size[0]
            layer = nn.Conv2d(self.in_channels, self.out_channels, side, padding=side // 2)
        layer.bias = self.bias
        self._fill(layer)
        return layer


class SpectralLinear(SpectralNorm, nn.Linear):
    """Fully connected layer with a spectrally normalised weight."""

    def __init__(self, in_features: int, out_features: int, bias: bool, sn_style: str, sn_eps: float) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias=bias)
        self._add_spectral_norm(sn_style, sn_eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalised_weight(), self.bias)

    def plain(self) -> nn.Linear:
        """The same layer of evaluation mode, without spectral normalisation."""
        with torch.device('meta'):
            layer = nn.Linear(self.in_features, self.out_features)
        layer.bias = self.bias
        self._fill(layer)
        return layer


class SpectralEmbedding(SpectralNorm, nn.Embedding):
    """Embedding (N,) -> (N, dim) with a spectrally normalised table."""

    def __init__(self, num_embeddings: int, embedding_dim: int, sn_style: str, sn_eps: float) -> None:
        nn.Embedding.__init__(self, num_embeddings, embedding_dim)
        self._add_spectral_norm(sn_style, sn_eps)

    def forward(self, index: Tensor) -> Tensor:
        return F.embedding(index, self.normalised_weight())


def resolve_spectral_norm(module: nn.Module) -> list[str]:
    """Replace every spectrally normalised convolution and linear layer inside ``module`` by the plain one that it is in
    evaluation mode.

    Returns:
        The names of those layers.
    """
    kinds = (SpectralConv2d, SpectralLinear)
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, kinds)}
    for name, layer in layers.items():
        parent, _, child = name.rpartition('.')
        setattr(module.get_submodule(parent), child, layer.plain())
    return [*layers]
