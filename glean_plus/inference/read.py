"""Files and PIL's images -> images to restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from glean_plus.inference.errors import AnimationError, RestoreError
from glean_plus.inference.image import Picture
from glean_plus.utils.files import read_file
from glean_plus.utils.images import animation
from glean_plus.utils.images.animation import Animation
from glean_plus.utils.images.errors import ImageFileError, SeveralFramesError
from glean_plus.utils.images.image import Loaded, load
from glean_plus.utils.images.image import from_pil as loaded_from_pil

FIRST_FRAME = 'it is an animation, whose first frame is restored: `glean-plus restore` to .webp, .png or .gif takes all'


def read(path: Path, first: bool = False) -> Picture:
    """An image file.

    EXIF's orientation is applied. Palettes become RGB, CMYK becomes sRGB by its profile. Of a telephone's file of
    several images (MPO) the first is taken. Damage beside the pixel values is noted in the image.

    Args:
        path: The file.
        first: Take the first frame of an animation, and note it.

    Raises:
        AnimationError: If it is animated.
        RestoreError: If it is no image, is cut short, has pages, or has levels that are not understood.
    """
    with _in_sentences():
        data = read_file(path)
        if not data:
            raise RestoreError('the file is empty')
        try:
            return _from(load(data))
        except SeveralFramesError as error:
            if not first:
                raise AnimationError(str(error)) from error
        picture = _from(load(data, several=True))
        return replace(picture, notes=(*picture.notes, FIRST_FRAME))


def read_animation(path: Path) -> Animation:
    """An animated GIF, WebP, PNG or AVIF.

    Raises:
        RestoreError: If it cannot be used, or a frame is broken.
    """
    with _in_sentences():
        return animation.read_animation(path)


def pictures_of(given: Animation) -> Iterator[Picture]:
    """The frames of an animation.

    Raises:
        RestoreError: If its file can no longer be read.
    """
    with _in_sentences():
        for frame in given.frames():
            yield Picture(frame, given.meta)


@contextmanager
def _in_sentences() -> Iterator[None]:
    """What goes wrong with a file, as RestoreError; lack of memory stays what it is."""
    try:
        yield
    except (RestoreError, MemoryError):
        raise
    except ImageFileError as error:
        raise RestoreError(str(error)) from error
    except Image.DecompressionBombError as error:
        raise RestoreError(f'{error}; larger ones are read as arrays, or by tiles of your own') from error
    except Exception as error:  # broken files make decoders raise anything
        if isinstance(error, OSError) and error.strerror:  # of the file system; decoders' own have none
            raise RestoreError(f'it cannot be read: {error.strerror}') from error
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
