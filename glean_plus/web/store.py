"""Temporary files: each picture has a folder and a name that cannot be guessed, for a time."""

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

from glean_plus.inference.errors import RestoreError

PREFIX = 'glean-plus-web.'


@dataclass
class Entry:
    """Files of an upload or of a result.

    Attributes:
        key: What the page calls it.
        folder: Where they are.
        stem: Of the name that the user's file had.
        used: When it was last used, in seconds of a steady clock.
        users: How many are at it; it stays as long.
    """

    key: str
    folder: Path
    stem: str
    used: float = field(default_factory=time.monotonic)
    users: int = 0


class Store:
    """A folder that only this user can read; it goes with the server, and its entries ``keep`` seconds after use.

    Args:
        keep: Seconds.
        limit: Bytes of all files, beyond which nothing new is taken.
    """

    def __init__(self, keep: float, limit: int) -> None:
        self.keep, self.limit = keep, limit
        _sweep_orphans()
        self.folder = Path(tempfile.mkdtemp(prefix=f'{PREFIX}{os.getpid()}.'))
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._sweep_forever, daemon=True).start()

    def new(self, stem: str) -> Entry:
        """An empty entry.

        Raises:
            RestoreError: If the store is full.
        """
        if self.size() > self.limit:
            raise RestoreError('The server holds as many pictures as it may: try again in some minutes.')
        key = secrets.token_urlsafe(16)
        folder = self.folder / key
        folder.mkdir(mode=0o700)
        with self._lock:
            self._entries[key] = entry = Entry(key, folder, stem)
        return entry

    @contextmanager
    def using(self, key: str) -> Iterator[Entry]:
        """An entry, which stays as long as it is used.

        Raises:
            RestoreError: If there is none, or no more.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.users += 1
        if entry is None:
            raise RestoreError(f'This picture is not here: one stays {self.keep / 60:.3g} minutes. Choose it again.')
        try:
            yield entry
        finally:
            with self._lock:
                entry.users -= 1
                entry.used = time.monotonic()

    def remove(self, key: str) -> None:
        """An entry and its files, if it is there."""
        with self._lock:
            entry = self._entries.pop(key, None)
        if entry is not None:
            shutil.rmtree(entry.folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes of all files."""
        total = 0
        for parent, _, names in os.walk(self.folder):
            for name in names:
                try:
                    total += os.lstat(os.path.join(parent, name)).st_size
                except FileNotFoundError:  # it has been removed meanwhile
                    continue
        return total

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

    def _sweep_forever(self) -> None:
        while not self._closed.wait(min(30.0, self.keep / 4)):
            self.sweep()


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
