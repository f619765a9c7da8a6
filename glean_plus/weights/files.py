"""Reading and writing weight files: nothing in a file is ever executed, and nothing is half-written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from glean_plus.weights.errors import WeightsError
from glean_plus.weights.fetch import fetch


def local_copy(source: str | os.PathLike[str]) -> Path:
    """The file itself, or the cached download of a URL: see :func:`glean_plus.weights.fetch.fetch`.

    Raises:
        WeightsError: If the file is missing, or cannot be downloaded; the message says what to do by hand.
    """
    text = str(source)
    if text.startswith(('http://', 'https://')):
        return fetch(text)
    path = Path(text).expanduser()
    if not path.is_file():
        raise WeightsError(f'There is no weight file {path}.')
    return path


def read_state_dict(source: str | os.PathLike[str], prefix: str = '') -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or PyTorch file, those below ``prefix`` if one is given.

    Args:
        source: Path or URL.
        prefix: Such as ``generator_ema``, without the dot; removed from the keys.

    Raises:
        WeightsError: If the file is no weight file, holds no tensors, or none below the prefix.
    """
    path = local_copy(source)
    return select_prefix(_read(path), prefix, str(path))


def read_pretrained(pretrained: Mapping[str, str]) -> tuple[dict[str, Tensor], str]:
    """What ``pretrained=dict(checkpoint=..., prefix=...)`` of a config means: the tensors, and a name for messages.

    Raises:
        WeightsError: As :func:`read_state_dict`, and on other keys than those two.
    """
    if 'checkpoint' not in pretrained or not set(pretrained) <= {'checkpoint', 'prefix'}:
        raise WeightsError(f'`pretrained` must have `checkpoint` and may have `prefix`, but has {sorted(pretrained)}.')
    checkpoint, prefix = pretrained['checkpoint'], pretrained.get('prefix', '')
    return read_state_dict(checkpoint, prefix), f'{checkpoint} ({prefix})' if prefix else checkpoint


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f'{path} is no readable safetensors file: {error}') from error
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file; each becomes the same sentence
        hint = ' A checkpoint of training holds a log that needs torch 2.6.' if 'HistoryBuffer' in str(error) else ''
        raise WeightsError(f'{path} is no PyTorch file that can be read safely: {error}{hint}') from error
    state = content.get('state_dict', content) if isinstance(content, Mapping) else {}
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise WeightsError(f'{path} holds no tensors, neither on top nor below "state_dict".')
    return state


def select_prefix(state: Mapping[str, Tensor], prefix: str, source: str) -> dict[str, Tensor]:
    """The tensors whose key starts with ``prefix`` and a dot, without it; all of them for an empty prefix."""
    if not prefix:
        return dict(state)
    start = prefix.rstrip('.') + '.'
    chosen = {key[len(start):]: value for key, value in state.items() if key.startswith(start)}
    if not chosen:
        tops = Counter(key.split('.')[0] for key in state)
        listing = ', '.join(f'{name} ({count})' for name, count in tops.most_common(8))
        raise WeightsError(f'{source} has no key that starts with "{start}"; its keys start with: {listing}.')
    return chosen


def write_safetensors(
    state: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write tensors whole or not at all; floating ones as ``dtype`` if given."""
    from safetensors.torch import save_file

    path = Path(path)
    tensors = {}
    for key, value in state.items():
        target = dtype if dtype and value.is_floating_point() else value.dtype
        tensors[key] = value.detach().to('cpu', target, copy=True).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        save_file(tensors, partial, metadata=dict(metadata or {}))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
