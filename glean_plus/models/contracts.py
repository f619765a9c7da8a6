"""What GLEAN asks of the parts it is composed of, and the rest of the package of a generator.

A configured module need not be derived from these classes: it has to have their attributes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import TypeGuard


class Encoder(nn.Module):
    """Features of the input by resolution (Eq. 1): (N, in_channels, H, W) -> {resolution: (N, C, h, w)}.

    Attributes:
        in_channels: Channels of the input.
        resolutions: Of the features, the input's first; each is half of the one before.
    """

    in_channels: int
    resolutions: Sequence[int]


class Codes(nn.Module):
    """The bank's codes: the coarsest feature -> one (N or 1, code_dims[k]) per layer, None where it has none."""

    @abstractmethod
    def start_from(self, codes: Sequence[Tensor]) -> None:
        """Start at these codes, one (code_dims[k],) per layer of the full bank, where that makes sense."""


class Decoder(nn.Module):
    """The image from f_0 and the bank's features (Eq. 4).

    Attributes:
        out_channels: Channels of the image.
        resolutions: Those whose bank features it takes.
    """

    out_channels: int
    resolutions: Sequence[int]


class AnySize(Protocol):
    """A generator of inputs of any size; ``in_size`` and ``out_size`` are nominal."""

    in_size: int
    out_size: int
    multiple: int

    def forward_any(self, lq: Tensor, *labels: Tensor, origin: tuple[int, int] = (0, 0)) -> Tensor: ...


def takes_any_size(network: nn.Module) -> TypeGuard[AnySize]:
    """Whether a network takes inputs of other sizes than its nominal one."""
    return hasattr(network, 'forward_any') and bool(getattr(network, 'any_size', False))


class WithCodes(Protocol):
    """A generator that can be given codes."""

    def encode(self, lq: Tensor, *labels: Tensor) -> tuple[dict[int, Tensor], list[Tensor | None]]: ...
