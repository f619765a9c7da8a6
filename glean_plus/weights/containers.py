"""Any weight file as tensors and settings by dotted name; the file's first bytes say what it is, not its suffix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glean_plus.weights.allowed import Record
from glean_plus.weights.errors import WeightsError, brief
from glean_plus.weights.integrity import LEEWAY, MAX_GROWTH, directory_damage
from glean_plus.weights.limits import is_old_torch
from glean_plus.weights.pickles import read_pickle
from glean_plus.weights.prefixes import without_wrappers
from glean_plus.weights.torch_files import load_plain

PICKLES = (b'\x80', b'(', b'}', b']', b'c')  # from protocol 2 on; those before begin with an object
MAX_DEPTH, MAX_ENTRIES = 40, 50_000  # far above any network's; a crafted file can share one dict many times over

# Parts of a checkpoint of training that hold no network.
SKIPPED = ('optimizer', 'optimizers', 'g_optim', 'd_optim', 'optim', 'message_hub', 'param_schedulers')


@dataclass
class Content:
    """The content of a weight file."""

    # Every tensor by its dotted name, such as `g_ema.input.input`.
    tensors: dict[str, Tensor] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)  # numbers, strings, booleans and sequences of them, likewise

    def below(self, prefix: str) -> Content:
        """The part whose names start with ``prefix`` and a dot, without it; everything for an empty prefix."""
        if not prefix:
            return self
        start = prefix.rstrip('.') + '.'
        return Content(
            *({key[len(start):]: value for key, value in part.items() if key.startswith(start)}
              for part in (self.tensors, self.settings))
        )  # fmt: skip

    def without(self, prefixes: Iterable[str]) -> Content:
        """All but the parts below these prefixes."""
        starts = tuple(f'{prefix}.' for prefix in prefixes)
        return Content(
            *({key: value for key, value in part.items() if not key.startswith(starts)}
              for part in (self.tensors, self.settings))
        )  # fmt: skip

    def without_wrappers(self) -> Content:
        """The same with the names of wrappers of training left out: see :mod:`glean_plus.weights.prefixes`."""
        return Content(without_wrappers(self.tensors), without_wrappers(self.settings))


def read_content(path: Path, beside: bool = False) -> Content:
    """Read .safetensors, PyTorch's .pth and .pt, and NVlabs' .pkl, running nothing that is in them.

    A checkpoint's ``state_dict``, if it has one, is what is read, without that name.

    Args:
        beside: Read what lies beside a ``state_dict``, too, such as averaged weights.

    Raises:
        WeightsError: If the file is none of them, is cut off, holds no tensors, or unfolds to far more than its
            size; the message names the file.
    """
    with open(path, 'rb') as file:
        head = file.read(512)
        kind = 'readable safetensors file' if path.suffix == '.safetensors' else 'PyTorch file that can be read safely'
        if not head:
            raise WeightsError(f'{path} is no {kind}: it is empty.')
        if head.lstrip()[:1] == b'<':
            raise WeightsError(f'{path} is no {kind} but a web page, as a failed download leaves behind.')
        # The length of a safetensors header may happen to start like a pickle; a pickle is never such a length.
        header = int.from_bytes(head[:8], 'little')
        if head[8:9] == b'{' and header <= path.stat().st_size:
            tree: Any = _safetensors(path)
        elif head.startswith(PICKLES) and not is_old_torch(head):
            file.seek(0)
            tree = read_pickle(file, str(path))
        elif path.suffix == '.safetensors':
            raise WeightsError(f'{path} is no {kind}: it does not start like one.')
        else:
            tree = read_torch(path)
    if isinstance(tree, Mapping) and 'state_dict' in tree:
        inner = tree['state_dict']
        others = {key: value for key, value in tree.items() if beside and key != 'state_dict'}
        tree = {**others, **inner} if beside and isinstance(inner, Mapping) else inner
    content = _Flattened(path).of(tree)
    if not content.tensors:
        raise WeightsError(f'{path} holds no tensors, neither on top nor below "state_dict".')
    return content


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'{path} is no readable safetensors file: {brief(error)}') from error


def read_torch(path: Path) -> Any:
    """The content of a file of ``torch.save``, as plain data; one that unfolds to far more than its size is refused.

    Raises:
        WeightsError: If it cannot be read so.
    """
    if wrong := directory_damage(path):
        raise WeightsError(f'{path} is no PyTorch file that can be read safely: {wrong}.')
    try:
        return load_plain(path)
    except Exception as error:  # torch raises many kinds for a broken file; each becomes the same sentence
        raise WeightsError(f'{path} is no PyTorch file that can be read safely: {brief(error)}') from error


class _Flattened:
    """The content of a file's tree, whose size is looked at before anything is copied."""

    def __init__(self, path: Path) -> None:
        self.path, self.content = path, Content()
        self.most = MAX_GROWTH * path.stat().st_size + LEEWAY
        self.bytes = self.entries = 0

    def of(self, tree: Any) -> Content:
        self._take(tree, '', 0)
        return self.content

    def _take(self, tree: Any, name: str, depth: int) -> None:
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise WeightsError(f'{self.path} holds more than {MAX_ENTRIES} tensors and settings.')
        if isinstance(tree, Record):
            tree = tree.state
        if isinstance(tree, Mapping):
            if depth > MAX_DEPTH:
                raise WeightsError(f'{self.path} is nested more than {MAX_DEPTH} deep at {brief(name)}.')
            for key, value in tree.items():
                if isinstance(key, str) and not (depth == 0 and key in SKIPPED):
                    self._take(value, f'{name}.{key}' if name else key, depth + 1)
        elif isinstance(tree, np.ndarray) and tree.dtype.kind in 'biuf':
            self._count(tree.size * tree.itemsize)
            try:
                self.content.tensors[name] = torch.from_numpy(np.array(tree, tree.dtype.newbyteorder('=')))
            except TypeError as error:  # such as 128 bits
                raise WeightsError(f'{self.path} has {brief(name)} of {tree.dtype}, which PyTorch has not.') from error
        elif isinstance(tree, Tensor):
            if tree.layout != torch.strided or tree.is_nested or tree.is_quantized or tree.device.type != 'cpu':
                raise WeightsError(f'{self.path} has {brief(name)} in a sparse, quantised or empty form.')
            self._count(tree.numel() * tree.element_size())
            self.content.tensors[name] = tree
        elif isinstance(tree, (bool, int, float, str, list, tuple, type(None))):
            self.content.settings[name] = tree

    def _count(self, size: int) -> None:
        """Values that are shared, or repeated by a stride of 0, count each time: a conversion copies them."""
        self.bytes += size
        if self.bytes > self.most:
            raise WeightsError(f'{self.path} has tensors of more than {self.most:,} bytes, which it is too small for.')
