"""The integrity of checkpoints."""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib

from glean_plus.weights.errors import brief
from glean_plus.weights.limits import is_old_torch

PICKLE = b'\x80'
# What `torch.save` writes is a zip archive with a CRC-32 of each tensor, which `torch.load` does not look at.
BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError)
FOLDER = 0x10  # MS-DOS' attribute in the archive's directory
# It compresses nothing, so that an archive holds no more than its size; there is leeway for one that was packed again.
MAX_GROWTH, LEEWAY = 4, 1 << 24


def damage(path: str | os.PathLike[str]) -> str | None:
    """The damage of a file of ``torch.save``, by its own checksums, in words; None if it is whole.

    Files from before PyTorch 1.6 have none, and count as damaged.
    """
    try:
        with open(path, 'rb') as file:
            if not file.read(1):
                return 'it is empty'
        with zipfile.ZipFile(path) as archive:
            if wrong := _directory(archive, os.path.getsize(path)):
                return wrong
            record = archive.testzip()
    except BROKEN as error:
        return brief(error) or type(error).__name__
    return f'the checksum of {brief(record)} is wrong' if record else None


def directory_damage(path: str | os.PathLike[str]) -> str | None:
    """The damage of the directory of a zip archive, in words; None if there is none, or it is no archive.

    A few bytes can be packed such that they fill any memory, and several records can share the same bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _directory(archive, os.path.getsize(path))
    except BROKEN:
        return None


def _directory(archive: zipfile.ZipFile, size: int) -> str | None:
    whole = 0
    for record in archive.infolist():
        whole += record.file_size
        # PyTorch reads nothing of a folder: its tensor has whatever the memory holds.
        if record.external_attr & FOLDER and record.file_size:
            return f'{brief(record.filename)} is said to be a folder'
    return None if whole <= MAX_GROWTH * size + LEEWAY else f'its {size:,} bytes are to become {whole:,}'


def archive_damage(path: str | os.PathLike[str]) -> str | None:
    """As :func:`damage`, but nothing is said of a pickle, such as a file from before PyTorch 1.6."""
    with open(path, 'rb') as file:
        head = file.read(64)
    return None if head.startswith(PICKLE) or is_old_torch(head) else damage(path)
