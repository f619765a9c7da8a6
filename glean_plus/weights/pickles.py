"""NVlabs' network pickles as plain data: nothing in them is ever run.

StyleGAN2-ADA's files hold each module together with the source text of its class, which their own reader executes, and
the TensorFlow files of StyleGAN and StyleGAN2 hold the source of the network's function. Here the names that such a
file may use are a table; what it calls its classes become inert records, and their source text is dropped.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from glean_plus.weights.allowed import ALLOWED, RENAMED, Record
from glean_plus.weights.errors import WeightsError, brief, shown
from glean_plus.weights.limits import check_pickle


class Reader(pickle.Unpickler):
    """Hands out what :mod:`glean_plus.weights.allowed` has for a name, and nothing else."""

    allowed: Mapping[str, Any] = ALLOWED

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[f'{RENAMED.get(module, module)}.{name}']
        except KeyError:
            named = brief(f'{module}.{name}', 80)
            raise pickle.UnpicklingError(
                f'it asks for {named}, which is refused: save its tensors alone where it was made'
            ) from None


class _Networks(Reader):
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
        return _networks(_Networks(file, encoding='latin1').load())  # Python 2's strings
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
    return {key: _module(net.state) if isinstance(net, Record) else net for key, net in content.items()}


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
