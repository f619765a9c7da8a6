"""The names that a pickle in a weight file may use, and what it gets for each: the one list of what is allowed.

A pickle is a program that looks names up and calls what it finds. Here a name stands for a function that builds plain
data and nothing else, or for an inert record. A name gets onto this list if

* trainers write it beside tensors without meaning to: numpy's numbers and arrays, sets, the subclasses of ``dict`` that
  hold settings, a parsed command line, MMEngine's logs; and
* what stands for it neither runs code of the file nor takes memory that the file does not have.

Everything else is refused by its name. That includes harmless classes such as ``pathlib.PosixPath``, since a network's
checkpoint does not need them, and a short list can be checked by reading it.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glean_plus import compat
from glean_plus.weights.errors import shown

# How Python 2 and numpy 2 name modules -> the name in the tables here. Pickles up to protocol 2 use Python 2's names.
RENAMED = {
    '__builtin__': 'builtins', 'copy_reg': 'copyreg', 'numpy._core.multiarray': 'numpy.core.multiarray',
    'numpy._core.numeric': 'numpy.core.numeric',
}  # fmt: skip


class Record:
    """An object of a class that is not run: only its state."""

    def __init__(self, *args: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            raise pickle.UnpicklingError(f'An object has the state {type(state).__name__}, not a dict.')
        self.state = dict(state)


class Plain(dict):
    """A dict, whatever subclass of it the file names; attributes beside its items are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


# Stand for classes that a file passes on as arguments. They are not handed out: called, ``bytearray`` and an array
# could be given any memory.
NDARRAY, OBJECT, DICT = 'numpy.ndarray', 'builtins.object', 'builtins.dict'


def _reconstructed(kind: Any, base: Any, state: Any) -> Any:
    """An object in protocols 0 and 1."""
    if kind is Plain and base == DICT and isinstance(state, dict):
        return Plain(state)
    if kind is Record and base == OBJECT and state is None:
        return Record()
    raise pickle.UnpicklingError(f'An object of {shown(kind)} on {shown(base)} is refused.')


def _set(items: Any = ()) -> set[Any]:
    """A set, in protocols up to 3."""
    if not isinstance(items, (list, tuple)):
        raise pickle.UnpicklingError(f'A set of {shown(items)} is refused.')
    return set(items)


def _frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(_set(items))


def _array(subtype: Any, shape: Any, kind: Any) -> np.ndarray:
    """The empty array that numpy's pickles fill afterwards."""
    if subtype is not NDARRAY:
        raise pickle.UnpicklingError(f'An array of the type {shown(subtype)} is refused.')
    return np.ndarray((0,), dtype='b')


def _whole_array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array in protocol 5."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in 'biuf':
        raise pickle.UnpicklingError(f'An array of the type {shown(dtype)} is refused.')
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _dtype(name: Any, align: Any = False, copy: Any = False) -> np.dtype:
    """A type of numbers by its name; a file gets no arrays of objects."""
    dtype = np.dtype(name, copy=True) if isinstance(name, str) else None  # whose order of bytes the file sets
    if dtype is None or dtype.kind not in 'biuf':
        raise pickle.UnpicklingError(f'An array of the type {shown(name)} is refused.')
    return dtype


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    """A numpy number as a Python one."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in 'biuf':
        raise pickle.UnpicklingError(f'A number of the type {shown(dtype)} is refused.')
    return np.frombuffer(_as_bytes(data), dtype, count=1)[0].item()


def _as_bytes(data: Any) -> bytes:
    """Bytes, or Python 2's string, which is read as latin1."""
    return data.encode('latin1') if isinstance(data, str) else data


def _bytes(text: str = '', encoding: str = 'latin1') -> bytes:
    """Bytes, in protocols up to 2."""
    if encoding != 'latin1' or not isinstance(text, str):
        raise pickle.UnpicklingError(f'The encoding {shown(encoding)} of {shown(text)} is refused.')
    return text.encode('latin1')


def _no_bytes() -> bytes:
    """Empty bytes, in protocols up to 2."""
    return b''


def _parameter(data: Tensor, requires_grad: bool, hooks: Any, state: Any = None) -> Tensor:
    return data


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *unused: Any) -> Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


class Log:
    """Stands for ``HistoryBuffer`` in a file: makes one, and cannot be changed itself."""

    def __new__(cls) -> Any:
        from mmengine.logging.history_buffer import HistoryBuffer

        return HistoryBuffer.__new__(HistoryBuffer)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('A class has no state in a file.')


def _statistic(owner: Any, name: Any) -> Any:
    """``getattr`` in a file, restricted as :func:`glean_plus.compat.method_of_history_buffer` says."""
    from mmengine.logging.history_buffer import HistoryBuffer

    return compat.method_of_history_buffer(HistoryBuffer if owner is Log else owner, name)


def _persistent(meta: Any) -> Record:
    """NVlabs' module: its state alone, without ``module_src``."""
    if not isinstance(meta, Mapping) or meta.get('type') != 'class':
        raise pickle.UnpicklingError('A persistent object is not described as one.')
    record = Record()
    record.__setstate__(meta['state'])
    return record


def _storage(data: Any) -> Any:
    """A storage within a pickle: a file of ``torch.save`` in itself."""
    from glean_plus.weights.torch_files import load_plain  # which needs the tables here

    return load_plain(io.BytesIO(_as_bytes(data)))


ALLOWED: dict[str, Any] = {
    # Python's own data, as each protocol writes it.
    '_codecs.encode': _bytes,
    'builtins.bytes': _no_bytes,
    'builtins.complex': complex,
    'builtins.dict': DICT,
    'builtins.frozenset': _frozenset,
    'builtins.object': OBJECT,
    'builtins.set': _set,
    'collections.OrderedDict': OrderedDict,
    'copyreg._reconstructor': _reconstructed,
    # Numbers and arrays.
    'numpy.core.multiarray._reconstruct': _array,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy.core.numeric._frombuffer': _whole_array,
    'numpy.dtype': _dtype,
    'numpy.ndarray': NDARRAY,
    # Tensors. PyTorch itself reads the storages of its files; other pickles hold each as such a file.
    'torch.Size': torch.Size,
    'torch.device': torch.device,
    **{f'torch.{name}': value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch.storage._load_from_bytes': _storage,
    # Networks of NVlabs.
    'dnnlib.tflib.network.Network': Record,
    'torch_utils.persistence._reconstruct_persistent_obj': _persistent,
    # Settings.
    'addict.addict.Dict': Plain,
    'argparse.Namespace': Record,
    'dnnlib.EasyDict': Plain,
    'dnnlib.util.EasyDict': Plain,
    'easydict.EasyDict': Plain,
    'mmcv.utils.config.ConfigDict': Plain,
    'mmengine.config.config.ConfigDict': Plain,
}

# MMEngine's logs, in files of ``torch.save`` alone: nothing else holds them.
LOGS: dict[str, Any] = {'mmengine.logging.history_buffer.HistoryBuffer': Log, 'builtins.getattr': _statistic}
