"""Rows of a result -> a file that is whole or not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from glean_plus.files import whole_or_not_at_all
from glean_plus.restore.errors import RestoreError
from glean_plus.restore.picture import Meta
from glean_plus.restore.png import PngWriter

# Ending -> PIL's format, whether it has opacity, and the longest side that it can have.
FORMATS = {
    '.png': ('PNG', True, 2**31 - 1),
    '.jpg': ('JPEG', False, 65_500),
    '.jpeg': ('JPEG', False, 65_500),
    '.webp': ('WEBP', True, 16_383),
    '.tif': ('TIFF', True, 2**31 - 1),
    '.tiff': ('TIFF', True, 2**31 - 1),
    '.bmp': ('BMP', False, 2**31 - 1),
}
QUALITY = 95
# Bytes that one segment of a JPEG holds; before XMP there is its name.
MOST_IN_JPEG = {'EXIF data': 65_533, 'XMP': 65_533 - len(b'http://ns.adobe.com/xap/1.0/\0')}


def check_ending(ending: str) -> None:
    """Raise RestoreError if results cannot be written so."""
    if ending.lower() not in FORMATS:
        raise RestoreError(f'A result ends in one of {", ".join(FORMATS)}, not in {ending!r}.')


def write(path: Path, rows: Iterable[np.ndarray], shape: tuple[int, int, int], kind: str, meta: Meta) -> None:
    """Write a picture from its rows, through a temporary file beside it.

    A PNG is written as the rows come; the other formats take the whole picture.

    Args:
        path: Its ending says the format.
        rows: (h, W, K) each, from the top.
        shape: (H, W, K) of the whole.
        kind: Type of the levels, uint8 or uint16.
        meta: What is kept of the input's file.

    Raises:
        RestoreError: If the format cannot hold such a picture.
    """
    ending = path.suffix.lower()
    check_ending(ending)
    name, opacity, longest = FORMATS[ending]
    if kind not in ('uint8', 'uint16'):
        raise RestoreError(f'levels in a file are uint8 or uint16, not {kind}')
    meta = Meta(meta.icc, _with_size(meta.exif, shape), meta.xmp, meta.dpi, meta.text)
    if why := obstacle(ending, shape, kind, meta):
        raise RestoreError(f'{why}: take .png')
    with whole_or_not_at_all(path) as file:
        if name == 'PNG':
            writer = PngWriter(file, *shape, deep=kind == 'uint16', meta=meta)
            for some in rows:
                writer.write(some)
            writer.close()
        else:
            whole = np.concatenate(list(rows))
            image = Image.fromarray(whole[..., 0] if shape[2] == 1 else whole)
            image.save(file, format=name, **_options(name, meta))


def obstacle(ending: str, shape: tuple[int, int, int], kind: str, meta: Meta) -> str | None:
    """What keeps such a picture from a format, for people; None if nothing does."""
    name, opacity, longest = FORMATS[ending]
    if kind == 'uint16' and name != 'PNG':
        return 'TIFF is written with 8 bits here' if name == 'TIFF' else f'{name} has no 16 bits'
    if shape[2] in (2, 4) and not opacity:
        return f'{name} has no transparency'
    if max(shape[:2]) > longest:
        return f'{name} has {longest} pixels a side at most, the result {max(shape[:2])}'
    if name == 'JPEG':
        for what, data in (('EXIF data', meta.exif), ('XMP', meta.xmp)):
            if data is not None and len(data) > MOST_IN_JPEG[what]:
                return f'{name} has room for {MOST_IN_JPEG[what]} bytes of {what}, the picture {len(data)}'
    return None


def _options(name: str, meta: Meta) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if name in ('JPEG', 'WEBP'):
        options.update(quality=QUALITY)
    if name == 'JPEG':
        options.update(subsampling=0)
    if name == 'TIFF':
        options.update(compression='tiff_deflate')
    if name != 'BMP' and meta.icc:
        options.update(icc_profile=meta.icc)
    if name in ('JPEG', 'WEBP') and meta.exif:
        options.update(exif=meta.exif)
    if name in ('JPEG', 'WEBP') and meta.xmp:
        options.update(xmp=meta.xmp)
    if name in ('JPEG', 'TIFF', 'BMP') and meta.dpi:
        options.update(dpi=meta.dpi)
    return options


def _with_size(exif: bytes | None, shape: tuple[int, int, int]) -> bytes | None:
    """EXIF data that tell the size of the result, where they tell one."""
    if exif is None:
        return None
    data = Image.Exif()
    data.load(exif)
    facts = data.get_ifd(ExifTags.IFD.Exif)
    for key, value in ((ExifTags.Base.ExifImageWidth, shape[1]), (ExifTags.Base.ExifImageHeight, shape[0])):
        if key in facts:
            facts[key] = value
    for key, value in ((ExifTags.Base.ImageWidth, shape[1]), (ExifTags.Base.ImageLength, shape[0])):
        if key in data:
            data[key] = value
    return data.tobytes()
