"""Reports of runs, for programs: written, read and joined."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.inference.errors import RestoreError
from glean_plus.utils.files import whole_or_not_at_all

if TYPE_CHECKING:
    from glean_plus.inference.folder import Record

LINES = '.jsonl'  # how files of records end
OF_RECORD = b'{"input": '  # how a line of a record begins


class Records:
    """Records of a run, as JSON lines in a file, each written as it comes; none is held.

    At the end of a run comes one more line, with its manifest and how long it took, or why it ended. The next run
    continues the file, where a line that a crash has torn is cut off.

    Args:
        path: The file; None for a temporary one.
        beside: A temporary one is in the folder of this file, if it is there.

    Raises:
        RestoreError: If it cannot be written.
    """

    def __init__(self, path: Path | None, beside: Path | None = None) -> None:
        self._path = path
        try:
            if path is None:
                folder = None if beside is None or not beside.parent.is_dir() else beside.parent
                self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(path, 'ab+', buffering=0)  # noqa: SIM115
            self._begin = self._cut()
        except OSError as error:
            raise RestoreError(self._failed(error)) from error

    def _failed(self, error: OSError) -> str:
        return f'The records cannot be written to {self._path or "a temporary file"} ({error.strerror or error}).'

    def _cut(self) -> int:
        """Cut off what comes after the last whole line; returns where that ends."""
        end = self._file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - 2**16)
            self._file.seek(begin)
            if (last := self._file.read(end - begin).rfind(b'\n')) >= 0:
                end = begin + last + 1
                break
            end = begin
        self._file.truncate(end)
        return end

    def add(self, record: Record) -> None:
        """Append a record.

        Raises:
            RestoreError: If it cannot be written.
        """
        self._append(asdict(record))

    def add_line(self, line: bytes) -> None:
        """Append a record that another process has written."""
        self._write(line)

    def end(self, content: Mapping[str, Any]) -> None:
        """Append what is known of the whole run."""
        self._append(content)

    def _append(self, content: Mapping[str, Any]) -> None:
        self._write(json.dumps(content).encode() + b'\n')

    def _write(self, line: bytes) -> None:
        try:
            if self._file.write(line) < len(line):  # in one call: a process that is killed leaves it whole
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RestoreError(self._failed(error)) from error

    def __iter__(self) -> Iterator[bytes]:
        """Lines of the records of this run."""
        self._file.seek(self._begin)
        with open(os.dup(self._file.fileno()), 'rb') as file:
            yield from (line for line in file if line.startswith(OF_RECORD))

    def close(self) -> None:
        self._file.close()


def count_states(line: bytes, states: dict[str, int]) -> dict[str, Any] | None:
    """Count a line of records by its state; if it is the last of a run, return what that says instead."""
    content: dict[str, Any] = json.loads(line)
    if not line.startswith(OF_RECORD):
        return content
    states[content['state']] = states.get(content['state'], 0) + 1
    return None


def json_report(content: Mapping[str, Any], records: Iterable[bytes]) -> Iterator[bytes]:
    """Parts of a JSON text: the content, and the records, each a line of its own, as ``pictures``."""
    head = json.dumps(content, indent=2)[:-2].encode()
    yield head + (b',\n' if content else b'\n') + b'  "pictures": ['
    between = b'\n    '
    for line in records:
        yield between + line.rstrip(b'\n')
        between = b',\n    '
    yield (b'' if between[:1] == b'\n' else b'\n  ') + b']\n}\n'


def save_report(content: Mapping[str, Any], records: Iterable[bytes], path: Path) -> None:
    """Write it whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    with whole_or_not_at_all(path) as file:
        for part in json_report(content, records):
            file.write(part)


@dataclass
class Report:
    """What is known of a run.

    Attributes:
        content: Of the whole run.
        lines: The record of each file, as a line of JSON.
        states: How many files have which state.
    """

    content: dict[str, Any]
    lines: dict[str, bytes] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record; of a file that was restored in an earlier run, it stays what it was."""
        name, state = record['input'], record['state']
        if not isinstance(name, str) or not isinstance(state, str):
            raise TypeError
        if name in self.lines:
            if state == 'there':
                return
            self.states[json.loads(self.lines[name])['state']] -= 1
        self.lines[name] = json.dumps(record).encode() + b'\n'
        self.states[state] += 1

    def sorted(self) -> Iterator[bytes]:
        """Lines by the names of the files."""
        return (self.lines[name] for name in sorted(self.lines))


def read_report(path: Path) -> Report:
    """What ``restore --json`` or ``restore --records`` wrote; of records that of the last run on each file counts.

    Raises:
        RestoreError: If it is no report, or of a run that ended early.
    """
    try:
        if path.suffix == LINES:
            found = _of_lines(path)
        else:
            content = json.loads(path.read_text(encoding='utf-8'))
            records = content.pop('pictures')
            found = Report(content)
            for record in records:
                found.add(record)
        ended_early = found.content.get('error')
        if not ended_early:
            found.content['run'], found.content['about'], found.content['seconds']
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = (error.strerror if isinstance(error, OSError) else '') or 'it is none'
        raise RestoreError(f'{path} cannot be read as a report of restore --json or --records: {why}.') from error
    if ended_early:
        raise RestoreError(f'{path} is of a run that ended early ({ended_early}): run that shard again.')
    return found


def _of_lines(path: Path) -> Report:
    """Records, and what the last line of the last run says; without one, it was killed."""
    found, end = Report({}), dict[str, Any]()
    with open(path, 'rb') as file:
        for line in file:
            if not line.endswith(b'\n'):  # a crash has torn it
                break
            content = json.loads(line)
            end = {} if line.startswith(OF_RECORD) else content
            if not end:
                found.add(content)
    found.content = end or dict(error='it was killed')
    return found


def merge(reports: Mapping[Path, Report]) -> Report:
    """One report of all shards of a run, with the seconds of the shard that took longest.

    Args:
        reports: By their files, for messages.

    Raises:
        RestoreError: If they are of different runs, of no shards, or a shard is missing or there twice.
    """
    first = next(iter(reports))
    contents = [report.content for report in reports.values()]
    shards: dict[str, Path] = {}
    for path, content in zip(reports, contents):
        if content['run'] != contents[0]['run']:
            raise RestoreError(f'{path} and {first} are of runs with different options: join those of one run.')
        shard = content['about'].get('shard')
        if shard is None:
            raise RestoreError(f'{path} is of a whole run, not of a shard: there is nothing to join.')
        if shard in shards:
            raise RestoreError(f'{path} and {shards[shard]} are both of shard {shard}: leave one out.')
        shards[shard] = path
    count = int(next(iter(shards)).partition('/')[2])
    if missing := [shard for shard in (f'{index}/{count}' for index in range(1, count + 1)) if shard not in shards]:
        raise RestoreError(f'Shards are missing: {", ".join(missing[:10])}; give the report of each.')
    merged = Report(dict(
        run=contents[0]['run'], about=[content['about'] for content in contents],
        seconds=max(content['seconds'] for content in contents),
    ))  # fmt: skip
    for report in reports.values():
        merged.lines |= report.lines
        merged.states += report.states
    return merged
