"""PyTorch's files as plain data, whatever the version of PyTorch.

``torch.load`` takes any unpickler that one gives it: here is one that knows the names of
:mod:`glean_plus.weights.allowed` and calls nothing else. PyTorch's own ``weights_only`` is as safe, but before 2.6 it
cannot be given further types, such as MMEngine's logs, and its message about a refused file says how to switch the
protection off before it says what the file asks for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import torch

from glean_plus.weights.allowed import ALLOWED, LOGS
from glean_plus.weights.limits import check_torch
from glean_plus.weights.pickles import Reader


def load_plain(source: str | Path | BinaryIO, map_location: Any = 'cpu') -> Any:
    """The content of a file of ``torch.save``: tensors and plain data, no code of which is run.

    Raises:
        Exception: Of many kinds, by PyTorch, if it is none, is broken, or asks for anything else.
    """
    if isinstance(source, (str, Path)):
        with open(source, 'rb') as file:
            check_torch(file)
    else:
        check_torch(source)
    return torch.load(source, map_location=map_location, weights_only=False, pickle_module=Module)


class Module:
    """In the place of ``pickle`` in ``torch.load``, which derives its own unpickler, of storages, from this one's."""

    class Unpickler(Reader):
        allowed = {**ALLOWED, **LOGS}

    @staticmethod
    def load(file: BinaryIO, **options: Any) -> Any:
        return Module.Unpickler(file, **options).load()
