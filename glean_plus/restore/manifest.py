"""What a run was made with, written beside its results: enough to repeat it, and to tell whether a run goes on."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from glean_plus.data.pictures import save_text
from glean_plus.restore.base import PictureRestorer
from glean_plus.restore.errors import RestoreError
from glean_plus.version import __version__
from glean_plus.weights.errors import brief, shown

PACKAGES = ('torch', 'mmagic', 'mmengine', 'mmcv', 'mmcv-lite', 'numpy', 'Pillow')


def manifest(restorer: PictureRestorer, options: Mapping[str, Any], command: Sequence[str] = ()) -> dict[str, Any]:
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


def path_of(out: Path, single: bool) -> Path:
    """Beside a single result, or in the folder of results."""
    return out.with_name(f'{out.name}.run.json') if single else out / 'glean-plus.run.json'


def goes_on(path: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the results beside this manifest were made as ``wanted``; False if there is none.

    Raises:
        RestoreError: If they were made otherwise, or it cannot be read.
    """
    if not path.is_file():
        return False
    try:
        found = dict(json.loads(path.read_text(encoding='utf-8'))['run'])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RestoreError(
            f'{path} is no manifest of a run: remove it, or choose another place ({brief(error)}).'
        ) from error
    other = [key for key in {**wanted['run'], **found} if wanted['run'].get(key) != found.get(key)]
    if other:
        listing = brief(', '.join(
            f'{key} {shown(found.get(key))}, now {shown(wanted["run"].get(key))}' for key in sorted(other)
        ))  # fmt: skip
        raise RestoreError(
            f'The results beside {path} were made otherwise ({listing}): choose another place, or overwrite.'
        )
    return True


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_text(json.dumps(content, indent=2, allow_nan=False) + '\n', path)
