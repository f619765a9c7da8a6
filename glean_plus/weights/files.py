"""Reading and writing weight files: nothing in a file is ever executed, and nothing is half-written."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from glean_plus.weights.containers import read_content
from glean_plus.weights.errors import WeightsError

# The hash that a published file carries in its name: stylegan2-cat-config-f-official_20210327_172444-15bc485b.pth
HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.')


def local_copy(source: str | os.PathLike[str]) -> Path:
    """The file itself, or the cached download of a URL, checked against the hash in its name.

    The cache is ``$TORCH_HOME/hub/checkpoints``, as for torch.hub, which downloads it.

    Raises:
        WeightsError: If the file is missing, or cannot be downloaded; the message says what to do by hand.
    """
    text = str(source)
    if not text.startswith(('http://', 'https://')):
        path = Path(text).expanduser()
        if not path.is_file():
            raise WeightsError(f'There is no weight file {path}.')
        return path
    name = Path(urlparse(text).path).name
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    match = HASH_IN_NAME.search(name)
    hash_prefix = match.group(1) if match else None
    if path.is_file():
        digest = _sha256(path) if hash_prefix else ''
        if hash_prefix and not digest.startswith(hash_prefix):
            raise WeightsError(f'{path} is not {text}: its SHA-256 starts with {digest[:8]}. Delete it.')
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(text, str(path), hash_prefix=hash_prefix, progress=True)
    except (URLError, OSError, RuntimeError) as error:
        digest = f' (its SHA-256 starts with {hash_prefix})' if hash_prefix else ''
        raise WeightsError(
            f'Cannot download {text}: {error}. Without a network, fetch {name}{digest} elsewhere and put it at {path}.'
        ) from error
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def read_state_dict(source: str | os.PathLike[str], prefix: str = '') -> dict[str, Tensor]:
    """Read the tensors of a weight file as they are, those below ``prefix`` if one is given.

    Args:
        source: Path or URL.
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


def write_with_card(
    state: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    card: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> dict[str, Any]:
    """Write tensors to a .safetensors file, and what is known of them into it and beside it, as .json.

    Returns:
        The card, with the file's SHA-256 and size.
    """
    path = Path(path)
    write_safetensors(state, path, metadata={'card': json.dumps(card)}, dtype=dtype)
    whole = dict(card) | dict(sha256=_sha256(path), size=path.stat().st_size)
    partial = path.with_name(f'{path.stem}.json.{os.getpid()}.part')
    try:
        partial.write_text(json.dumps(whole, indent=2) + '\n')
        os.replace(partial, path.with_suffix('.json'))
    finally:
        partial.unlink(missing_ok=True)
    return whole
