"""PyTorch's files as plain data, whatever the version of PyTorch.

From 2.6 on, ``torch.load(weights_only=True)`` can be told of the few further types that checkpoints of training hold:
MMEngine's logs, numpy's numbers, rosinality's command line. Before, ``torch.load`` takes any unpickler that one gives
it: here is one that knows tensors and these types, and calls nothing.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch

from glean_plus import compat
from glean_plus.weights.pickles import DATA, Reader, Record
from glean_plus.weights.unfolded import check_torch

# Classes that become inert records: data, whatever they are called.
INERT = {'argparse.Namespace': Record}


def load_plain(path: str | Path, map_location: Any = 'cpu') -> Any:
    """The content of a file of ``torch.save``: tensors and plain data, no code of which is run.

    Raises:
        Exception: Of many kinds, by PyTorch, if it is none, is broken, or asks for anything else.
    """
    with open(path, 'rb') as file:
        check_torch(file)
    if compat.has_safe_globals():
        with compat.inert_globals(INERT):
            return torch.load(path, map_location=map_location, weights_only=True)
    return torch.load(path, map_location=map_location, weights_only=False, pickle_module=Module)


class Log:
    """Stands for ``HistoryBuffer`` in a file: makes one, and cannot be changed itself."""

    def __new__(cls) -> Any:
        from mmengine.logging.history_buffer import HistoryBuffer

        return HistoryBuffer.__new__(HistoryBuffer)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('A class has no state in a file.')


def _statistic(owner: Any, name: Any) -> Any:
    """What ``getattr`` may do in a file, as :func:`glean_plus.compat.method_of_history_buffer` says."""
    from mmengine.logging.history_buffer import HistoryBuffer

    return compat.method_of_history_buffer(HistoryBuffer if owner is Log else owner, name)


KNOWN: dict[str, Any] = {
    **DATA,
    **INERT,
    **{f'torch.{name}': value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    'torch.device': torch.device,
    'mmengine.logging.history_buffer.HistoryBuffer': Log,
    'builtins.getattr': _statistic,
    '__builtin__.getattr': _statistic,
}


class Module:
    """In the place of ``pickle`` in ``torch.load``, which derives its own unpickler, of storages, from this one's."""

    class Unpickler(Reader):
        allowed = KNOWN

    @staticmethod
    def load(file: BinaryIO, **options: Any) -> Any:
        return Module.Unpickler(file, **options).load()
