"""Locks on files between processes: the system's own, so that a lock ends with its process, however that ends."""

from __future__ import annotations

import errno
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from glean_plus.errors import GleanError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None
# What a file system says that has no locks.
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
# How often, and for how many seconds between, a lock is tried: one that is only looked at is held for a moment.
TRIES, PAUSE = 5, 0.02


class Locked(GleanError):
    """Another process holds the lock; the text says which."""


def try_lock(file: IO[Any], shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file until it is closed, without waiting for who has it unless ``wait``.

    Returns:
        Whether this process has the lock now; None where files cannot be locked.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return None
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def is_at(file: IO[Any], path: Path) -> bool:
    """Whether an open file is still the one at ``path``: another process may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


@contextmanager
def hold(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock of ``path``, a file that is made for it and removed at the end, by the last of those that share it.

    Where files cannot be locked, nothing is held.

    Args:
        path: The file.
        shared: Others may hold it, too, if they share it.

    Raises:
        Locked: If another process holds it.
        OSError: If the file cannot be made.
    """
    while True:
        with open(path, 'a+', encoding='utf-8') as file:
            if try_lock_often(file, shared) is False:
                raise Locked(_holder(path))
            if not is_at(file, path):  # whoever had it has removed it since it was opened
                continue
            file.truncate(0)
            file.write(f'process {os.getpid()} on {platform.node()}')
            file.flush()
            try:
                yield
            finally:
                alone = not shared or try_lock(file) is not False
                if alone and is_at(file, path):
                    path.unlink()
            return


def try_lock_often(file: IO[Any], shared: bool = False) -> bool | None:
    for _ in range(TRIES):
        if (locked := try_lock(file, shared)) is not False:
            return locked
        time.sleep(PAUSE)
    return False


def holder(path: Path) -> str | None:
    """Which process holds the lock of ``path``, or one of those that share it; None if none does."""
    try:
        with open(path, 'r+', encoding='utf-8') as file:
            return _holder(path) if try_lock_often(file) is False else None
    except OSError:  # most often because there is no such file
        return None


def _holder(path: Path) -> str:
    for _ in range(TRIES):
        try:
            if text := path.read_text(encoding='utf-8', errors='replace')[:200]:
                return text
        except OSError:  # it has ended
            break
        time.sleep(PAUSE)  # it has the lock and writes its name next
    return 'another process'
