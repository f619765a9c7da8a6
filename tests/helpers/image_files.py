"""Image files made byte by byte, of every kind that the formats have, and what an independent decoder makes of them."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

HEIGHT, WIDTH = 6, 9
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
ORIENTATIONS = range(1, 9)


def padded(profile: bytes, size: int) -> bytes:
    """The same profile in so many bytes more, as tables of printers and scanners make it."""
    profile += bytes(size)
    return struct.pack('>I', len(profile)) + profile[4:]


PROFILES = {'no': None, 'small': SRGB, 'large': padded(SRGB, 1_200_000)}


@dataclass(frozen=True)
class Kind:
    """What a file holds.

    Attributes:
        form: PNG, JPEG, TIFF, WEBP or BMP.
        name: Of the kind, unique in its format.
        options: Of the function that makes it.
    """

    form: str
    name: str
    options: dict[str, Any]

    @property
    def alone(self) -> bool:
        """Whether the format has neither an orientation nor, as PIL and libvips read it, a profile."""
        return self.form == 'BMP'

    def make(self, rng: np.random.Generator, orientation: int = 1, icc: bytes | None = None) -> bytes:
        extra = {} if self.alone else dict(orientation=orientation, icc=icc)
        make = by_pil if 'mode' in self.options else MAKERS[self.form]
        return make(rng, **self.options, **extra)


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[ExifTags.Base.Orientation] = orientation
    return data.tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def packed(values: np.ndarray, depth: int, order: str = '>') -> list[bytes]:
    """(H, W, K) of so many bits -> the bytes of each row."""
    if depth == 16:
        return [row.astype(f'{order}u2').tobytes() for row in values]
    digits = (values.reshape(len(values), -1, 1) >> np.arange(depth)[::-1]) & 1
    return [np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in digits]


def png(
    rng: np.random.Generator, colour: int, depth: int, transparent: bool = False, interlaced: bool = False,
    orientation: int = 1, icc: bytes | None = None,
) -> bytes:  # fmt: skip
    """Of colour type 0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGBA; two pixels have the transparent value."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    values = rng.integers(0, 2**depth, (HEIGHT, WIDTH, channels))
    values[3, 4] = values[0, 0]
    chunks = [chunk(b'IHDR', struct.pack('>IIBBBBB', WIDTH, HEIGHT, depth, colour, 0, 0, interlaced))]
    if icc is not None:
        chunks.append(chunk(b'iCCP', b'profile\0\0' + zlib.compress(icc, 1)))
    if orientation != 1:
        chunks.append(chunk(b'eXIf', exif(orientation)[6:]))
    if colour == 3:
        chunks.append(chunk(b'PLTE', rng.bytes(3 * 2**depth)))
        if transparent:
            chunks.append(chunk(b'tRNS', rng.bytes(max(1, 2**depth // 2))))
    elif transparent:
        chunks.append(chunk(b'tRNS', values[0, 0].astype('>u2').tobytes()))
    steps = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: first row and column, and steps, of each pass
        steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = [values[top::down, left::right] for top, left, down, right in steps]
    body = b''.join(b'\0' + row for part in passes if part.size for row in packed(part, depth))
    return b'\x89PNG\r\n\x1a\n' + b''.join([*chunks, chunk(b'IDAT', zlib.compress(body)), chunk(b'IEND', b'')])


def tiff(
    rng: np.random.Generator, photometric: int, depth: int, extras: tuple[int, ...] = (), order: str = '<',
    planes: bool = False, said: bool = True, compression: int = 1, orientation: int = 1, icc: bytes | None = None,
) -> bytes:  # fmt: skip
    """Of photometric 0 white is zero, 1 black is zero, 2 RGB, 3 palette, and channels beyond the colours.

    Args:
        rng: Of the pixel values.
        photometric: As above.
        depth: Bits.
        extras: What further channels are: 0 unspecified, 1 opacity by which colours are multiplied, 2 opacity.
        order: Of bytes.
        planes: Channel after channel.
        said: That there are further channels.
        compression: 1 none, 8 deflate, 5 LZW (of codes of 9 bits without a table).
        orientation: Tag.
        icc: Colour profile.
    """
    colours = 3 if photometric == 2 else 1
    values = rng.integers(0, 2**depth, (HEIGHT, WIDTH, colours + len(extras)))
    if 1 in extras:
        opacity = values[..., [colours + extras.index(1)]]
        colour = values[..., :colours] * opacity // (2**depth - 1)
        values[..., :colours] = 2**depth - 1 - colour if photometric == 0 else colour
    parts = np.moveaxis(values, 2, 0)[..., None] if planes else values[None]
    strips = [b''.join(packed(part, depth, order)) for part in parts]
    strips = [{1: bytes, 5: lzw, 8: zlib.compress}[compression](strip) for strip in strips]
    count = values.shape[2]
    tags: dict[int, tuple[str, list[int] | bytes]] = {
        256: ('I', [WIDTH]), 257: ('I', [HEIGHT]), 258: ('H', [depth] * count), 259: ('H', [compression]),
        262: ('H', [photometric]), 273: ('I', [0] * len(strips)), 274: ('H', [orientation]), 277: ('H', [count]),
        278: ('I', [HEIGHT]), 279: ('I', [len(strip) for strip in strips]), 284: ('H', [1 + planes]),
    }  # fmt: skip
    if extras and said:
        tags[338] = 'H', [*extras]
    if photometric == 3:
        tags[320] = 'H', [257 * value for value in rng.bytes(3 * 2**depth)]
    if icc is not None:
        tags[34675] = 'B', icc
    start = 8 + sum(map(len, strips))
    offsets = itertools.accumulate(map(len, strips[:-1]), initial=8)
    tags[273] = 'I', [*offsets]
    start += start % 2
    head = struct.pack(f'{order}2sHI', b'II' if order == '<' else b'MM', 42, start)
    entries, behind = struct.pack(f'{order}H', len(tags)), b''
    end = start + 2 + 12 * len(tags) + 4
    for tag, (form, numbers) in sorted(tags.items()):
        content = numbers if isinstance(numbers, bytes) else struct.pack(f'{order}{len(numbers)}{form}', *numbers)
        kind = {'B': 7, 'H': 3, 'I': 4}[form]
        field = content.ljust(4, b'\0') if len(content) <= 4 else struct.pack(f'{order}I', end + len(behind))
        entries += struct.pack(f'{order}HHI', tag, kind, len(numbers)) + field
        behind += b'' if len(content) <= 4 else content + b'\0' * (len(content) % 2)
    return (head + b''.join(strips)).ljust(start, b'\0') + entries + bytes(4) + behind


def lzw(data: bytes) -> bytes:
    """TIFF's LZW without a word of its table: it is cleared before each 200 bytes."""
    codes = [256]
    for index, value in enumerate(data):
        codes += [256] * (index > 0 and index % 200 == 0) + [value]
    digits = (np.array([*codes, 257])[:, None] >> np.arange(9)[::-1]) & 1
    return np.packbits(digits.ravel().astype(np.uint8)).tobytes()


def bmp(rng: np.random.Generator, depth: int, masks: tuple[int, ...] = ()) -> bytes:
    """With a palette of up to 8 bits, else with fields by masks of red, green, blue (and opacity)."""
    values = rng.integers(0, 2**depth, (HEIGHT, WIDTH, 1), dtype=np.uint64)
    if depth > 8:
        rows = [row.astype('<u4').tobytes() if depth == 32 else row.astype('<u2').tobytes() if depth == 16 else
                b''.join(int(value).to_bytes(3, 'little') for value in row.ravel()) for row in values]  # fmt: skip
    else:
        rows = packed(values.astype(np.int64), depth)
    body = b''.join(row + bytes(-len(row) % 4) for row in rows[::-1])
    fields = b''.join(struct.pack('<I', mask) for mask in masks)
    palette = b'' if depth > 8 else b''.join(rng.bytes(3) + b'\0' for _ in range(2**depth))
    size = 108 if len(masks) == 4 else 40
    behind = fields.ljust(68, b'\0') if size == 108 else fields
    offset = 14 + 40 + len(behind) + len(palette)
    head = struct.pack('<2sIHHI', b'BM', offset + len(body), 0, 0, offset)
    info = struct.pack('<IiiHHIIiiII', size, WIDTH, HEIGHT, 1, depth, 3 if masks else 0, len(body), 0, 0, 0, 0)
    return head + info + behind + palette + body


def by_pil(
    rng: np.random.Generator, form: str, mode: str, orientation: int = 1, icc: bytes | None = None, **options: Any
) -> bytes:
    values = rng.integers(0, 256, (HEIGHT, WIDTH, len(mode)), np.uint8)
    image = Image.fromarray(values.squeeze()).convert(mode) if mode != 'CMYK' else Image.frombytes(
        mode, (WIDTH, HEIGHT), values.tobytes())  # fmt: skip
    if icc is not None:
        options.update(icc_profile=icc)
    if orientation != 1:
        options.update(exif=exif(orientation))
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


MAKERS = {'PNG': png, 'TIFF': tiff, 'BMP': bmp}


def kinds() -> Iterator[Kind]:
    """Every bit depth and colour type of each format, opaque and in each way in which it can be transparent."""
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for colour, depth in [(number, depth) for number, some in depths.items() for depth in some]:
        for transparent, interlaced in itertools.product((False, True)[:1 if colour >= 4 else 2], (False, True)):
            name = f'colour {colour}, {depth} bits{", tRNS" * transparent}{", interlaced" * interlaced}'
            yield Kind('PNG', name, dict(colour=colour, depth=depth, transparent=transparent, interlaced=interlaced))
    for photometric in (0, 1, 2, 3):
        for depth in {0: (1, 2, 4, 8, 16), 1: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8)}[photometric]:
            extras: list[tuple[int, ...]] = [()]
            if depth in (8, 16) and photometric < 3:
                extras += [(0,), (1,), (2,), (0, 2)]
            for extra in extras:
                for order, more in TIFFS:
                    if more.get('planes') and not (extra or photometric == 2):
                        continue
                    if more.get('said') is False and len(extra) != 1:
                        continue
                    name = f'photometric {photometric}, {depth} bits, extra {extra}, {order} {more}'
                    options = dict(photometric=photometric, depth=depth, extras=extra, order=order, **more)
                    yield Kind('TIFF', name, options)
    for mode, compression in (('1', 'group4'), ('1', 'packbits'), ('L', 'tiff_lzw'), ('RGB', 'jpeg'),
                              ('RGB', 'packbits'), ('RGBA', 'tiff_lzw'), ('CMYK', 'raw'), ('CMYK', 'tiff_lzw')):
        yield Kind('TIFF', f'{mode} {compression}', dict(form='TIFF', mode=mode, compression=compression))
    for mode, options in (('L', {}), ('RGB', dict(subsampling=0)), ('RGB', dict(subsampling=2)),
                          ('RGB', dict(progressive=True)), ('CMYK', {})):  # fmt: skip
        yield Kind('JPEG', f'{mode} {options}', dict(form='JPEG', mode=mode, quality=95, **options))
    for mode, lossless in itertools.product(('RGB', 'RGBA'), (False, True)):
        yield Kind('WEBP', f'{mode} {"lossless" * lossless}', dict(form='WEBP', mode=mode, lossless=lossless))
    for depth in (1, 4, 8, 16, 24, 32):
        yield Kind('BMP', f'{depth} bits', dict(depth=depth))
    yield Kind('BMP', '16 bits, 5, 6 and 5', dict(depth=16, masks=(0xF800, 0x7E0, 0x1F)))
    yield Kind('BMP', '32 bits with opacity', dict(depth=32, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000)))


# Order of bytes, and options.
TIFFS: tuple[tuple[str, dict[str, Any]], ...] = (
    ('<', {}), ('>', {}), ('<', dict(compression=8)), ('<', dict(compression=5)), ('<', dict(said=False)),
    *(('<', dict(planes=True, compression=compression)) for compression in (1, 5, 8)),
)  # fmt: skip
