"""Image files -> pixel values as they were meant, and metadata: what restoration and training have in common.

Upright; gray or RGB, with opacity last; CMYK is sRGB; 8 or 16 bits. Damage in metadata costs the metadata, and is said.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from glean_plus.utils.images import metadata, png, tiff
from glean_plus.utils.images.arrays import quantize
from glean_plus.utils.images.depth import bits
from glean_plus.utils.images.errors import ImageFileError, SeveralFramesError, UnknownFormatError
from glean_plus.utils.images.exif import orientation_of, sound_exif
from glean_plus.utils.images.formats import KNOWN, other
from glean_plus.utils.images.metadata import Meta

# What the bytes of a format begin with, for a file of which no more can be read.
MAGICS = ((png.SIGNATURE, 'PNG'), (b'\xff\xd8\xff', 'JPEG'), (b'GIF8', 'GIF'), (b'RIFF', 'WebP'),
          *((magic, 'TIFF') for magic in tiff.MAGIC))  # fmt: skip
# The orientation in XMP, as an attribute or as an element; it counts where EXIF has none.
XMP_ORIENTATION = re.compile(rb'tiff:Orientation="([0-9])"|<tiff:Orientation>([0-9])</tiff:Orientation>')
PNM = re.compile(rb'P[56]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*(\d+)\s')
# Of gray PNGs of few bits: how PIL unpacks them, and what it makes of 1.
FEW_BITS = {'1': 255, 'L;2': 85, 'L;4': 17}
SCAN, END, TEM, RESTARTS = 0xDA, 0xD9, 0x01, range(0xD0, 0xD9)  # markers of JPEG
APPLICATION, ADOBE, COMMENT = range(0xE0, 0xF0), 0xEE, 0xFE
ADOBE_SIZE = 16  # bytes of its segment


@dataclass(frozen=True)
class Loaded:
    """An image file.

    Attributes:
        image: (H, W, 1 to 4) uint8 or uint16: gray or RGB, and opacity if there is any.
        raw: What the file says beside its pixel values, sound or not.
        notes: What of the pixel values is not exact, and damage.
        orientation: That of the file, 1 to 8 as in EXIF, by which the image has been turned.
    """

    image: np.ndarray
    raw: Meta = field(default_factory=Meta)
    notes: tuple[str, ...] = ()
    orientation: int = 1

    def metadata(self) -> tuple[Meta, tuple[str, ...]]:
        """What is sound of the metadata, without the orientation, and all that is to be said about the file."""
        icc, exif, xmp, notes = self.raw.icc, self.raw.exif, self.raw.xmp, list(self.notes)
        if icc and (why := metadata.profile_fault(icc, self.image.shape[2] < 3)):
            icc = None
            notes.append(f'{why}: left out')
        if exif:
            exif, more = sound_exif(exif)
            notes += more
        if xmp:
            xmp = XMP_ORIENTATION.sub(b'', xmp)
        return replace(self.raw, icc=icc, exif=exif, xmp=xmp), tuple(notes)


def load(data: bytes, several: bool = False, deep: bool = True) -> Loaded:
    """An image file in memory.

    Args:
        data: The file.
        several: Take the first of several frames or pages.
        deep: Take more than 8 bits a channel.

    Raises:
        ImageFileError: If it is no image, or one that cannot be used.
        Exception: Whatever PIL raises on one that is broken.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of PIL, about metadata and the number of pixels
        if data.startswith(png.SIGNATURE):
            return _png(data, several, deep)
        try:
            return _load(data, several, deep)
        except (MemoryError, Image.DecompressionBombError):
            raise
        except Exception as error:
            bare = _jpeg_alone(data)
            if bare is None:
                raise
            try:
                found = _load(bare, several, deep)
            except Exception:  # not the metadata's fault
                raise error from None
            return replace(found, notes=('its metadata are broken and left out', *found.notes))


def header_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header of an image file tells; nothing else of it is decoded.

    Raises:
        ImageFileError: If it is no image.
        Exception: Whatever PIL raises on one that is broken.
    """
    if data.startswith(png.SIGNATURE):
        width, height = struct.unpack_from('>II', data, len(png.SIGNATURE) + 8)
        return width, height
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for each in (data, _jpeg_alone(data)):
            try:
                if each:
                    return Image.open(io.BytesIO(each), formats=KNOWN).size
            except (UnidentifiedImageError, LookupError, ValueError):  # of metadata, perhaps
                continue
    if data.startswith(tiff.MAGIC):
        return tiff.header_size(data)
    raise _unknown(data)


def _unknown(data: bytes) -> ImageFileError:
    """What a file is of which PIL knows nothing."""
    name = next((name for magic, name in MAGICS if data.startswith(magic)), None)
    if name is None:
        return UnknownFormatError(f'it is no image in a known format, {other(data)}')
    return ImageFileError(f'it is a {name} whose header is broken')


def _load(data: bytes, several: bool, deep: bool) -> Loaded:
    try:
        image = Image.open(io.BytesIO(data), formats=KNOWN)
    except UnidentifiedImageError as error:
        if data.startswith(tiff.MAGIC):
            return _tiff(data, several, deep)
        raise _unknown(data) from error
    if not several:
        refuse_several(image)
    size = bits(image, data)
    if not deep and (size > 8 or image.mode.startswith(('I', 'F'))):
        raise ImageFileError(f'mode {image.mode}, {size} bits: more than 8 bits a channel')
    if isinstance(image, TiffImageFile) and _beyond_pil(image, size):
        return _tiff(data, several, deep)
    white = _white(image, data, size)
    if white is None:
        found = _from_pil(image)
        if size == 8:
            return found
        return replace(found, notes=(*found.notes, f'its {size} bits a channel become 8: CMYK is converted with 8'))
    image.load()
    if image.format == 'TIFF':  # gray of 12 bits, which PIL decodes whole
        array = np.asarray(image, np.uint16)
    else:
        array = _by_opencv(data)
    if white != 65535:
        array = quantize(array.astype(np.float64) * (65535 / white), 'uint16')
    return _loaded(array if array.ndim == 3 else array[..., None], image.info, _orientation(image))


def _beyond_pil(image: TiffImageFile, size: int) -> bool:
    """Whether PIL would cut a TIFF to 8 bits, or mixes it up: one plane for each channel, mostly, or signed numbers."""
    tags = image.tag_v2
    if image.mode in ('I', 'F') or (size == 16 and image.mode != 'CMYK'):
        return True
    if not {*tags.get(tiff.FORMAT, ())} <= {*tiff.UNSIGNED}:
        return True
    if tags.get(tiff.PLANES) != 2 or tags.get(tiff.PHOTOMETRIC) not in tiff.COLOURS:
        return False
    whole = image.mode in ('RGB', 'RGBA') and tags.get(tiff.SAMPLES) == len(image.mode)
    return image.info.get('compression') == 'raw' or not whole


def _white(image: Image.Image, data: bytes, size: int) -> int | None:
    """The highest value of a file of more than 8 bits that PIL would cut to 8; None of others."""
    if image.format == 'PPM' and (match := PNM.match(data)) and int(match.group(1)) > 255:
        return int(match.group(1))
    if size == 8 or image.mode == 'CMYK':
        return None
    if not image.mode.startswith('I;16'):
        raise ImageFileError(f'it has {size} bits a channel, of which 8 would be left: save it as a PNG of 16 bits')
    return 2**size - 1


def _by_opencv(data: bytes) -> np.ndarray:
    """16 bits a channel, in the order RGB."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise ImageFileError('it has 16 bits in a form that cannot be decoded: save it as a PNG of 16 bits')
    return array[..., None] if array.ndim == 2 else array[..., [2, 1, 0, 3][:array.shape[2]]]


def _png(data: bytes, several: bool, deep: bool) -> Loaded:
    file = png.read_png(data)
    if file.frames > 1 and not several:
        raise _animation(file.frames)
    if file.depth == 16 and not deep:
        raise ImageFileError('16 bits: more than 8 bits a channel')
    image = Image.open(io.BytesIO(file.pixels), formats=['PNG'])
    scale = FEW_BITS.get(_unpacking(image), 1)
    image.load()
    if file.depth == 16:
        array = _by_opencv(file.pixels)
        array = array[..., [0, 3]] if file.colour == png.GRAY_ALPHA else array  # which OpenCV makes RGB
    else:
        array, _ = _pixels(image)
    if file.level is not None:
        array = _transparent(array, tuple(scale * value for value in file.level))
    info = dict(icc_profile=file.icc, exif=file.exif, xmp=file.xmp, dpi=file.dpi)
    return _loaded(array, info, None, file.notes, file.text)


def _tiff(data: bytes, several: bool, deep: bool) -> Loaded:
    file = tiff.read_tiff(data, several)
    if file.image.dtype != np.uint8 and not deep:
        raise ImageFileError('16 bits: more than 8 bits a channel')
    return _loaded(file.image, dict(icc_profile=file.icc, xmp=file.xmp, dpi=file.dpi), file.orientation)


def from_pil(image: Image.Image) -> Loaded:
    """An image of PIL's, of any mode but floats and 32-bit numbers.

    Raises:
        ImageFileError: On one of those, or an animation.
        Exception: Whatever PIL raises on one that is broken.
    """
    refuse_several(image)
    return _from_pil(image)


def _from_pil(image: Image.Image) -> Loaded:
    scale = FEW_BITS.get(_unpacking(image), 1)
    wrong = image.info.get('xmp')
    if image.format == 'TIFF':
        _bare_tiff(image)
    image.load()
    level = image.info.get('transparency') if image.mode in ('1', 'L', 'I;16', 'RGB') else None
    info = dict(image.info)
    info.setdefault('xmp', wrong)
    array, notes = _pixels(image)
    if image.format in ('JPEG', 'MPO') and 'icc_profile' in image.info and not image.info['icc_profile']:
        notes.append('its colour profile is incomplete: left out')
    if isinstance(level, (int, tuple)):
        levels = (level,) if isinstance(level, int) else level
        if image.mode == '1':  # white is 1 up to Pillow 12, and 255 since
            scale, levels = 255, tuple(int(each > 0) for each in levels)
        array = _transparent(array, tuple(scale * each for each in levels))
    if image.mode == 'CMYK':
        info['icc_profile'] = None  # of the inks
    text = {key: str(value) for key, value in getattr(image, 'text', {}).items()
            if key not in (png.XMP, *png.RAW_EXIF)}  # fmt: skip
    if isinstance(image, TiffImageFile):
        info['exif'] = None  # the file's own structure, which the result has for itself
        if tiff.RESOLUTION[0] not in image.tag_v2:
            info['dpi'] = None  # PIL says 1
    elif not info.get('exif'):
        info['exif'] = _exif_of(image)
    return _loaded(array, info, _orientation(image), notes, text)


def refuse_several(image: Image.Image) -> None:
    """Refuse animations and pages; of a telephone's file of several images (MPO) the first is meant."""
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format == 'TIFF':
        raise ImageFileError(f'it has {frames} pages: take it apart into single images first')
    if frames > 1 and image.format != 'MPO':
        raise _animation(frames)


def _animation(frames: int) -> SeveralFramesError:
    return SeveralFramesError(
        f'it has {frames} frames, an animation, which `glean-plus restore` restores: elsewhere, take it apart into '
        'single images first'
    )


def _unpacking(image: Image.Image) -> str:
    """How PIL is going to unpack a gray PNG; nothing of one that is loaded."""
    tiles = getattr(image, 'tile', None)
    return str(tiles[0][3]) if tiles and image.format == 'PNG' and image.mode in ('1', 'L') else ''


def _bare_tiff(image: Image.Image) -> None:
    """Keep PIL, which turns a TIFF while it loads it, from what else may be broken in its tags."""
    exif = image.getexif()
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        if tag in exif:
            del exif[tag]
    if not isinstance(image.info.get('xmp', b''), (bytes, str)):
        del image.info['xmp']


def _pixels(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """(H, W, K) of a loaded image of any mode, not turned, and what is to be said about it."""
    mode, notes = image.mode, list[str]()
    if mode.startswith('I;16'):
        return np.asarray(image).astype(np.uint16)[..., None], notes
    if mode in ('I', 'F', 'LAB'):
        raise ImageFileError(f'its mode is {mode}, whose values have no agreed range: convert it to 8 or 16 bits')
    if mode == 'CMYK':
        image, notes = metadata.cmyk_to_rgb(image, image.info.get('icc_profile'))
    elif mode in ('RGBa', 'PA') or (mode == 'P' and 'transparency' in image.info):
        image = image.convert('RGBA')
    elif mode == 'La':
        image = image.convert('LA')
    elif mode == '1':
        image = image.convert('L')
    elif mode not in ('L', 'LA', 'RGB', 'RGBA'):
        image = image.convert('RGB')
    array = np.array(image)
    return array[..., None] if array.ndim == 2 else array, notes


def _transparent(array: np.ndarray, level: tuple[int, ...]) -> np.ndarray:
    """With opacity: none where all channels have these values."""
    if len(level) != array.shape[2]:
        return array
    hidden = (array == np.array(level)).all(axis=2, keepdims=True)
    opacity = np.where(hidden, array.dtype.type(0), np.iinfo(array.dtype).max).astype(array.dtype)
    return np.concatenate([array, opacity], axis=2)


def _orientation(image: Image.Image) -> int | None:
    """As PIL finds it: of a TIFF before it has turned it, or set by a user; None of what has none that it can read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whatever broken data make it raise; :func:`orientation_of` looks again
        return None
    return found if found in range(1, 9) else None


def _exif_of(image: Image.Image) -> bytes | None:
    """EXIF data that a user has set, or that came as text."""
    try:
        exif = image.getexif()
        return exif.tobytes() if len(exif) else None
    except Exception:  # as above: they cannot be written
        return None


def _loaded(
    array: np.ndarray, info: Mapping[Any, Any], orientation: int | None, notes: Sequence[str] = (),
    text: Mapping[str, str] | None = None,
) -> Loaded:  # fmt: skip
    """Turned, by what PIL or else the metadata say."""
    notes = [*notes]
    icc, exif, xmp = (
        _bytes(value, what, notes) for value, what in (
            (info.get('icc_profile'), 'colour profile'), (info.get('exif'), 'EXIF data'),
            (info.get('xmp') or info.get(png.XMP), 'XMP'),
        )
    )  # fmt: skip
    if orientation is None and exif:
        orientation = orientation_of(exif)
    if orientation is None and xmp and (match := XMP_ORIENTATION.search(xmp)):
        orientation = int(match.group(1) or match.group(2))
    raw = Meta(icc, exif, xmp, metadata.resolution(info.get('dpi')), text or {})
    return Loaded(np.ascontiguousarray(turned(array, orientation or 1)), raw, tuple(notes), orientation or 1)


def _bytes(value: Any, what: str, notes: list[str]) -> bytes | None:
    """Metadata as a file holds them; None of what is empty, or of a wrong type, which is noted."""
    value = value.encode() if isinstance(value, str) else value
    if isinstance(value, bytes) or value is None:
        return value or None
    notes.append(f'its {what} has the wrong type {type(value).__name__}: left out')
    return None


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """As EXIF's orientation says, 1 to 8."""
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _jpeg_alone(data: bytes) -> bytes | None:
    """A JPEG without metadata but what its colours need (Adobe's marker, if it is whole); None of other files."""
    if not data.startswith(b'\xff\xd8'):
        return None
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (SCAN, END, TEM) or marker in RESTARTS:
            break
        end = at + 2 + int.from_bytes(data[at + 2:at + 4], 'big')
        needed = marker == ADOBE and end - at >= ADOBE_SIZE
        dropped = (marker in APPLICATION and not needed) or marker == COMMENT
        if not dropped:
            parts.append(data[at:end])
        at = end
    return b''.join((*parts, data[at:]))
