"""Animated GIF, PNG, WebP and AVIF -> their frames as a viewer shows them, and for how long."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from glean_plus.utils.files import read_file
from glean_plus.utils.images import apng, gif, png
from glean_plus.utils.images.errors import ImageFileError
from glean_plus.utils.images.formats import KNOWN
from glean_plus.utils.images.frames import composed, rgba
from glean_plus.utils.images.image import header_size, load, turned
from glean_plus.utils.images.metadata import Meta

OTHERS = [name for name in ('WEBP', 'AVIF') if name in KNOWN]  # whose own decoders compose frames


@dataclass(frozen=True)
class Animation:
    """An animation, of which every frame can be decoded.

    Attributes:
        path: Its file.
        times: For how long each frame is shown, in seconds.
        plays: How many times all are shown; 0 is for ever.
        channels: Those of RGBA that frames have: gray or RGB, and opacity if any pixel is not opaque.
        meta: What the file says beside its frames.
        orientation: As in EXIF; frames are turned by it.
        notes: What is left out, or is not exact.
    """

    path: Path
    times: tuple[Fraction, ...]
    plays: int
    channels: tuple[int, ...]
    meta: Meta
    orientation: int
    notes: tuple[str, ...]

    def frames(self) -> Iterator[np.ndarray]:
        """Each frame, upright, (H, W, 1 to 4) uint8; one at a time is in memory."""
        for frame, _ in _frames(read_file(self.path)):
            yield np.ascontiguousarray(turned(frame[..., self.channels], self.orientation))


def read_animation(path: Path) -> Animation:
    """An animation; all frames are decoded once, and none is kept.

    Raises:
        ImageFileError: If it cannot be used, or a frame is broken.
        Exception: Whatever PIL raises on a file that is broken.
    """
    data = read_file(path)
    first = load(data, several=True)
    is_gif = data.startswith(gif.SIGNATURE)
    times, opacity, colours = list[Fraction](), False, not is_gif and first.image.shape[2] >= 3
    for frame, time in _frames(data):
        times.append(time)
        opacity = opacity or bool(frame[..., 3].min() < 255)
        colours = colours or (is_gif and bool((frame[..., :2] != frame[..., 1:3]).any()))  # else its kind says it
    if not times:
        raise ImageFileError('it is no animation: it has no frames')
    meta, notes = first.metadata()
    if first.image.dtype != np.uint8:
        notes += ('its 16 bits a channel become 8',)
    if is_gif:
        plays = gif.plays(data)
        notes += () if data[-1] == gif.END else ('its end is missing: it may have been cut between two frames',)
    elif data.startswith(png.SIGNATURE):
        plays = apng.plays(data)
        notes += ('its image for viewers without animation is left out',) if apng.has_still(data) else ()
    else:
        with Image.open(io.BytesIO(data), formats=OTHERS) as image:
            plays = image.info.get('loop', 0)
    channels = ((0, 1, 2) if colours else (0,)) + ((3,) if opacity else ())
    return Animation(path, (*times,), plays, channels, meta, first.orientation, notes)


def is_animated(path: Path) -> bool:
    """Whether a GIF, WebP or AVIF file has several frames, by its headers; False of what cannot be read."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with open(path, 'rb') as file:
            head = file.read(32)
            if head.startswith(b'RIFF'):
                return head[12:16] == b'VP8X' and bool(head[20] & 0x02)
            if head[4:8] == b'ftyp':
                return head[8:12] == b'avis'
            with Image.open(file, formats=['GIF']) as image:
                return bool(getattr(image, 'is_animated', False))
    except Exception:  # whatever PIL raises on a file that is broken, which is said when it is read
        return False


def _frames(data: bytes) -> Iterator[tuple[np.ndarray, Fraction]]:
    """Each frame, (H, W, 4) RGBA, and its time in seconds."""
    if data.startswith(gif.SIGNATURE):
        frames = composed(gif.parts(data), *gif.size(data))
    elif data.startswith(png.SIGNATURE):
        frames = composed(apng.parts(data), *header_size(data))
    else:
        frames = _by_decoder(data)
    for place in count(1):
        try:
            frame = next(frames, None)
        except (MemoryError, ImageFileError, Image.DecompressionBombError):
            raise
        except Exception as error:  # whatever PIL raises on a file that is broken
            raise ImageFileError(f'frame {place} is broken ({" ".join(str(error).split())})') from error
        if frame is None:
            return
        yield frame


def _by_decoder(data: bytes) -> Iterator[tuple[np.ndarray, Fraction]]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of PIL, about the number of pixels
        try:
            image = Image.open(io.BytesIO(data), formats=OTHERS)
        except UnidentifiedImageError as error:
            raise ImageFileError('it is no GIF, PNG, WebP or AVIF, or a broken one') from error
    with image:
        for index in range(getattr(image, 'n_frames', 1)):
            image.seek(index)
            image.load()
            yield rgba(image), Fraction(image.info.get('duration', 0), 1000)
