"""Files that are read without waiting for ever, and written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from glean_plus.utils.locks import CAN_LOCK, is_at, try_lock

NAME_MAX = 255  # bytes of a name, on nearly every file system
PART_MAX = len('.01234567.part')


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
    """Name of the partial files of ``path`` before `.TOKEN.part`: its own, or a hash of one that is too long."""
    check_name(path)
    name = os.fsencode(path.name)
    return path.name if len(name) + PART_MAX <= NAME_MAX else hashlib.sha256(name).hexdigest()


@contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[BinaryIO]:
    """A partial file beside ``path``, which takes its place at the end, or goes if that is not reached.

    It is locked until then, so that :func:`sweep` knows it from what a killed process left.
    """
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _partial(path)
    partial = Path(file.name)
    # A lock ends with the last descriptor of its file; Windows, where there is none, renames no open file.
    lock = os.dup(file.fileno()) if CAN_LOCK else None
    try:
        with file:
            yield file
        os.replace(partial, path)
    finally:
        if lock is not None:
            os.close(lock)
        partial.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write and flush to the disk beside ``path``, then rename: at any moment ``path`` is the old file or the new one.

    Raises:
        OSError: If the data cannot be written; ``path`` is then as it was.
    """
    with whole_or_not_at_all(Path(path)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def save_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all, in UTF-8."""
    try:
        data = text.encode('utf-8', errors='surrogateescape')  # names of files may have any bytes
    except UnicodeEncodeError:
        data = text.encode(errors='backslashreplace')
    with whole_or_not_at_all(path) as file:
        file.write(data)


def save_json(content: Any, path: Path, allow_nan: bool = True) -> None:
    """Write a JSON file whole or not at all."""
    save_text(json.dumps(content, indent=2, allow_nan=allow_nan) + '\n', path)


def read_json(path: Path) -> Any:
    """The content; None if there is no such file."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None


def _partial(path: Path) -> BinaryIO:
    """A new partial file, locked. Its name has a token, as process numbers repeat, between containers for example."""
    while True:
        partial = path.with_name(f'{partial_name(path)}.{secrets.token_hex(4)}.part')
        file = open(partial, 'xb')  # noqa: SIM115 (the caller closes it)
        if try_lock(file) is not False and is_at(file, partial):
            return file
        file.close()  # swept between opening and locking


def sweep(path: Path) -> None:
    """Remove the partial files of ``path`` whose process has ended; those that are being written stay."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path.parent) as found:
        for entry in found:
            if split_partial(entry.name) == partial_name(path):
                remove_dead(Path(entry.path))


def sweep_folder(folder: Path) -> None:
    """Remove all partial files in a folder whose process has ended."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for entry in found:
            if split_partial(entry.name) is not None:
                remove_dead(Path(entry.path))


def split_partial(name: str) -> str | None:
    """The :func:`partial_name` that a partial file has in its name; None if it is none."""
    if not name.endswith('.part'):
        return None
    own, dot, token = name.removesuffix('.part').rpartition('.')
    return own if dot and token else None


def remove_dead(partial: Path) -> None:
    """Remove a partial file, unless a process writes it."""
    with suppress(FileNotFoundError, PermissionError), open(partial, 'r+b') as file:
        if try_lock(file):
            partial.unlink()
