"""Files that are whole or not there, and checkpoints that are known to be whole."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

from glean_plus.files import whole_or_not_at_all

PICKLE = b'\x80'
# What `torch.save` writes is a zip archive with a CRC-32 of each tensor, which `torch.load` does not look at.
BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write and flush to the disk beside ``path``, then rename: at any moment ``path`` is the old file or the new one.

    Raises:
        OSError: If the data cannot be written; ``path`` is then as it was.
    """
    with whole_or_not_at_all(Path(path)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def damage(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with a file of ``torch.save``, by its own checksums, or None if it is whole.

    Files from before PyTorch 1.6 have none, and count as damaged.
    """
    try:
        with open(path, 'rb') as file:
            if not file.read(1):
                return 'it is empty'
        with zipfile.ZipFile(path) as archive:
            record = archive.testzip()
    except BROKEN as error:
        return str(error) or type(error).__name__
    return f'the checksum of {record} is wrong' if record else None


def archive_damage(path: str | os.PathLike[str]) -> str | None:
    """As :func:`damage`, but nothing is said of a pickle, such as a file from before PyTorch 1.6."""
    with open(path, 'rb') as file:
        return None if file.read(1) == PICKLE else damage(path)
