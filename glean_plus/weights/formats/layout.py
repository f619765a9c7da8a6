"""Interface of a network whose published weights can be imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from glean_plus.registry import ARCHITECTURES
from glean_plus.weights.errors import WeightsError

Shapes = dict[str, tuple[int, ...]]
LARGEST = 1 << 16


class PublishedNetwork(nn.Module):
    """A bank or a discriminator: its state dict is the canonical layout, which files of other formats are brought to.

    Attributes:
        architecture: As formats and messages name it. A class that sets it is registered by it.
        origin: Whose names its tensors have.
        anchors: Keys that each of its state dicts has, and none of another network together.
        discriminator: Whether it scores images rather than making them.
    """

    architecture: ClassVar[str] = ''
    origin: ClassVar[str] = 'glean_plus'
    anchors: ClassVar[tuple[str, ...]] = ()
    discriminator: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if vars(cls).get('architecture'):
            ARCHITECTURES.register_module(name=cls.architecture, module=cls)

    @classmethod
    def hyperparameters(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The constructor's arguments that a state dict of the whole network tells.

        Raises:
            KeyError: If a tensor that tells them is missing.
            WeightsError: If it is not such a network.
        """
        raise WeightsError(f'{cls.__name__} does not say how it is built from a state dict.')

    @classmethod
    def shapes(cls, arguments: Mapping[str, Any]) -> Shapes:
        """The shape of each tensor of such a network; nothing is allocated."""
        with torch.device('meta'):
            return {key: tuple(value.shape) for key, value in cls(**arguments).state_dict().items()}


def published_networks() -> dict[str, type[PublishedNetwork]]:
    """Architecture -> network."""
    ARCHITECTURES.import_from_location()
    networks: dict[str, type[PublishedNetwork]] = ARCHITECTURES.module_dict
    return networks


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """The number of different values of the pattern's group."""
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})


def side(doublings: int) -> int:
    """4, doubled so many times.

    Raises:
        WeightsError: If that is more than ``LARGEST``.
    """
    if doublings > (LARGEST // 4).bit_length() - 1:
        raise WeightsError(f'its layers would draw images of more than {LARGEST} pixels a side.')
    return 4 << doublings
