"""PNG files taken apart: damage beside the pixels costs what is damaged, not the image.

PIL refuses a file for a wrong checksum in any chunk, and for profiles and texts of more than a megabyte. Here chunks
without which the image can be shown (ancillary ones) are read apart from it, within bounds, as libpng does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from glean_plus.utils.images.errors import ImageFileError
from glean_plus.utils.images.metadata import resolution

SIGNATURE = b'\x89PNG\r\n\x1a\n'
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types
DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
TRANSPARENCY = {GRAY: (2, 2), RGB: (6, 6), PALETTE: (1, 256)}  # least and most bytes of tRNS
XMP = 'XML:com.adobe.xmp'
# ImageMagick's chunks of text with EXIF data in hexadecimal digits, which PIL takes for EXIF data, too.
RAW_EXIF = ('Raw profile type exif', 'Raw profile type APP1')
MOST = 8_000_000  # bytes of a profile or text: what libpng takes
MOST_TEXT = 4 * MOST  # of all texts
INCH = 0.0254  # metres


class Chunk(NamedTuple):
    """A part of a PNG file.

    Attributes:
        at: Where it begins.
        kind: Its name.
        content: What is there of it.
        file: The same with its name, length and checksum.
        whole: Whether the file reaches to its end.
        sound: Whether its checksum is right.
    """

    at: int
    kind: bytes
    content: memoryview
    file: memoryview
    whole: bool
    sound: bool


@dataclass
class PngFile:
    """A PNG file taken apart.

    Attributes:
        pixels: The same image as a file without metadata; of transparency, it has that of a palette.
        depth, colour: Bits and colour type.
        frames: More than 1 in an animation.
        level: The one gray or RGB value that is transparent, in the file's own depth.
        icc, exif, xmp, dpi, text: Metadata.
        notes: What has been left out.
    """

    pixels: bytes = b''
    depth: int = 8
    colour: int = RGB
    frames: int = 1
    level: tuple[int, ...] | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_png(data: bytes) -> PngFile:
    """Take a PNG file apart.

    Raises:
        ImageFileError: If what its pixels need is damaged.
    """
    png, parts, ancillary = PngFile(), [memoryview(SIGNATURE)], list[Chunk]()
    seen = set[bytes]()
    for chunk in chunks(data):
        kind = chunk.kind
        if not seen and kind != b'IHDR':
            raise ImageFileError(f'it is a PNG without a header: it begins with {kind!r}')
        if not kind.isalpha():
            if b'IDAT' not in seen:
                raise ImageFileError(f'it is a PNG whose structure is broken: there is no chunk at byte {chunk.at}')
            png.notes.append(f'what lies behind byte {chunk.at} is broken and left out')
            break
        if kind[0] & 0x20:
            if not (chunk.whole and chunk.sound):
                png.notes.append(f'its chunk {kind.decode()} is damaged (wrong checksum) and left out')
            elif kind != b'tRNS':
                ancillary.append(chunk)
            elif why := _transparency(png, chunk, seen):
                png.notes.append(f'its chunk tRNS is {why} and left out')
            elif png.colour == PALETTE:
                parts.append(chunk.file)
            seen.add(kind)
            continue
        if chunk.whole and not chunk.sound and kind == b'IEND' and b'IDAT' in seen:
            png.notes.append('its end (IEND) is damaged (wrong checksum)')
            break
        if chunk.whole and not chunk.sound:
            raise ImageFileError(f'it is a PNG that is damaged: the checksum of {kind.decode()} at byte {chunk.at} '
                                 'is wrong')  # fmt: skip
        if kind == b'IHDR':
            if seen:
                raise ImageFileError(f'it is a PNG with a second header at byte {chunk.at}')
            _header(png, chunk)
        elif kind not in (b'PLTE', b'IDAT', b'IEND'):
            raise ImageFileError(f'it is a PNG with a chunk {kind.decode()} that is not known, and its pixels need')
        seen.add(kind)
        parts.append(chunk.file)
        if kind == b'IEND':
            break
    if b'IDAT' not in seen:
        raise ImageFileError('it is a PNG that is truncated, or whose structure is broken: it has no pixels')
    png.pixels = b''.join(parts)
    _read_metadata(png, ancillary)
    return png


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks, in their order; the last may be cut short."""
    view, at = memoryview(data), len(SIGNATURE)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from('>I4s', data, at)
        content = view[at + 8:at + 8 + size]
        end = at + 8 + size
        whole = end + 4 <= len(data)
        sound = whole and zlib.crc32(content, zlib.crc32(kind)) == struct.unpack_from('>I', data, end)[0]
        yield Chunk(at, kind, content, view[at:end + 4], whole, sound)
        at = end + 4


def _header(png: PngFile, chunk: Chunk) -> None:
    if len(chunk.content) != 13:
        raise ImageFileError('it is a PNG whose header is cut short')
    png.depth, png.colour = chunk.content[8], chunk.content[9]
    if png.depth not in DEPTHS.get(png.colour, ()):
        raise ImageFileError(f'it is a PNG of colour type {png.colour} with {png.depth} bits, which PNG does not have')


def _transparency(png: PngFile, chunk: Chunk, seen: set[bytes]) -> str | None:
    """Take the transparency of a palette or of one value; the reason where it cannot be."""
    least, most = TRANSPARENCY.get(png.colour, (1, 0))
    if not least <= len(chunk.content) <= most:
        return f'wrong ({len(chunk.content)} bytes for colour type {png.colour})'
    if b'IDAT' in seen or b'tRNS' in seen or (png.colour == PALETTE and b'PLTE' not in seen):
        return 'out of place'
    if png.colour != PALETTE:
        values = struct.unpack(f'>{len(chunk.content) // 2}H', chunk.content)
        png.level = tuple(value & (2**png.depth - 1) for value in values)
    return None


def _read_metadata(png: PngFile, ancillary: list[Chunk]) -> None:
    room = MOST_TEXT
    for chunk in ancillary:
        kind = chunk.kind.decode()
        content = bytes(chunk.content)
        try:
            if kind == 'iCCP' and png.icc is None:
                png.icc = _inflated(content.partition(b'\0')[2])
            elif kind == 'eXIf' and png.exif is None:
                png.exif = content
            elif kind == 'pHYs':
                across, down, unit = struct.unpack('>IIB', content)
                png.dpi = resolution((across * INCH, down * INCH)) if unit == 1 else None
            elif kind == 'acTL':
                png.frames = struct.unpack('>II', content)[0]
            elif kind in ('tEXt', 'zTXt', 'iTXt'):
                key, text = _text(kind, content)
                if len(text) > room:
                    raise ValueError(f'more than {MOST_TEXT:,} bytes of text in all')
                room -= len(text)
                _keep_text(png, key, text)
        except (ValueError, IndexError, struct.error, zlib.error) as error:
            png.notes.append(f'its chunk {kind} cannot be read ({error}) and is left out')


def _inflated(content: bytes) -> bytes:
    """Of the method of compression and what is compressed."""
    if content[:1] != b'\0':
        raise ValueError('no known compression')
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(content[1:], MOST + 1)
    if len(found) > MOST:
        raise ValueError(f'more than {MOST:,} bytes')
    if not unpacker.eof:
        raise ValueError('cut short')
    return found


def _text(kind: str, content: bytes) -> tuple[str, str]:
    """Key and text."""
    key, _, rest = content.partition(b'\0')
    if not key:
        raise ValueError('no keyword')
    if kind == 'iTXt':
        packed, (_, _, rest) = rest[:1], rest[2:].split(b'\0', 2)
        rest = _inflated(b'\0' + rest) if packed == b'\1' else rest
    elif kind == 'zTXt':
        rest = _inflated(rest)
    if len(rest) > MOST:
        raise ValueError(f'more than {MOST:,} bytes')
    return key.decode('latin-1'), rest.decode('utf-8' if kind == 'iTXt' else 'latin-1')


def _keep_text(png: PngFile, key: str, text: str) -> None:
    if key == XMP:
        png.xmp = text.encode()
    elif key in RAW_EXIF:  # a name, the number of bytes, and the digits, on lines of their own
        png.exif = png.exif or bytes.fromhex(''.join(text.split('\n')[3:]))
    else:
        png.text[key] = text
