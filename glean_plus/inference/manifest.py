"""What a run was made with, written beside its results: enough to repeat it, and to see whether a run resumes."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from glean_plus.inference.base import Described
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.shards import Shard
from glean_plus.utils.files import partial_name, save_json
from glean_plus.version import __version__
from glean_plus.weights.errors import brief, shown

OF_SHARD = re.compile(r'glean-plus\.run\.\d+-of-(\d+)\.json')
PACKAGES = ('torch', 'mmagic', 'mmengine', 'mmcv', 'mmcv-lite', 'numpy', 'Pillow')


def manifest(restorer: Described, options: Mapping[str, Any], command: Sequence[str] = ()) -> dict[str, Any]:
    """What decides the results (``run``), and where they were made (``about``).

    Args:
        restorer: Who makes them.
        options: Further ones that decide them, such as the ending.
        command: The command line, if there was one.
    """
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return dict(
        run=dict(restorer.run_facts(), version=__version__, **options),
        about=dict(
            restorer.about_facts(), command=[*command], python=platform.python_version(), platform=platform.platform(),
            packages=versions,
        ),
    )  # fmt: skip


def content_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config's ``model`` decides results beside the weights of its checkpoint, as JSON has it.

    Where the config lies does not count, and neither does the file of the bank: the checkpoint has its weights.
    """

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): kept(each) for key, each in value.items() if key != 'pretrained'}
        if isinstance(value, (list, tuple)):
            return [kept(each) for each in value]
        return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)

    return {key: kept(model[key]) for key in ('type', 'generator', 'data_preprocessor') if key in model}


def _differences(found: Any, wanted: Any, name: str = '') -> Iterator[str]:
    """A text for each value that is another, its key with those around it."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*found, *wanted}):
            yield from _differences(found.get(key), wanted.get(key), f'{name}.{key}' if name else key)
    elif found != wanted:
        yield f'{name} {shown(found)}, now {shown(wanted)}'


def path_of(out: Path, single: bool, shard: Shard | None = None) -> Path:
    """Beside a single result, or in the folder of results, where each shard has its own."""
    if single:
        return out.with_name(f'{out.name}.run.json')
    return out / ('glean-plus.run.json' if shard is None else f'glean-plus.run.{shard.index}-of-{shard.count}.json')


def check_shards(path: Path, shard: Shard, wanted: Mapping[str, Any], overwrite: bool) -> None:
    """What the other shards with results beside the manifest ``path`` of this one were made with.

    Raises:
        RestoreError: If they are of another division, or, but for ``overwrite``, were made otherwise than ``wanted``.
    """
    for other in sorted(path.parent.glob('glean-plus.run.*-of-*.json')):
        if (match := OF_SHARD.fullmatch(other.name)) is None:
            continue
        if int(match[1]) != shard.count:
            raise RestoreError(
                f'{other} is of a run in {match[1]} shards, not {shard.count}: divide alike, choose another place, or '
                'remove it once that run has ended.'
            )
        if not overwrite:
            goes_on(other, wanted)


def goes_on(path: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """This manifest, if the results beside it were made as ``wanted``; None if there is none.

    Raises:
        RestoreError: If they were made otherwise, or it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _none(path, error) from error
    return resumed(data, path, wanted)


def resumed(data: bytes, place: Path | str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest ``data``, that of ``place``, if results were made as ``wanted``.

    Raises:
        RestoreError: If they were made otherwise, or it is none.
    """
    try:
        content = json.loads(data.decode())
        found = dict(content['run'])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _none(place, error) from error
    if other := [*_differences(found, wanted['run'])]:
        listing = brief(', '.join(other))
        raise RestoreError(
            f'The results beside {place} were made otherwise ({listing}): choose another place, or overwrite.'
        )
    return dict(content)


def _none(place: Path | str, error: Exception) -> RestoreError:
    return RestoreError(f'{place} is no manifest of a run: remove it, or choose another place ({brief(error)}).')


def lock_path(path: Path) -> Path:
    """Of a manifest: a hidden file beside it."""
    return path.with_name(f'.{partial_name(path)}.lock')


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_json(content, path, allow_nan=False)
