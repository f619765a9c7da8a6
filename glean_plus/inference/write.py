"""Rows of a result -> a file that is whole or not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.frame_writers import GifWriter
from glean_plus.inference.image import Meta
from glean_plus.inference.png_stream import PngWriter
from glean_plus.utils.files import whole_or_not_at_all
from glean_plus.utils.images.exif import resized

# Ending -> PIL's format, whether it has opacity, and the longest side that it can have.
FORMATS = {
    '.png': ('PNG', True, 2**31 - 1),
    '.apng': ('PNG', True, 2**31 - 1),
    '.jpg': ('JPEG', False, 65_500),
    '.jpeg': ('JPEG', False, 65_500),
    '.webp': ('WEBP', True, 16_383),
    '.tif': ('TIFF', True, 2**31 - 1),
    '.tiff': ('TIFF', True, 2**31 - 1),
    '.bmp': ('BMP', False, 2**31 - 1),
    '.gif': ('GIF', True, 65_535),
}
QUALITY = 95  # of those that lose some
LOSSY = ('JPEG', 'WEBP')
TIFF_XMP = 700  # tag
WHAT = {'icc': 'colour profile', 'exif': 'EXIF data', 'xmp': 'XMP'}
# Most bytes of metadata that a format holds, and common readers take: PIL refuses a whole PNG for a profile of 1 MiB,
# libpng a chunk beyond 8 MB. A segment of a JPEG has 65,533 bytes; before XMP there is its name; a profile has 255
# segments, each with 14 bytes before it.
MOST_TEXT = 7_900_000
MOST: Mapping[str, Mapping[str, int]] = {
    'PNG': {'icc': 2**20 - 1, 'exif': 8_000_000, 'xmp': MOST_TEXT},
    'JPEG': {'icc': 255 * (65_533 - 14), 'exif': 65_533, 'xmp': 65_533 - len(b'http://ns.adobe.com/xap/1.0/\0')},
    'WEBP': {},
    'TIFF': {},
    'BMP': {'icc': 0},
    'GIF': {'icc': 0, 'exif': 0, 'xmp': 0},
}
FEW_COLOURS = 'GIF has 256 colours a frame, and pixels are opaque or not: .png and .webp keep all'


def check_ending(ending: str) -> None:
    """Raise RestoreError if results cannot be written so."""
    if ending.lower() not in FORMATS:
        raise RestoreError(f'A result ends in one of {", ".join(FORMATS)}, not in {ending!r}.')


def check_quality(quality: int, endings: Iterable[str]) -> None:
    """Raise RestoreError if no file with one of these endings has such a quality."""
    if not 1 <= quality <= 100:
        raise RestoreError(f'The quality of JPEG and WebP is 1 to 100, higher is better, but is {quality}.')
    if not any(FORMATS[ending.lower()][0] in LOSSY for ending in endings):
        raise RestoreError('quality is of JPEG and WebP, but no result is one: leave it out, or choose such a format.')


def write(
    path: Path, rows: Iterable[np.ndarray], shape: tuple[int, int, int], kind: str, meta: Meta,
    quality: int | None = None,
) -> list[str]:  # fmt: skip
    """Write an image from its rows, through a temporary file beside it.

    A PNG is written as the rows come; the other formats take the whole image.

    Args:
        path: Its ending says the format.
        rows: (h, W, K) each, from the top.
        shape: (H, W, K) of the whole.
        kind: Type of the levels, uint8 or uint16.
        meta: What is kept of the input's file.
        quality: Of JPEG and WebP, 1 to 100; None for 95.

    Returns:
        What the format has no room for, a note each.

    Raises:
        RestoreError: If the format cannot hold such an image.
    """
    ending = path.suffix.lower()
    check_ending(ending)
    name, opacity, longest = FORMATS[ending]
    if kind not in ('uint8', 'uint16'):
        raise RestoreError(f'levels in a file are uint8 or uint16, not {kind}')
    if why := obstacle(ending, shape, kind):
        raise RestoreError(f'{why}: take .png')
    meta, notes = fitting(ending, replace(meta, exif=meta.exif and resized(meta.exif, *shape[:2])))
    with whole_or_not_at_all(path) as file:
        if name == 'PNG':
            writer = PngWriter(file, *shape, deep=kind == 'uint16', meta=meta)
            for some in rows:
                writer.write(some)
            writer.close()
        else:
            whole = np.concatenate(list(rows))
            if name == 'TIFF':
                _write_tiff(file, whole, meta)
            elif name == 'GIF':
                gif = GifWriter(file, shape)
                gif.write(whole)
                gif.close()
                notes += [FEW_COLOURS] if gif.reduced else []
            else:
                image = Image.fromarray(whole[..., 0] if shape[2] == 1 else whole)
                image.save(file, format=name, **_options(name, meta, QUALITY if quality is None else quality))
    return notes


def _write_tiff(file: BinaryIO, image: np.ndarray, meta: Meta) -> None:
    """(H, W, K) uint8 or uint16; PIL cannot write colours of 16 bits."""
    import tifffile

    colours = 1 if image.shape[2] < 3 else 3
    xmp = [(TIFF_XMP, 1, len(meta.xmp), meta.xmp, True)] if meta.xmp else []
    tifffile.imwrite(
        file, image[..., 0] if image.shape[2] == 1 else image,
        photometric='rgb' if colours == 3 else 'minisblack', planarconfig='contig', compression='zlib',
        extrasamples=['unassalpha'] * (image.shape[2] - colours), iccprofile=meta.icc, metadata=None, extratags=xmp,
        resolution=meta.dpi, resolutionunit='inch' if meta.dpi else None,
    )  # fmt: skip


def obstacle(ending: str, shape: tuple[int, int, int], kind: str) -> str | None:
    """What keeps such an image from a format, for people; None if nothing does."""
    name, opacity, longest = FORMATS[ending]
    if kind == 'uint16' and name not in ('PNG', 'TIFF'):
        return f'{name} has no 16 bits'
    if shape[2] in (2, 4) and not opacity:
        return f'{name} has no transparency'
    if max(shape[:2]) > longest:
        return f'{name} has {longest} pixels a side at most, the result {max(shape[:2])}'
    return None


def fitting(ending: str, meta: Meta) -> tuple[Meta, list[str]]:
    """The metadata that a format has room for, and a note on each part that it has none for."""
    name = FORMATS[ending][0]
    notes, left_out = list[str](), set[str]()
    for part, most in MOST[name].items():
        data = getattr(meta, part)
        if data is not None and len(data) > most:
            room = f'for {most:,} bytes at most' if most else 'for none'
            notes.append(f'its {WHAT[part]} of {len(data):,} bytes is left out: {name} has room {room}')
            left_out.add(part)
    icc, exif, xmp = (None if part in left_out else getattr(meta, part) for part in WHAT)
    meta = replace(meta, icc=icc, exif=exif, xmp=xmp)
    if name == 'PNG' and (long := [key for key, text in meta.text.items() if len(text.encode()) > MOST_TEXT]):
        notes.append(f'its text {", ".join(long)} is left out: {name} has room for {MOST_TEXT:,} bytes of each')
        meta = replace(meta, text={key: text for key, text in meta.text.items() if key not in long})
    return meta, notes


def _options(name: str, meta: Meta, quality: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if name in LOSSY:
        options.update(quality=quality)
    if name == 'JPEG':
        options.update(subsampling=0)
    if name != 'BMP' and meta.icc:
        options.update(icc_profile=meta.icc)
    if name in ('JPEG', 'WEBP') and meta.exif:
        options.update(exif=meta.exif)
    if name in ('JPEG', 'WEBP') and meta.xmp:
        options.update(xmp=meta.xmp)
    if name in ('JPEG', 'BMP') and meta.dpi:
        options.update(dpi=meta.dpi)
    return options
