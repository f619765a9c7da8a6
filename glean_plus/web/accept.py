"""Size and format of an upload by its header, before anything is decoded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from glean_plus.inference.errors import RestoreError
from glean_plus.utils.files import read_file
from glean_plus.utils.images.errors import ImageFileError, UnknownFormatError
from glean_plus.utils.images.image import header_size
from glean_plus.web.settings import shown_pixels


def look(path: Path, max_pixels: int) -> tuple[int, int]:
    """Width and height by the header of an image file.

    Raises:
        RestoreError: If it is no image of a known format, or too large.
    """
    try:
        width, height = header_size(read_file(path))
    except UnknownFormatError as error:
        raise RestoreError(f'This {str(error).removeprefix("it ")}.') from error
    except ImageFileError as error:
        raise RestoreError(f'The image cannot be read: {error}.') from error
    except Image.DecompressionBombError as error:
        raise RestoreError(f'The image is too large: at most {shown_pixels(max_pixels)} pixels.') from error
    except Exception as error:  # broken files make decoders raise anything
        raise RestoreError('The image is broken: its header cannot be read.') from error
    if width * height > max_pixels:
        raise RestoreError(
            f'The image has {width} x {height} pixels, and at most {shown_pixels(max_pixels)} are restored here: '
            'make it smaller first.'
        )
    return width, height
