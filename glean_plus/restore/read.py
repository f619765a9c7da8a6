"""Files and PIL's pictures -> levels as they were meant: turned upright, colours in RGB, 16 bits kept."""

from __future__ import annotations

import io
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from glean_plus.data.depth import bits
from glean_plus.data.formats import KNOWN
from glean_plus.files import read_file
from glean_plus.restore.errors import RestoreError
from glean_plus.restore.picture import Meta, Picture

# PNG's name for it.
GRAY_WITH_OPACITY = 4
MOST_DPI = 2**15  # beyond it, TIFF's and PNG's fractions and JPEG's two bytes overflow
XMP_IN_PNG = 'XML:com.adobe.xmp'
# The orientation in XMP, as an attribute or as an element; PIL takes it where EXIF has none.
XMP_ORIENTATION = re.compile(rb'tiff:Orientation="[0-9]"|<tiff:Orientation>[0-9]</tiff:Orientation>')
PNM = re.compile(rb'P[56]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*(\d+)\s')


def read(path: Path) -> Picture:
    """A picture file.

    EXIF's orientation is applied. Palettes become RGB, CMYK becomes sRGB by its profile. Of a telephone's file of
    several pictures (MPO) the first is taken.

    Raises:
        RestoreError: If it is none, is cut short, is animated or has pages, or has levels that are not understood.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise RestoreError(f'it cannot be read: {error.strerror or error}') from error
    if not data:
        raise RestoreError('the file is empty')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return _decoded(data)
    except (RestoreError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise RestoreError(f'{error}; larger ones are read as arrays, or by tiles of your own') from error
    except UnidentifiedImageError as error:  # its text has an address in memory
        raise RestoreError('it is no picture in a known format') from error
    except Exception as error:  # broken files make decoders raise anything
        raise RestoreError(f'it is broken: {type(error).__name__}: {" ".join(str(error).split())}') from error


def _decoded(data: bytes) -> Picture:
    image = Image.open(io.BytesIO(data), formats=KNOWN)
    _refuse_several(image)
    white = _deep_white(image, data)
    image.load()
    if white is None:
        return from_pil(image)
    gray = image.format == 'TIFF' and white < 65535  # the only such that PIL decodes, and it does it whole
    array = np.asarray(image, np.uint16) if gray else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise RestoreError('it has 16 bits in a form that cannot be decoded: save it as a PNG of 16 bits')
    array = array[..., None] if array.ndim == 2 else array
    if array.shape[2] >= 3:
        array = array[..., [2, 1, 0, 3][:array.shape[2]]]
    if image.format == 'PNG' and data[25] == GRAY_WITH_OPACITY:  # decoded to four channels
        array = array[..., [0, 3]]
    if white != 65535:
        array = (array.astype(np.float64) * (65535 / white)).round().clip(0, 65535).astype(np.uint16)
    meta, turn = _meta(image), _orientation(image)
    return Picture(np.ascontiguousarray(_turned(array, turn)), meta)


def _refuse_several(image: Image.Image) -> None:
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':
        what = 'pages' if image.format == 'TIFF' else 'frames, an animation'
        raise RestoreError(f'it has {frames} {what}: take it apart into single pictures first')


def _deep_white(image: Image.Image, data: bytes) -> int | None:
    """The highest level of a file of more than 8 bits that PIL would cut to 8; None of others."""
    if image.format == 'PPM' and (match := PNM.match(data)) and int(match.group(1)) > 255:
        return int(match.group(1))
    deep = bits(image, data)
    if deep == 8 or (image.format == 'TIFF' and image.mode in ('I', 'F', 'CMYK')):
        return None
    if image.format not in ('PNG', 'TIFF') or (deep != 16 and not image.mode.startswith('I;16')):
        raise RestoreError(f'it has {deep} bits a channel, of which 8 would be left: save it as a PNG of 16 bits')
    return 2**deep - 1


def from_pil(image: Image.Image) -> Picture:
    """A picture of PIL's, of any mode but floats and 32-bit numbers.

    Raises:
        RestoreError: On one of those, an animation, or broken data.
    """
    _refuse_several(image)
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise RestoreError(f'it is broken: {error}') from error
    try:
        meta = _meta(image)
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise RestoreError(f'its EXIF data are broken ({error}): save it without them') from error
    mode = image.mode
    if mode.startswith('I;16'):
        array = np.asarray(image)
        return Picture(array.astype(np.uint16)[..., None], meta)
    if mode in ('I', 'F', 'LAB'):
        raise RestoreError(f'its mode is {mode}, whose levels have no agreed range: convert it to 8 or 16 bits')
    if mode == 'CMYK':
        image, meta = _from_cmyk(image, meta)
    elif mode in ('RGBa', 'PA') or (mode in ('P', 'RGB') and 'transparency' in image.info):
        image = image.convert('RGBA')
    elif mode == 'La' or (mode in ('L', '1') and 'transparency' in image.info):
        image = image.convert('LA')
    elif mode == '1':
        image = image.convert('L')
    elif mode not in ('L', 'LA', 'RGB', 'RGBA'):
        image = image.convert('RGB')
    array = np.array(image)
    return Picture(array[..., None] if array.ndim == 2 else array, meta)


def _from_cmyk(image: Image.Image, meta: Meta) -> tuple[Image.Image, Meta]:
    """To sRGB by the picture's profile, which does not fit the result, or without one as PIL does."""
    without = Meta(None, meta.exif, meta.xmp, meta.dpi, meta.text)
    if meta.icc is None:
        return image.convert('RGB'), without
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(meta.icc))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile('sRGB'), outputMode='RGB')
    except (ImageCms.PyCMSError, OSError) as error:
        raise RestoreError(f'its CMYK profile cannot be used ({error}): convert it to RGB first') from error
    return converted if converted is not None else image, without


def _meta(image: Image.Image) -> Meta:
    info: dict[Any, Any] = image.info
    text = {key: str(value) for key, value in getattr(image, 'text', {}).items() if key != XMP_IN_PNG}
    xmp = info.get('xmp') or info.get(XMP_IN_PNG)
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    upright = XMP_ORIENTATION.sub(b'', xmp) if xmp else None  # as the levels are
    return Meta(info.get('icc_profile') or None, _exif(image), upright, _dpi(info.get('dpi')), text)


def _dpi(given: Any) -> tuple[float, float] | None:
    """Across and down; None of what no file can hold, such as infinity."""
    if not isinstance(given, tuple) or len(given) != 2 or not all(0 < each < MOST_DPI for each in given):
        return None
    return float(given[0]), float(given[1])


def _exif(image: Image.Image) -> bytes | None:
    """EXIF data without the orientation, which is applied; sizes follow when they are written."""
    if image.format == 'TIFF':  # the file's own structure, which the result has for itself
        return None
    exif = Image.Exif()  # not the picture's own, which is the caller's
    exif.load(image.getexif().tobytes())
    exif.pop(ExifTags.Base.Orientation, None)
    return exif.tobytes() if len(exif) else None


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """As EXIF's orientation says, 1 to 8."""
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
