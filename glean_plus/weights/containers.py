"""Any weight file as tensors and settings by dotted name; the file's first bytes say what it is, not its suffix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glean_plus.compat import inert_globals
from glean_plus.weights.errors import WeightsError
from glean_plus.weights.pickles import Record, read_pickle

PICKLE = b'\x80'
OLD_TORCH = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'  # torch.save before 1.6 starts with this pickled number
MAX_DEPTH, MAX_ENTRIES = 40, 50_000  # far above any network's; a crafted file can share one dict many times over

# Parts of a checkpoint of training that hold no network.
SKIPPED = ('optimizer', 'optimizers', 'g_optim', 'd_optim', 'optim', 'message_hub', 'param_schedulers')


@dataclass
class Content:
    """What a weight file holds.

    Attributes:
        tensors: Every tensor by its dotted name, such as ``g_ema.input.input``.
        settings: Numbers, strings, booleans and sequences of them, likewise.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def below(self, prefix: str) -> Content:
        """The part whose names start with ``prefix`` and a dot, without it; everything for an empty prefix."""
        if not prefix:
            return self
        start = prefix.rstrip('.') + '.'
        return Content(
            *({key[len(start):]: value for key, value in part.items() if key.startswith(start)}
              for part in (self.tensors, self.settings))
        )  # fmt: skip


def read_content(path: Path) -> Content:
    """Read .safetensors, PyTorch's .pth and .pt, and NVlabs' .pkl, running nothing that is in them.

    A checkpoint's ``state_dict``, if it has one, is what is read.

    Raises:
        WeightsError: If the file is none of them, is cut off, or holds no tensors; the message names the file.
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
        elif head.startswith(PICKLE) and not head.startswith(OLD_TORCH):
            file.seek(0)
            tree = read_pickle(file, str(path))
        elif path.suffix == '.safetensors':
            raise WeightsError(f'{path} is no {kind}: it does not start like one.')
        else:
            tree = _torch(path)
    if isinstance(tree, Mapping):
        tree = tree.get('state_dict', tree)
    content = Content()
    _flatten(tree, '', content, 0, str(path))
    if not content.tensors:
        raise WeightsError(f'{path} holds no tensors, neither on top nor below "state_dict".')
    return content


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'{path} is no readable safetensors file: {error}') from error


def _torch(path: Path) -> Any:
    try:
        # rosinality's trainer saves its command line, which is data but comes as this class.
        with inert_globals({'argparse.Namespace': Record}):
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file; each becomes the same sentence
        hint = ''
        if 'HistoryBuffer' in str(error):
            hint = ' A checkpoint of training holds a log that needs torch 2.6.'
        elif 'argparse' in str(error):
            hint = ' It holds a command line beside the weights, which needs torch 2.6: save it again without `args`.'
        raise WeightsError(f'{path} is no PyTorch file that can be read safely: {error}{hint}') from error


def _flatten(tree: Any, name: str, content: Content, depth: int, source: str) -> None:
    if isinstance(tree, Record):
        tree = tree.state
    if isinstance(tree, Mapping):
        if depth > MAX_DEPTH:
            raise WeightsError(f'{source} is nested more than {MAX_DEPTH} deep at {name}.')
        for key, value in tree.items():
            if isinstance(key, str) and not (depth == 0 and key in SKIPPED):
                _flatten(value, f'{name}.{key}' if name else key, content, depth + 1, source)
    elif isinstance(tree, np.ndarray) and tree.dtype.kind in 'biuf':
        content.tensors[name] = torch.from_numpy(np.array(tree))
    elif isinstance(tree, Tensor):
        content.tensors[name] = tree
    elif isinstance(tree, (bool, int, float, str, list, tuple, type(None))):
        content.settings[name] = tree
    if len(content.tensors) + len(content.settings) > MAX_ENTRIES:
        raise WeightsError(f'{source} holds more than {MAX_ENTRIES} tensors and settings.')
