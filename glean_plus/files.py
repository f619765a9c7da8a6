"""Files that are read without waiting for ever, and written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

NAME_MAX = 255  # bytes of a name, on nearly every file system
PART_MAX = len('.4194304.part')


def check_name(path: str | os.PathLike[str]) -> None:
    """Raise OSError for what can be no name of a file, where Python raises a ValueError: surrogates, and zero bytes."""
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:
        name = b'\0'
    if b'\0' in name:
        raise OSError(errno.EINVAL, 'no file can have that name', str(path))


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """The first word of each line of a list, such as those that MMagic reads; names may have any bytes."""
    text = read_file(path).decode('utf-8-sig', 'surrogateescape')
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: If there is none, or it is something else: a pipe would be waited for, and a device need not end.
    """
    check_name(path)
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, 'it is a folder', str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, 'it is no regular file', str(path))
    return Path(path).read_bytes()


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file or leads to one; a link that leads to itself does not. A file asks nothing more."""
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def partial_name(path: Path) -> str:
    """What temporary files of ``path`` are named before `.PID.part`: its name, or a hash of one that is too long."""
    check_name(path)
    name = os.fsencode(path.name)
    return path.name if len(name) + PART_MAX <= NAME_MAX else hashlib.sha256(name).hexdigest()


@contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside ``path``, which takes its place at the end, or goes if that is not reached."""
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{partial_name(path)}.{os.getpid()}.part')
    try:
        with open(partial, 'wb') as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
