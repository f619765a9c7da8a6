"""What an architecture's layout is: from a state dict to a constructor's arguments, and from those to every key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from glean_plus.weights.errors import WeightsError

Shapes = dict[str, tuple[int, ...]]
LARGEST = 1 << 16


@dataclass(frozen=True)
class Architecture:
    """
    Attributes:
        name: As banks and messages name it.
        discriminator: Whether it scores images rather than making them.
        arguments: State -> arguments of the bank's constructor. Raises KeyError if a tensor that tells them is missing,
            and WeightsError if no bank is such a network.
        shapes: Constructor arguments -> {key: shape}.
    """

    name: str
    arguments: Callable[[Mapping[str, Tensor]], dict[str, Any]]
    shapes: Callable[[Mapping[str, Any]], Shapes]
    discriminator: bool = False


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers the pattern's group takes."""
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})


def resolutions(out_size: int) -> list[int]:
    """4, 8, 16 ... ``out_size``.

    Raises:
        WeightsError: If that is more than ``LARGEST``.
    """
    if out_size > LARGEST:
        raise WeightsError(f'its layers would draw images of more than {LARGEST} pixels a side.')
    return [2**i for i in range(2, out_size.bit_length())]
