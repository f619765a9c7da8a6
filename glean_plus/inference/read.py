"""Files and PIL's images -> images to restore."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Picture
from glean_plus.utils.files import read_file
from glean_plus.utils.images.errors import ImageFileError
from glean_plus.utils.images.image import Loaded, load
from glean_plus.utils.images.image import from_pil as loaded_from_pil


def read(path: Path) -> Picture:
    """An image file.

    EXIF's orientation is applied. Palettes become RGB, CMYK becomes sRGB by its profile. Of a telephone's file of
    several images (MPO) the first is taken. Damage beside the pixel values is noted in the image.

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
        return _from(load(data))
    except (RestoreError, MemoryError):
        raise
    except ImageFileError as error:
        raise RestoreError(str(error)) from error
    except Image.DecompressionBombError as error:
        raise RestoreError(f'{error}; larger ones are read as arrays, or by tiles of your own') from error
    except Exception as error:  # broken files make decoders raise anything
        raise RestoreError(f'it is broken: {type(error).__name__}: {" ".join(str(error).split())}') from error


def from_pil(image: Image.Image) -> Picture:
    """An image of PIL's, of any mode but floats and 32-bit numbers.

    Raises:
        RestoreError: On one of those, an animation, or broken data.
    """
    try:
        return _from(loaded_from_pil(image))
    except ImageFileError as error:
        raise RestoreError(str(error)) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise RestoreError(f'it is broken: {error}') from error


def _from(loaded: Loaded) -> Picture:
    meta, notes = loaded.metadata()
    return Picture(loaded.image, meta, notes)
