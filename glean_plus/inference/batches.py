"""Rows of a data set that another engine hands out -> results in folders or an object store, and their records."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.inference.base import Described, PictureRestorer
from glean_plus.inference.begin import begin
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.folder import Record, Tally, restore_items, settled
from glean_plus.inference.jobs import BESIDE, Found, Job, Jobs, Refused, single_job
from glean_plus.inference.ood import assessor_of
from glean_plus.inference.plan import Item, There
from glean_plus.utils.files import sweep_folder
from glean_plus.version import __version__

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.fs import FileSystem

AT_HAND = 16  # images that a process takes at a time

Row = dict[str, Any]  # as :func:`glean_plus.inference.ray.restore` takes it


@dataclass
class Work:
    """A run that has begun.

    Attributes:
        rows: Of each file, what is to be done, or the record of what is not.
        jobs: How many files there are.
        content: Of the manifest.
        since, where, reads, writes: As :class:`Setup` has them.
    """

    rows: Iterable[Record | Row]
    jobs: Found
    content: dict[str, Any]
    since: int = 0
    where: Path | None = None
    reads: FileSystem | None = None
    writes: FileSystem | None = None


@contextmanager
def begin_in_folder(
    restorer: Described, jobs: Jobs, *, compare: bool, report: bool, overwrite: bool, crf: int | None,
    quality: int | None, command: Sequence[str],
) -> Iterator[Work]:  # fmt: skip
    """:func:`glean_plus.inference.begin.begin`, with the plan as rows."""
    asked = dict(compare=compare, report=report, faces=restorer.keep_crops)
    with begin(restorer, jobs, asked, overwrite=overwrite, crf=crf, quality=quality, command=command) as begun:
        rows = (_row(item, asked) if isinstance(item, Job) else settled(item) for item in begun.plan)
        yield Work(rows, jobs, begun.content, begun.where.stat().st_mtime_ns, begun.where.absolute())


def _row(job: Job, asked: Mapping[str, bool]) -> Row:
    """What a job is, as names of bytes: those of files need not be text."""
    paths = dict(path=job.source, target=job.target) | {name: getattr(job, name) for name in BESIDE if asked[name]}
    return {name: os.fsencode(path) for name, path in paths.items()}


def to_do(work: Work, tally: Tally, say: Callable[[str], None]) -> list[Row]:
    """Record what is not to be done; the rows of the rest, of which one is the ``first``."""
    rows = list[Row]()
    for each in work.rows:
        if isinstance(each, Record):
            tally.add(each)
            if each.error:
                say(f'{each.input}: {each.error}')
        else:
            rows.append(dict(each, first=not rows))
    return rows


def sweep(rows: Sequence[Row], work: Work) -> None:
    """Remove what processes that died have left of results in folders."""
    if work.writes is not None:
        return
    files = (row[name] for row in rows for name in ('target', 'compare', 'report') if name in row)
    for folder in {*map(os.path.dirname, files), *(row['faces'] for row in rows if 'faces' in row)}:
        sweep_folder(Path(os.fsdecode(folder)))


@dataclass(frozen=True)
class Facts(Described):
    """What a restorer says of itself, without it."""

    run: dict[str, Any]
    about: dict[str, Any]
    keep_crops: bool = False

    def run_facts(self) -> dict[str, Any]:
        return self.run

    def about_facts(self) -> dict[str, Any]:
        return self.about


def facts_of(setup: Setup) -> Facts:
    restorer = Worker(setup).restorer
    return Facts(restorer.run_facts(), restorer.about_facts(), restorer.keep_crops)


@dataclass(frozen=True)
class Setup:
    """What each process is told, as :func:`glean_plus.inference.ray.restore` takes it.

    Attributes:
        folder: From which paths are relative.
        since: Results in folders that are not older, in nanoseconds since 1970, nor older than their input, are left.
        where: The manifest, as :func:`glean_plus.inference.folder.restore_items` takes it.
        version: Of this package.
    """

    make: Callable[[], PictureRestorer]
    folder: Path
    reads: FileSystem | None = None
    writes: FileSystem | None = None
    compare: bool = False
    report: bool = False
    crf: int | None = None
    quality: int | None = None
    at_hand: int = AT_HAND
    since: int = 0
    where: Path | None = None
    version: str = __version__


class Worker:
    """What one process does.

    Raises:
        RestoreError: If its machine has another version of this package, or an option is not for what it writes.
    """

    def __init__(self, setup: Setup) -> None:
        if setup.version != __version__:
            raise RestoreError(f'A machine has glean_plus {__version__}, not {setup.version}: install that on all.')
        self.setup, self.restorer = setup, setup.make()
        if setup.writes is not None and (setup.compare or setup.report or self.restorer.keep_crops):
            raise RestoreError('compare, report and saved faces are written to folders alone: leave them out.')
        self.assessor = assessor_of(self.restorer) if setup.report else None

    def __call__(self, batch: Table) -> dict[str, list[str]]:
        """Rows, as :func:`glean_plus.inference.ray.restore` takes and returns them."""
        rows, setup, said, records = batch.to_pylist(), self.setup, list[str](), list[Future[Record]]()
        with tempfile.TemporaryDirectory(prefix='glean-plus.') as temp, ThreadPoolExecutor(len(rows)) as pool:
            jobs = [self._job(row, Path(temp, str(number))) for number, row in enumerate(rows)]
            names = {(str(job.source), str(job.target)): row for job, row in zip(jobs, rows)}

            def record(each: Record) -> None:
                records.append(pool.submit(self._store, each, names[each.input, each.output], said))

            restore_items(
                self.restorer, pool.map(self._item, rows, jobs), setup.where, compare=setup.compare,
                assessor=self.assessor, crf=setup.crf, quality=setup.quality, say=said.append, record=record,
                watched=any(row.get('first') for row in rows),
            )  # fmt: skip
        for job, row in zip(jobs, rows):
            said = [line.replace(str(job.source), os.fsdecode(row['path'])) for line in said]
        lines = [json.dumps(asdict(each.result())) for each in records]
        return dict(record=lines, said=[json.dumps(said), *['[]'] * (len(lines) - 1)])

    def _job(self, row: dict[str, Any], temp: Path) -> Job:
        source, target = (self.setup.folder / os.fsdecode(row[name]) for name in ('path', 'target'))
        if self.setup.reads is not None or row.get('bytes') is not None:
            source = temp / 'in' / source.name
        if self.setup.writes is not None:
            target = temp / 'out' / target.name
        beside = {name: self.setup.folder / os.fsdecode(row[name]) for name in BESIDE if name in row}
        return replace(single_job(source, target), **beside)

    def _item(self, row: dict[str, Any], job: Job) -> Item:
        """What is to be done of a row, with its image in a folder."""
        try:
            data = self._content(row)
            if data is not None:
                job.source.parent.mkdir(parents=True)
                job.source.write_bytes(data)
                return job
        except OSError as error:
            return Refused(str(job.source), f'it cannot be read: {error}', str(job.target))
        results = job.results(self.setup.compare, self.setup.report, self.restorer.keep_crops)
        with suppress(OSError):  # the input is gone, which is said when it is its turn
            if job.done(results, self.setup.since):
                return There(job)
        return job

    def _content(self, row: dict[str, Any]) -> bytes | None:
        """That of the image's file, unless it is in a folder already."""
        data: bytes | None = row.get('bytes')
        if data is None and self.setup.reads is not None:
            with self.setup.reads.open_input_stream(in_store(row['path']), compression=None) as file:
                data = file.read()
        return data

    def _store(self, record: Record, row: dict[str, Any], said: list[str]) -> Record:
        """Write a result to where it is wanted; its record with the names that were given."""
        if self.setup.writes is not None and record.state == 'restored':
            try:
                with self.setup.writes.open_output_stream(in_store(row['target']), compression=None) as file:
                    file.write(Path(record.output).read_bytes())
            except OSError as error:
                record = replace(record, state='failed', error=f'its result cannot be written: {error}')
                said.append(f'{record.input}: {record.error}')
        return replace(record, input=os.fsdecode(row['path']), output=os.fsdecode(row['target']))


def in_store(address: str | bytes) -> str:
    """``bucket/name`` of ``s3://bucket/name``."""
    return os.fsdecode(address).rpartition('://')[2]
