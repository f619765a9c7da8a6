"""NVlabs' network pickles as plain data: nothing in them is ever run.

StyleGAN2-ADA's files hold each module together with the source text of its class, which their own reader executes, and
the TensorFlow files of StyleGAN and StyleGAN2 hold the source of the network's function. Here the names that such a
file may use are a table; what it calls its classes become inert records, and their source text is dropped.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from glean_plus.weights.errors import WeightsError, brief, shown
from glean_plus.weights.unfolded import check_pickle, check_torch


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


def _persistent(meta: Any) -> Record:
    """NVlabs' module: its state alone, without ``module_src``."""
    if not isinstance(meta, Mapping) or meta.get('type') != 'class':
        raise pickle.UnpicklingError('A persistent object is not described as one.')
    record = Record()
    record.__setstate__(meta['state'])
    return record


# Stands for the class of numpy's arrays, which is not handed out: called, it could be given any memory.
NDARRAY = 'numpy.ndarray'


def _array(subtype: Any, shape: Any, kind: Any) -> np.ndarray:
    """The empty array that numpy's pickles fill afterwards."""
    if subtype is not NDARRAY:
        raise pickle.UnpicklingError(f'An array of the type {shown(subtype)} is refused.')
    return np.ndarray((0,), dtype='b')


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
    return np.frombuffer(data, dtype, count=1)[0].item()


def _bytes(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'The encoding {shown(encoding)} is refused.')
    return text.encode('latin1')


def _storage(data: bytes) -> Any:
    file = io.BytesIO(data)
    check_torch(file)
    return torch.load(file, map_location='cpu', weights_only=True)


def _parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    return data


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *unused: Any) -> Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


# What a file may name -> what it gets for it: tensors, arrays and plain data, as PyTorch and numpy write them.
DATA: dict[str, Any] = {
    'collections.OrderedDict': OrderedDict,
    '_codecs.encode': _bytes,
    'numpy.ndarray': NDARRAY,
    'numpy.dtype': _dtype,
    'numpy.core.multiarray._reconstruct': _array,
    'numpy._core.multiarray._reconstruct': _array,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
    'torch.Size': torch.Size,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_parameter': _parameter,
}
# The same in NVlabs' pickles, with what these call their classes.
ALLOWED: dict[str, Any] = {
    **DATA,
    'torch.storage._load_from_bytes': _storage,
    'torch_utils.persistence._reconstruct_persistent_obj': _persistent,
    'dnnlib.util.EasyDict': Plain,
    'dnnlib.EasyDict': Plain,
    'dnnlib.tflib.network.Network': Record,
}


class Reader(pickle.Unpickler):
    """Hands out what its table has for a name, and nothing else."""

    allowed: Mapping[str, Any] = DATA

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[f'{module}.{name}']
        except KeyError:
            raise pickle.UnpicklingError(f'it asks for {brief(f"{module}.{name}", 80)}, which is refused') from None


class _Networks(Reader):
    allowed = ALLOWED

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError('it refers to data outside itself')


def read_pickle(file: BinaryIO, source: str) -> dict[str, Any]:
    """NVlabs' pickle -> {'G': ..., 'D': ..., 'G_ema' or 'Gs': ...} of tensors, numbers and nested dicts.

    Keys of a TensorFlow network are its variables' names with slashes; its ``static_kwargs`` stand beside them.

    Raises:
        WeightsError: If it is none, is cut off, or asks for anything but data.
    """
    try:
        start = file.tell()
        check_pickle(file)
        file.seek(start)
        return _networks(_Networks(file).load())
    except Exception as error:  # a broken pickle raises nearly anything; each becomes the same sentence
        raise WeightsError(
            f'{source} is no PyTorch file or NVlabs pickle that can be read safely: {brief(error)}'
        ) from error


def _networks(content: Any) -> dict[str, Any]:
    if isinstance(content, tuple) and len(content) == 3 and all(isinstance(net, Record) for net in content):
        return {name: _tensorflow(net.state) for name, net in zip(('G', 'D', 'Gs'), content)}
    if isinstance(content, Record):
        content = {'G_ema': content}
    if not isinstance(content, Mapping):
        raise pickle.UnpicklingError(f'it is a pickle of {type(content).__name__}, not of networks')
    return {key: _module(net.state) for key, net in content.items() if isinstance(net, Record)}


def _part(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One of the dicts that a network is made of."""
    part = state.get(name, {})
    if not isinstance(part, Mapping):
        raise pickle.UnpicklingError(f'{name} of a network is {shown(part)}, not a dict')
    return {key: value for key, value in part.items() if isinstance(key, str)}


def _module(state: Mapping[str, Any]) -> dict[str, Any]:
    """A torch module's state: parameters, buffers, submodules and plain settings by name."""
    tree: dict[str, Any] = {key: value for key, value in state.items() if isinstance(key, str) and key[:1] != '_'}
    for group in ('_parameters', '_buffers'):
        tree |= {key: value for key, value in _part(state, group).items() if value is not None}
    for key, value in _part(state, '_modules').items():
        if isinstance(value, Record):
            tree[key] = _module(value.state)
    return tree


def _tensorflow(state: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {'static_kwargs': dict(_part(state, 'static_kwargs'))}
    for name, value in state.get('variables', []):
        value = np.asarray(value) if isinstance(value, (bool, int, float)) else value
        if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
            kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise pickle.UnpicklingError(f'the variable {shown(name)} is no array of numbers but of {kind}')
        tree[name] = value
    for name, part in _part(state, 'components').items():
        if isinstance(part, Record):
            inner = _tensorflow(part.state)
            tree['static_kwargs'] |= inner.pop('static_kwargs')
            tree |= {f'{name}/{key}': value for key, value in inner.items()}
    return tree
