"""Temporary files: each image or result has a folder and a name that cannot be guessed, for a time."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glean_plus.web.errors import Refused

PREFIX = 'glean-plus-web.'
LEAST = 2**14  # bytes that an entry counts even if its folder is empty, so that their number is bounded, too


@dataclass
class Entry:
    """The files of an upload or of a result."""

    key: str  # the name that its owner knows it by
    folder: Path  # where the files are
    stem: str  # stem of the name of the user's file
    job: Any = None  # the job whose result it is; None for an upload
    room: int = LEAST  # bytes that it counts: those of its files, and those promised to what is being written
    used: float = field(default_factory=time.monotonic)  # when it was last used, in seconds of a monotonic clock
    users: int = 0  # how many use it now; it stays as long


class Store:
    """A folder that only this user can read. It goes with the server, and its entries ``keep`` seconds after use.

    Room is reserved before anything is written, so the files never have more than ``limit`` bytes.
    """

    def __init__(self, keep: float, limit: int) -> None:
        self.keep, self.limit = keep, limit
        _sweep_orphans()
        self.folder = Path(tempfile.mkdtemp(prefix=f'{PREFIX}{os.getpid()}.'))
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._sweep_forever, daemon=True).start()

    def new(self, stem: str, job: Any = None) -> Entry:
        """An empty entry.

        Raises:
            Refused: If the store is full.
        """
        key = secrets.token_urlsafe(16)
        entry = Entry(key, self.folder / key, stem, job)
        with self._lock:
            self._check_room(LEAST)
            entry.folder.mkdir(mode=0o700)
            self._entries[key] = entry
        return entry

    @contextmanager
    def writing(self, entry: Entry, most: int) -> Iterator[None]:
        """Reserve room for at most ``most`` bytes of new files; afterwards the entry counts what it has.

        Raises:
            Refused: If the store has no room for them.
        """
        with self._lock:
            self._check_room(most)
            entry.room += most
        try:
            yield
        finally:
            with self._lock:
                entry.room = LEAST + _bytes_in(entry.folder)

    @contextmanager
    def using(self, key: str) -> Iterator[Entry]:
        """An entry, which stays as long as it is used.

        Raises:
            Refused: If there is none, or none any more.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.users += 1
        if entry is None:
            raise Refused(404, f'This image is not here: one stays {self.keep / 60:.3g} minutes. Choose it again.')
        try:
            yield entry
        finally:
            with self._lock:
                entry.users -= 1
                entry.used = time.monotonic()

    def clear(self, entry: Entry) -> None:
        """Remove the files of an entry, which stays."""
        with self.writing(entry, 0):
            for file in entry.folder.glob('*'):
                file.unlink(missing_ok=True)

    def remove(self, key: str) -> None:
        """Remove an entry and its files, if it is there."""
        with self._lock:
            entry = self._entries.pop(key, None)
        if entry is not None:
            shutil.rmtree(entry.folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes that all entries count."""
        with self._lock:
            return sum(entry.room for entry in self._entries.values())

    def sweep(self) -> None:
        """Remove what nobody has used for :attr:`keep` seconds."""
        end = time.monotonic() - self.keep
        with self._lock:
            old = [key for key, entry in self._entries.items() if not entry.users and entry.used <= end]
        for key in old:
            self.remove(key)

    def close(self) -> None:
        """Remove everything."""
        self._closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_room(self, more: int) -> None:
        if more > self.limit:
            raise Refused(507, 'The result is larger than all that the server may hold: choose a smaller image.')
        if sum(entry.room for entry in self._entries.values()) + more > self.limit:
            raise Refused(507, 'The server holds as many images as it may: try again in some minutes.')

    def _sweep_forever(self) -> None:
        while not self._closed.wait(min(30.0, self.keep / 4)):
            self.sweep()


def _bytes_in(folder: Path) -> int:
    """Bytes of the files of a folder, 0 if it has been removed."""
    try:
        with os.scandir(folder) as files:
            return sum(file.stat(follow_symlinks=False).st_size for file in files)
    except FileNotFoundError:
        return 0


def _sweep_orphans() -> None:
    """Remove what servers of this user left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f'{PREFIX}*.*'):
        pid = folder.name.removeprefix(PREFIX).partition('.')[0]
        if pid.isdigit() and not _is_alive(int(pid)) and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)  # those of other users cannot be removed, and stay


def _is_alive(pid: int) -> bool:
    if os.name == 'nt':  # where a signal of 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
