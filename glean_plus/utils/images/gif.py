"""GIF files taken apart."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from glean_plus.utils.images.errors import ImageFileError
from glean_plus.utils.images.frames import CLEAR, KEEP, RESTORE, Part

SIGNATURE = b'GIF8'
EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B  # what a block begins with
CONTROL, APPLICATION = 0xF9, 0xFF  # kinds of extensions
TABLE, INTERLACED = 0x80, 0x40  # flags; the size of a table of colours is in the lowest three bits
AFTER = {2: CLEAR, 3: RESTORE}


class _Block(NamedTuple):
    """From ``at`` to ``end``; a kind of extension, or ``IMAGE``."""

    kind: int
    at: int
    end: int


def size(data: bytes) -> tuple[int, int]:
    """Width and height."""
    width, height = struct.unpack_from('<HH', data, 6)
    return width, height


def parts(data: bytes) -> Iterator[Part]:
    """What each frame draws.

    Raises:
        ImageFileError: If the file is cut short, or its structure is broken.
    """
    control, flags = b'', data[10]
    common = data[13:13 + _table_size(flags)]
    for kind, at, end in _blocks(data):
        if kind == CONTROL:
            control = data[at:end]
        elif kind == IMAGE:
            left, top, width, height, own = struct.unpack_from('<HHHHB', data, at + 1)
            start = at + 10 + _table_size(own)
            table = data[at + 10:start] or common
            tables = (own if own & TABLE else flags) & (TABLE | 7)
            file = struct.pack('<6sHHBBB', b'GIF89a', width, height, tables, 0, 0) + table + control
            file += struct.pack('<BHHHHB', IMAGE, 0, 0, width, height, own & INTERLACED)
            file += data[start:end] + bytes([END])
            time = Fraction(struct.unpack_from('<H', control, 4)[0] if control else 0, 100)
            yield Part(file, left, top, time, AFTER.get(control[3] >> 2 & 7, KEEP) if control else KEEP)
            control = b''


def plays(data: bytes) -> int:
    """How many times all frames are shown; 0 is for ever.

    The file says how often they are repeated: browsers, libvips and ``gif2webp`` show them once more.
    """
    for kind, at, _ in _blocks(data):
        if kind == APPLICATION and data[at + 3:at + 14] == b'NETSCAPE2.0' and data[at + 15] == 1:
            (repeats,) = struct.unpack_from('<H', data, at + 16)
            return repeats and repeats + 1
    return 1


def _blocks(data: bytes) -> Iterator[_Block]:
    at = 13 + _table_size(data[10])
    try:
        while at < len(data) and data[at] != END:  # many files lack the end
            if data[at] not in (EXTENSION, IMAGE):
                raise ImageFileError(f'it is a GIF whose structure is broken: there is no block at byte {at}')
            is_image = data[at] == IMAGE
            end = at + 11 + _table_size(data[at + 9]) if is_image else at + 2
            while length := data[end]:
                end += length + 1
            yield _Block(IMAGE if is_image else data[at + 1], at, end + 1)
            at = end + 1
    except IndexError as error:
        raise ImageFileError('it is a GIF that is cut short') from error


def _table_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & TABLE else 0
