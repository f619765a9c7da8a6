"""What an upload says of itself, before anything of it is decoded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from glean_plus.inference.errors import RestoreError
from glean_plus.utils.files import read_file
from glean_plus.utils.images.errors import ImageFileError, UnknownFormatError
from glean_plus.utils.images.image import header_size
from glean_plus.web.settings import shown_pixels


def look(path: Path, max_pixels: int) -> tuple[int, int]:
    """Width and height that a picture's header tells.

    Raises:
        RestoreError: If it is no picture of a known format, or too large.
    """
    try:
        width, height = header_size(read_file(path))
    except UnknownFormatError as error:
        raise RestoreError('This is no picture in a known format: take PNG, JPEG, WebP, TIFF or BMP.') from error
    except ImageFileError as error:
        raise RestoreError(f'The picture cannot be read: {error}.') from error
    except Image.DecompressionBombError as error:
        raise RestoreError(f'The picture is too large: at most {shown_pixels(max_pixels)} pixels.') from error
    except Exception as error:  # broken files make decoders raise anything
        raise RestoreError('The picture is broken: its header cannot be read.') from error
    if width * height > max_pixels:
        raise RestoreError(
            f'The picture has {width} x {height} pixels, and at most {shown_pixels(max_pixels)} are restored here: '
            'make it smaller first.'
        )
    return width, height
