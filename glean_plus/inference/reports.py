"""Reports of runs, for programs: written, read and joined."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.inference.errors import RestoreError

if TYPE_CHECKING:
    from glean_plus.inference.folder import Record


def report(records: Sequence[Record], content: dict, seconds: float) -> dict:
    """Everything about a run."""
    return dict(content, seconds=seconds, pictures=[asdict(record) for record in records])


def read_report(path: Path) -> dict[str, Any]:
    """What ``restore --json`` wrote.

    Raises:
        RestoreError: If it is no report, or of a run that ended early.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        pictures = found['pictures']
        if found.get('error'):
            raise RestoreError(f'{path} is of a run that ended early ({found["error"]}): run that shard again.')
        found['run'], found['about'], found['seconds']
        if not all(isinstance(each['input'], str) and isinstance(each['state'], str) for each in pictures):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = (error.strerror if isinstance(error, OSError) else '') or 'it is none'
        raise RestoreError(f'{path} cannot be read as a report of restore --json: {why}.') from error
    return dict(found)


def merge(reports: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    """One report of all shards of a run: the images by name, the seconds of the shard that took longest.

    Args:
        reports: By their files, for messages.

    Raises:
        RestoreError: If they are of different runs, of no shards, or a shard is missing or there twice.
    """
    first = next(iter(reports))
    shards: dict[str, Path] = {}
    for path, report in reports.items():
        if report['run'] != reports[first]['run']:
            raise RestoreError(f'{path} and {first} are of runs with different options: join those of one run.')
        shard = report['about'].get('shard')
        if shard is None:
            raise RestoreError(f'{path} is of a whole run, not of a shard: there is nothing to join.')
        if shard in shards:
            raise RestoreError(f'{path} and {shards[shard]} are both of shard {shard}: leave one out.')
        shards[shard] = path
    count = int(next(iter(shards)).partition('/')[2])
    if missing := [shard for shard in (f'{index}/{count}' for index in range(1, count + 1)) if shard not in shards]:
        raise RestoreError(f'Shards are missing: {", ".join(missing[:10])}; give the report of each.')
    pictures = [each for report in reports.values() for each in report['pictures']]
    return dict(
        run=reports[first]['run'], about=[report['about'] for report in reports.values()],
        seconds=max(report['seconds'] for report in reports.values()),
        pictures=sorted(pictures, key=lambda each: each['input']),
    )  # fmt: skip
