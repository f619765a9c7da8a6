"""How much memory a network takes, without running it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from glean_plus.inference.errors import RestoreError

UNITS = {'': 1, 'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


class LivePeak(TorchDispatchMode):
    """While it is entered, the most bytes that results of operations held at once: :attr:`peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_flatten(result)[0]:
            if isinstance(each, Tensor):
                storage = each.untyped_storage()
                ref = StorageWeakRef(storage)
                self._live[ref.cdata] = (ref, storage.nbytes())
        self._live = {key: value for key, value in self._live.items() if not value[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return result


def bytes_per_pixel(build: Callable[[], nn.Module], shape: tuple[int, int, int, int]) -> float:
    """Bytes that a network's activations need for each pixel of its input, in float32, weights not counted.

    Args:
        build: Makes the network; it is built on the meta device, where nothing is computed.
        shape: Of its input, (1, C, H, W).
    """
    with torch.device('meta'):
        network = build().eval()
        inputs = torch.empty(shape)
        with torch.no_grad(), LivePeak() as live:
            network(inputs)
    return live.peak / (shape[-2] * shape[-1])


def parse_bytes(text: str | int | float, what: str = 'Memory') -> int:
    """``'500M'``, ``'4G'`` or a number -> bytes; ``what`` it is of, for the message.

    Raises:
        RestoreError: On anything else, or less than a megabyte.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*', str(text), re.IGNORECASE)
    size = int(float(match.group(1)) * UNITS[match.group(2).upper()]) if match else 0
    if size < UNITS['M']:
        raise RestoreError(f'{what} is a number with K, M, G or T behind it, 1M at least, as 4G; not {text!r}.')
    return size
