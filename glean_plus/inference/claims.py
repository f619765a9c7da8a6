"""Whose a result is: runs into one folder, a folder in it, or single files of it, do not mix their results."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

from glean_plus.inference import manifest
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.jobs import Jobs
from glean_plus.utils.files import NAME_MAX, partial_name, remove_dead, split_partial
from glean_plus.utils.locks import Locked, hold, holder


@contextmanager
def only_run(jobs: Jobs) -> Iterator[None]:
    """Keep other processes from these results while entered, but for those of other shards.

    Raises:
        RestoreError: If another process is restoring to the same place, or to a folder around it.
        OSError: If nothing can be written there.
    """
    own, whole = own_manifest(jobs), manifest.path_of(jobs.out, jobs.single)
    is_new = not own.parent.exists()
    own.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            if own != whole:
                stack.enter_context(hold(manifest.lock_path(whole), shared=True))
            stack.enter_context(hold(manifest.lock_path(own)))
            # Of two runs that meet, each has its own lock before it looks for that of the other.
            for folder in jobs.out.absolute().parents:
                if (process := holder(manifest.lock_path(manifest.path_of(folder, single=False)))) is not None:
                    raise Locked(process)
            yield
    except (Locked, RestoreError) as error:
        if is_new:
            with suppress(OSError):  # there is something in it
                own.parent.rmdir()
        if isinstance(error, RestoreError):
            raise
        raise RestoreError(_busy(str(error), jobs.out)) from error


def _busy(process: str, place: Path) -> str:
    return f'Another run ({process}) is restoring to {place}: wait for it, or choose another place.'


def own_manifest(jobs: Jobs) -> Path:
    return manifest.path_of(jobs.out, jobs.single, jobs.shard)


class Neighbours:
    """What others have left, or do, in the folders of a run's results, each of which is listed once.

    Partial files of results whose process has ended are removed.

    Args:
        own: The manifest of the run.
        overwrite: Manifests of other runs for these results go.
    """

    def __init__(self, own: Path, overwrite: bool) -> None:
        self._own, self._overwrite = own, overwrite
        self._listed: dict[Path, _Folder] = {}  # where the results of one folder of inputs are
        self._place: Path | None = None

    def claim(self, target: Path, others: Sequence[Path]) -> str:
        """Why a result cannot be made now; empty if it can.

        Args:
            target: The result; those of a folder come one after the other.
            others: Files that can be written with it.
        """
        if target.parent != self._place:
            self._listed, self._place = {}, target.parent
        for path in (target, *others):
            if parts := self._folder(path.parent).parts:
                for partial in parts.pop(partial_name(path), ()):
                    remove_dead(partial)
        return self._folder(target.parent).claim(target)

    def _folder(self, path: Path) -> _Folder:
        if path not in self._listed:
            self._listed[path] = _Folder(path, self._own, self._overwrite)
        return self._listed[path]


class _Folder:
    """A folder of results.

    Attributes:
        parts: Partial files by the name of what they are of.
    """

    def __init__(self, path: Path, own: Path, overwrite: bool) -> None:
        self.path, self._own, self._overwrite = path, own, overwrite
        self.parts = defaultdict[str, list[Path]](list)
        self._runs, self._locks = set[str](), set[str]()
        with suppress(OSError), os.scandir(path) as found:  # it need not be there
            for entry in found:
                if (name := split_partial(entry.name)) is not None:
                    self.parts[name].append(Path(entry.path))
                elif entry.name.endswith('.run.json'):
                    self._runs.add(entry.name)
                elif entry.name.endswith('.lock'):
                    self._locks.add(entry.name)

    @cached_property
    def _wrong(self) -> str:
        """Why nothing can be made in this folder: another run has it, or one around it."""
        for folder in (self.path, *self.path.parents):
            if self._own.parent not in folder.parents:  # its own, whose lock this run holds
                return ''
            other = manifest.path_of(folder, single=False)
            if (process := holder(manifest.lock_path(other))) is not None:
                return _busy(process, folder)
            if other.is_file():
                if self._overwrite or [*folder.iterdir()] == [other]:
                    other.unlink(missing_ok=True)
                else:
                    return _of_another(folder, other)
        return ''

    def claim(self, target: Path) -> str:
        other = manifest.path_of(target, single=True)
        if self._wrong or not (self._runs or self._locks) or other == self._own:
            return self._wrong
        if len(os.fsencode(other.name)) > NAME_MAX:  # there can be none
            return ''
        lock = manifest.lock_path(other)
        if lock.name in self._locks and (process := holder(lock)) is not None:
            return _busy(process, target)
        if other.name in self._runs and other.is_file():
            if target.exists() and not self._overwrite:
                return _of_another(target, other)
            other.unlink(missing_ok=True)
        return ''


def _of_another(place: Path, other: Path) -> str:
    return f'{place} is of another run, that of {other}: choose another place, remove it, or overwrite.'
