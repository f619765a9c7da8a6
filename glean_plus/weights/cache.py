"""Frozen networks that losses and metrics share: each is read once in a process, however many want it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Union

import torch
from torch import nn

from glean_plus.weights.cards import Card
from glean_plus.weights.fetch import cached_path, is_address

Weights = Union[str, 'os.PathLike[str]', Card]

_networks: dict[tuple[Hashable, torch.device], nn.Module] = {}


class SharedNetwork:
    """A handle of a frozen network, which is built when it is first asked for.

    It is no ``nn.Module``: a loss or metric that holds it neither saves, moves, converts nor trains the network's
    weights. Handles of the same kind, weights and arguments give the same object.

    Args:
        build: Function of a module, called as ``build(*arguments, weights=weights)`` -> network on the CPU.
        *arguments: What else tells such networks apart, such as the layers.
        weights: Path, URL or card of the weight file; None if ``build`` knows the only one.
    """

    def __init__(self, build: Callable[..., nn.Module], *arguments: Hashable, weights: Weights | None = None) -> None:
        self.build, self.arguments, self.weights = build, arguments, weights
        self._key: Hashable = None

    def on(self, device: torch.device | str) -> nn.Module:
        """The network on a device: in evaluation mode, in float32, its weights without gradients.

        Raises:
            WeightsError: If its weights cannot be had, or do not fit.
        """
        device = _with_index(torch.device(device))
        key = self._key or (self.build, self.arguments, _file(self.weights))
        if (key, device) not in _networks:
            loaded = next((network for (other, _), network in _networks.items() if other == key), None)
            if loaded is None:
                options = {} if self.weights is None else dict(weights=self.weights)
                network = self.build(*self.arguments, **options)
                key = (self.build, self.arguments, _file(self.weights))  # a download is there only now
            else:
                network = copy.deepcopy(loaded)
            _networks[key, device] = network.float().to(device).requires_grad_(False).eval()
        self._key = key
        return _networks[key, device]


def release() -> None:
    """Forget every shared network, and so free its memory once nobody uses it."""
    _networks.clear()


def _with_index(device: torch.device) -> torch.device:
    if device.type == 'cuda' and device.index is None:
        return torch.device('cuda', torch.cuda.current_device())
    return device


def _file(weights: Weights | None) -> Hashable:
    """The identity of a file, with its time and size: one that is replaced is another network."""
    if weights is None:
        return None
    if isinstance(weights, Card) or is_address(weights):
        path = cached_path(weights if isinstance(weights, Card) else str(weights))
    else:
        path = Path(weights).expanduser().resolve()
    if not path.is_file():
        return str(path), 0, 0
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size
