"""Bytes -> RGB image, or the reason why not."""

from __future__ import annotations

import functools
import io
import math
import os
import zipfile
from typing import IO, Any

import numpy as np
from PIL import Image

from glean_plus.errors import GleanError
from glean_plus.prepare.items import Item
from glean_plus.utils.files import read_file
from glean_plus.utils.images.errors import ImageFileError
from glean_plus.utils.images.image import load

# A gray photograph that was saved as JPEG in colour is a level or two off.
GRAY_TOLERANCE = 2


class PictureError(GleanError):
    """An image that is left out. `kind` is as in :class:`~glean_plus.prepare.items.Problem`; the text names `path`."""

    def __init__(self, kind: str, detail: str, path: str = '') -> None:
        super().__init__(f'{path}: ' * bool(path) + f'{kind}: {detail}')
        self.kind = kind
        self.detail = detail


def open_database(path: str) -> Any:
    """An lmdb database for reading; its folder may be read-only. It must not be open when the process forks."""
    import lmdb

    return lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)


_worker_database = functools.lru_cache(maxsize=1)(open_database)  # once a process, which never forks


def read_bytes(item: Item) -> bytes:
    """The encoded image."""
    if item.key is None:
        return read_file(item.path)
    with _worker_database(item.path).begin() as transaction:
        return transaction.get(item.key) or b''


def decode(data: bytes) -> np.ndarray:
    """Any image -> (H, W, 3) uint8 RGB, turned as its EXIF says, on white where it is transparent.

    Raises:
        PictureError: If the data are no image, are cut short, have more than 8 bits a channel, or more pixels than
            twice PIL's ``Image.MAX_IMAGE_PIXELS``, 178,956,970, by their header: nothing of these is decoded.
    """
    if not data:
        raise PictureError('unreadable', 'empty')
    try:
        if data[:6] == b'\x93NUMPY' or data[:2] == b'PK':
            return from_numpy(data)
        return on_white(load(data, several=True, deep=False).image)
    except (PictureError, MemoryError):
        raise
    except ImageFileError as error:
        raise PictureError('unreadable', str(error)) from error
    except Image.DecompressionBombError as error:
        raise PictureError('unreadable', ' '.join(str(error).split())) from error
    except Exception as error:  # broken files make decoders raise anything
        kind = 'truncated' if 'truncated' in str(error).lower() else 'unreadable'
        raise PictureError(kind, f'{type(error).__name__}: {" ".join(str(error).split())}') from error


def on_white(image: np.ndarray) -> np.ndarray:
    """(H, W, 1 to 4) uint8, gray or RGB, the last of two or four opacity -> (H, W, 3) RGB."""
    if image.shape[2] in (2, 4):
        shown = Image.fromarray(image).convert('RGBA')
        image = np.asarray(Image.alpha_composite(Image.new('RGBA', shown.size, 'white'), shown).convert('RGB'))
    return np.array(np.broadcast_to(image, (*image.shape[:2], 3)))  # writable


def from_numpy(data: bytes) -> np.ndarray:
    """The one array of a .npy or .npz file, uint8, ([1,] 3, H, W) or ([1,] H, W, 3), as CelebA-HQ is dumped."""
    file: IO[bytes] = io.BytesIO(data)
    if data[:2] == b'PK':
        archive = zipfile.ZipFile(file)
        if len(archive.namelist()) != 1:
            raise PictureError('unreadable', f'an .npz of {len(archive.namelist())} arrays, not of one image')
        file = archive.open(archive.namelist()[0])
    loaded = _array(file)
    array = loaded[0] if loaded.ndim == 4 and len(loaded) == 1 else loaded
    if array.ndim == 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise PictureError('unreadable', f'an array of shape {loaded.shape} and type {loaded.dtype} is no image')
    return np.ascontiguousarray(array)


def _array(file: IO[bytes]) -> np.ndarray:
    """An .npy whose header is looked at before its array gets memory."""
    read_header = np.lib.format.read_array_header_1_0
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        read_header = np.lib.format.read_array_header_2_0
    shape, fortran, kind = read_header(file)
    most = 3 * (Image.MAX_IMAGE_PIXELS or 1 << 27)
    if version[0] > 2 or len(shape) not in (3, 4) or kind != np.uint8 or fortran or not 0 <= math.prod(shape) <= most:
        raise PictureError('unreadable', f'an array of shape {shape} and type {kind} is no image')
    levels = file.read(math.prod(shape) + 1)
    if len(levels) != math.prod(shape):
        raise PictureError('truncated', f'{len(levels)} bytes of an array of shape {shape}')
    return np.frombuffer(levels, np.uint8).reshape(shape)


def read(item: Item) -> np.ndarray:
    """:func:`decode` of the item's file or database entry; a file that cannot be read is a PictureError, too."""
    try:
        data = read_bytes(item)
    except OSError as error:
        raise PictureError('unreadable', error.strerror or str(error)) from error
    return decode(data)


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """:func:`decode` of a file; the PictureError names it."""
    try:
        return read(Item('', '', os.fspath(path)))
    except PictureError as error:
        raise PictureError(error.kind, error.detail, os.fspath(path)) from error


def read_profile(path: str | os.PathLike[str]) -> bytes | None:
    """Colour profile of a file that :func:`read_image` reads; None of what is gray, as it does not fit RGB."""
    loaded = load(read_file(path), several=True, deep=False)
    return loaded.metadata()[0].icc if loaded.image.shape[2] >= 3 else None


def is_gray(image: np.ndarray) -> bool:
    """Whether the channels of (H, W, 3) uint8 are the same, to within the rounding of a JPEG file."""
    return bool((image.max(axis=2) - image.min(axis=2)).max() <= GRAY_TOLERANCE)
