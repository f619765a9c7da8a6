"""TIFF files that PIL cuts to 8 bits or does not know: 16 bits a channel, and more channels than colours."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from glean_plus.utils.images.errors import ImageFileError
from glean_plus.utils.images.metadata import resolution

if TYPE_CHECKING:
    from tifffile import TiffPage

MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the latter of files beyond 4 GB
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}
PREMULTIPLIED, OPACITY = 1, 2  # kinds of extra channels; 0 is unspecified
COREL = 999  # Corel Draw's number for opacity
KINDS = {1: 'unsigned integers', 2: 'signed integers', 3: 'floats', 5: 'complex integers', 6: 'complex floats'}
UNSIGNED = 1, 4  # sample formats of whole numbers from 0 on; 4 says nothing, and means these
CONTIGUOUS = 1
PHOTOMETRIC, ORIENTATION, SAMPLES, PLANES, FORMAT, PROFILE, XMP = 262, 274, 277, 284, 339, 34675, 700
RESOLUTION, UNIT = (282, 283), 296
UNITS = {2: 1.0, 3: 2.54}  # inches and centimetres
MOST_SAMPLES = 4  # of an image of as many pixels as are taken at most
ROWS = 256  # that are divided by their opacity at a time


@dataclass
class TiffFile:
    """Pixel values of a TIFF file as they are stored upright, and metadata.

    Attributes:
        image: (H, W, 1 to 4) uint8 or uint16: gray or RGB, and opacity, by which colours are not multiplied.
        orientation: As in EXIF.
        icc, xmp, dpi: Metadata.
    """

    image: np.ndarray
    orientation: int = 1
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_tiff(data: bytes, several: bool = False) -> TiffFile:
    """Gray or RGB of 8 or 16 bits, with any further channels, of which one may be opacity.

    Args:
        data: The file.
        several: Take the first of several pages.

    Raises:
        ImageFileError: If it is of another kind, which is named, or has pages.
    """
    with _first_page(data) as page:
        count = len(page.parent.pages)
        if count > 1 and not several:
            raise ImageFileError(f'it has {count} pages: take it apart into single images first')
        _check(page)
        image = _upright(_samples(page, data), page)
        tags = {tag.code: tag.value for tag in page.tags}
    turn = tags.get(ORIENTATION, 1)
    icc, xmp = (value if isinstance(value := tags.get(code), bytes) else None for code in (PROFILE, XMP))
    return TiffFile(image, turn if turn in range(1, 9) else 1, icc, xmp, _dpi(tags))


def header_size(data: bytes) -> tuple[int, int]:
    """Width and height of the first page.

    Raises:
        ImageFileError: If there is none.
    """
    with _first_page(data) as page:
        return page.imagewidth, page.imagelength


@contextmanager
def _first_page(data: bytes) -> Iterator[TiffPage]:
    from tifffile import TiffFile as Reader
    from tifffile import TiffFileError

    logging.getLogger('tifffile').addHandler(logging.NullHandler())  # what is wrong is said here
    try:
        with Reader(io.BytesIO(data)) as file:
            yield file.pages.first
    except (TiffFileError, struct.error) as error:
        raise ImageFileError(f'it is a TIFF that is broken: {error}') from error


def _dpi(tags: dict[int, Any]) -> tuple[float, float] | None:
    unit = UNITS.get(tags.get(UNIT, 2))
    try:
        across, down = (tags[code][0] / tags[code][1] * unit for code in RESOLUTION)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return resolution((across, down))


def _check(page: TiffPage) -> None:
    """Refuse what has no agreed range of values, other colours, and more pixels than PIL takes."""
    bits = int(np.max(page.bitspersample))  # a tuple where the channels differ, though it is annotated as a number
    kind = int(page.sampleformat)
    what = f'it is a TIFF of {bits}-bit {KINDS.get(kind, "values of no known kind")}'
    if kind != 1 or bits > 16:
        raise ImageFileError(f'{what}, whose values have no agreed range: convert it to 8 or 16 bits')
    if bits not in (8, 16) or page.dtype is None:
        raise ImageFileError(f'{what}, which cannot be decoded: convert it to 8 or 16 bits')
    colours = COLOURS.get(int(page.photometric))
    if colours is None or page.samplesperpixel < colours:
        name = getattr(page.photometric, 'name', page.photometric)
        raise ImageFileError(f'{what} with {page.samplesperpixel} channels of {name}: convert it to RGB')
    if page.imagedepth != 1:
        raise ImageFileError(f'it is a TIFF of {page.imagedepth} layers: take it apart into single images first')
    pixels, limit = page.imagewidth * page.imagelength, 2 * (Image.MAX_IMAGE_PIXELS or 1 << 62)
    if pixels * max(1, page.samplesperpixel / MOST_SAMPLES) > limit:
        raise ImageFileError(f'it has {pixels:,} pixels of {page.samplesperpixel} channels, more than {limit:,}')


def _samples(page: TiffPage, data: bytes) -> np.ndarray:
    """(H, W, samples) as they are stored."""
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    try:
        array = page.asarray(maxworkers=1)
    except ValueError as error:
        if 'imagecodecs' not in str(error):
            raise
        # A compression that tifffile needs another package for, as LZW: OpenCV knows it, but not every layout.
        known = page.samplesperpixel in ((3, 4) if int(page.photometric) == RGB else (1,))
        if page.planarconfig != CONTIGUOUS or not known:
            name = getattr(page.compression, 'name', page.compression)
            raise ImageFileError(f'it is a TIFF with {page.samplesperpixel} channels that are compressed by {name}: '
                                 'save it without compression') from error  # fmt: skip
        return _by_opencv(page, data).reshape(shape)
    if page.planarconfig != CONTIGUOUS and page.samplesperpixel > 1:
        return np.moveaxis(array.reshape(shape[2], *shape[:2]), 0, 2)
    return array.reshape(shape)


def _by_opencv(page: TiffPage, data: bytes) -> np.ndarray:
    """OpenCV turns an image or not, by its version: it gets one that is not to be turned."""
    tag = page.tags.get(ORIENTATION)
    if tag is not None:
        upright = bytearray(data)
        upright[tag.valueoffset:tag.valueoffset + 2] = struct.pack(f'{page.parent.byteorder}H', 1)
        data = bytes(upright)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != page.dtype:
        raise ImageFileError('it is a TIFF that cannot be decoded: save it without compression')
    return array if array.ndim == 2 else array[..., [2, 1, 0, 3][:array.shape[2]]]


def _upright(samples: np.ndarray, page: TiffPage) -> np.ndarray:
    """Black is zero, opacity last, colours not multiplied by it; other channels are left out."""
    colours = COLOURS[int(page.photometric)]
    kinds = [int(kind) for kind in page.extrasamples]
    if not kinds and samples.shape[2] == colours + 1:  # not said, though it should be: PIL, too, takes it for opacity
        kinds = [OPACITY]
    found = [index for index, kind in enumerate(kinds) if kind in (PREMULTIPLIED, OPACITY, COREL)][:1]
    image = np.ascontiguousarray(samples[..., [*range(colours), *(colours + index for index in found)]])
    white = np.iinfo(image.dtype).max
    if page.photometric == WHITE_IS_ZERO:
        np.subtract(white, image[..., :colours], out=image[..., :colours])
    if found and kinds[found[0]] == PREMULTIPLIED:
        for top in range(0, len(image), ROWS):
            part = image[top:top + ROWS]
            opacity = part[..., -1:].astype(np.uint32)
            divided = (part[..., :-1].astype(np.uint32) * white + opacity // 2) // np.maximum(opacity, 1)
            part[..., :-1] = np.where(opacity > 0, divided.clip(max=white), part[..., :-1])
    return image
