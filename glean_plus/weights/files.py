"""Reading and writing weight files: nothing in a file is ever executed, and nothing is half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glean_plus.utils.files import check_name, save_json, whole_or_not_at_all
from glean_plus.utils.text import is_unicode
from glean_plus.weights.cards import Card
from glean_plus.weights.containers import read_content
from glean_plus.weights.errors import WeightsError, shown
from glean_plus.weights.fetch import fetch, is_address, sha256
from glean_plus.weights.prefixes import beginnings


def local_copy(source: str | os.PathLike[str] | Card) -> Path:
    """The file itself, or the cached download of a URL, ``hf://`` address or card.

    Downloads are made by :func:`glean_plus.weights.fetch.fetch`.

    Raises:
        WeightsError: If the file is missing, or cannot be downloaded; the message says what to do by hand.
    """
    if isinstance(source, Card):
        return fetch(source)
    text = str(source)
    if is_address(text):
        return fetch(text)
    path = Path(text).expanduser()
    if not path.is_file():
        raise WeightsError(f'There is no weight file {path}.')
    return path


def read_state_dict(source: str | os.PathLike[str] | Card, prefix: str = '') -> dict[str, Tensor]:
    """Read the tensors of a weight file as they are, those below ``prefix`` if one is given.

    Args:
        source: Path, URL or card.
        prefix: Such as ``generator_ema``, without the dot; removed from the keys.

    Raises:
        WeightsError: If the file is no weight file, holds no tensors, or none below the prefix.
    """
    path = local_copy(source)
    return select_prefix(read_content(path).tensors, prefix, str(path))


def select_prefix(state: Mapping[str, Tensor], prefix: str, source: str) -> dict[str, Tensor]:
    """The tensors whose key starts with ``prefix`` and a dot, without it; all of them for an empty prefix."""
    if not prefix:
        return dict(state)
    start = prefix.rstrip('.') + '.'
    chosen = {key[len(start):]: value for key, value in state.items() if key.startswith(start)}
    if not chosen:
        raise WeightsError(
            f'{source} has no key that starts with "{start}"; its keys start with: {beginnings(state)}. Take another '
            'file, or give the prefix of its network.'
        )
    return chosen


def write_safetensors(
    state: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write tensors whole or not at all; floating ones as ``dtype`` if given.

    Raises:
        OSError: If the file cannot be written.
        WeightsError: If a tensor has a name that no file can hold.
    """
    from safetensors.torch import save_file

    path = Path(path)
    check_name(path)
    if unwritable := [key for key in state if not is_unicode(key)]:
        raise WeightsError(f'A tensor is named {shown(unwritable[0])}, which is no Unicode text: rename it.')
    tensors = {}
    for key, value in state.items():
        target = dtype if dtype and value.is_floating_point() else value.dtype
        tensors[key] = value.detach().to('cpu', target, copy=True).contiguous()
    with whole_or_not_at_all(path) as file:
        save_file(tensors, file.name, metadata=dict(metadata or {}))


def write_with_card(
    state: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    card: Mapping[str, Any],
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write tensors to a .safetensors file, floating ones as ``dtype`` if given, and their card into it and beside it.

    The card beside it is a .json. ``metadata`` is what the file holds beside its card.

    Returns:
        The card, with the file's SHA-256 and size.
    """
    path = Path(path)
    write_safetensors(state, path, metadata={'card': json.dumps(card), **(metadata or {})}, dtype=dtype)
    whole = dict(card) | dict(sha256=sha256(path), size=path.stat().st_size)
    save_json(whole, path.with_suffix('.json'))
    return whole
