"""Animated PNG files taken apart."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction

from glean_plus.utils.images import png
from glean_plus.utils.images.errors import ImageFileError
from glean_plus.utils.images.frames import CLEAR, KEEP, RESTORE, Part

AFTER = (KEEP, CLEAR, RESTORE)  # by the number in the file
REPLACES = 0
USUAL = 100  # denominator of a time that has 0 there


def parts(data: bytes) -> Iterator[Part]:
    """What each frame draws.

    Raises:
        ImageFileError: If a frame is damaged or missing.
    """
    header, shared, control, pixels, count = b'', b'', b'', list[memoryview](), 0
    for chunk in png.chunks(data):
        if chunk.kind in (b'fcTL', b'fdAT', b'IDAT') and not chunk.sound:
            raise ImageFileError(f'frame {max(count, 1)} is damaged: the checksum of {chunk.kind.decode()} is wrong')
        if chunk.kind == b'IHDR':
            header = bytes(chunk.content[8:])
        elif chunk.kind in (b'PLTE', b'tRNS'):
            shared += chunk.file
        elif chunk.kind == b'fcTL':
            if control:
                yield _part(header, shared, control, pixels)
            control, pixels, count = bytes(chunk.content), [], count + 1
        elif control and chunk.kind == b'IDAT':
            pixels.append(chunk.content)
        elif control and chunk.kind == b'fdAT':
            pixels.append(chunk.content[4:])
    if control:
        yield _part(header, shared, control, pixels)
    if count < (claimed := _control(data)[0]):
        raise ImageFileError(f'it is a PNG that is cut short: {count} of its {claimed} frames are there')


def plays(data: bytes) -> int:
    """How many times all frames are shown; 0 is for ever."""
    return _control(data)[1]


def has_still(data: bytes) -> bool:
    """Whether the image of viewers without animation is none of the frames."""
    return next((chunk.kind for chunk in png.chunks(data) if chunk.kind in (b'IDAT', b'fcTL')), b'') == b'IDAT'


def _control(data: bytes) -> tuple[int, int]:
    """Number of frames, and how many times they are shown."""
    found = (struct.unpack('>II', chunk.content) for chunk in png.chunks(data) if chunk.kind == b'acTL')
    count, plays = next(found, (0, 0))
    return count, plays


def _part(header: bytes, shared: bytes, control: bytes, pixels: list[memoryview]) -> Part:
    width, height, left, top, over, under, after, blend = struct.unpack('>IIIIHHBB', control[4:])
    file = png.SIGNATURE + _chunk(b'IHDR', struct.pack('>II', width, height) + header) + shared
    file += _chunk(b'IDAT', b''.join(pixels)) + _chunk(b'IEND', b'')
    time = Fraction(over, under or USUAL)
    return Part(file, left, top, time, AFTER[after] if after < len(AFTER) else KEEP, blend == REPLACES)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(content, zlib.crc32(kind)))
