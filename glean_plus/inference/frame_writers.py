"""GIF, WebP and PNG, written frame by frame, so that one frame at a time is in memory.

PIL's own writers take all frames at once, and join those that are equal.
"""

from __future__ import annotations

import io
import struct
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any, BinaryIO, ClassVar

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import getdata

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Meta
from glean_plus.inference.png_stream import PngWriter

SHORT = 2**16 - 1  # the largest number of two bytes
NO_TIME = Fraction(0)
OPAQUE = 128  # from this opacity on a pixel of a GIF is shown
SLAB = 256  # rows of a PNG that are compressed at a time


class FrameWriter(ABC):
    """Writes an animation; each frame replaces a part of the one before.

    Args:
        file: Open for writing.
        shape: (H, W, 1 to 4) of all frames: gray or RGB, and opacity.
        count: How many frames there are.
        plays: How many times all are shown; 0 is for ever.
        meta: What the file says beside its frames, all of which the format has room for.
        quality: Of WebP, 1 to 100.

    Attributes:
        grid: Parts begin at multiples of it.
        unit: Times are multiples of it, in seconds.
        longest: A time has at most so many units.
        retimed: Times have been rounded or cut.
        reduced: Colours or opacities have been changed because the format has too few.
        clears: Each frame is cleared before the next, which is written as a whole.
    """

    grid: ClassVar[int] = 1
    unit: ClassVar[Fraction]
    longest: ClassVar[int] = SHORT

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int, int], count: int = 1, plays: int = 1, meta: Meta | None = None,
        quality: int = 100,
    ) -> None:  # fmt: skip
        self.file, self.shape, self.meta, self.quality = file, shape, meta or Meta(), quality
        self.retimed = self.reduced = self.clears = False
        self._owed, self._before = NO_TIME, np.empty(0, np.uint8)
        self._begin(count, plays)

    @abstractmethod
    def _begin(self, count: int, plays: int) -> None:
        """Write what is before the first frame."""

    def write(self, image: np.ndarray, time: Fraction = NO_TIME) -> None:
        """Write the next frame.

        Args:
            image: (H, W, channels) uint8.
            time: For how long it is shown, in seconds.
        """
        is_whole = self.clears or not self._before.size
        differs = np.ones(image.shape[:2], bool) if is_whole else (image != self._before).any(axis=2)
        rows, columns = differs.any(axis=1).nonzero()[0], differs.any(axis=0).nonzero()[0]
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, 1)
        left, right = (int(columns[0]), int(columns[-1]) + 1) if rows.size else (0, 1)
        top, left = top // self.grid * self.grid, left // self.grid * self.grid
        self._add(image[top:bottom, left:right], top, left, time)
        self._before = image

    @abstractmethod
    def _add(self, part: np.ndarray, top: int, left: int, time: Fraction) -> None:
        """Write a frame that differs from the one before in a part, (h, w, channels), which is one pixel or more."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""

    def _units(self, time: Fraction) -> int:
        """A time in units; what rounding adds or takes is made up for by the next times."""
        exact = time / self.unit + self._owed
        units = round(exact)
        self._owed = exact - units
        units = min(units, self.longest)
        self.retimed = self.retimed or units != time / self.unit
        return units


class GifWriter(FrameWriter):
    """Each part has up to 256 colours of its own, dithered where it had more."""

    unit = Fraction(1, 100)

    def _begin(self, count: int, plays: int) -> None:
        height, width, channels = self.shape
        self.alpha = self.clears = channels in (2, 4)
        self.file.write(struct.pack('<6sHHBBB', b'GIF89a', width, height, 0x70, 0, 0))
        if count > 1 and plays != 1:  # the file says how often frames are repeated after the first time
            repeats = min(max(plays - 1, 0), SHORT)
            self.file.write(struct.pack('<3B11sBBHB', 0x21, 0xFF, 11, b'NETSCAPE2.0', 3, 1, repeats, 0))

    def _add(self, part: np.ndarray, top: int, left: int, time: Fraction) -> None:
        options: dict[str, Any] = dict(include_color_table=True, duration=10 * self._units(time), disposal=1)
        most = 256
        if self.alpha:
            opacity, most = part[..., -1:], 255
            hidden = opacity < OPAQUE
            self.reduced = self.reduced or bool(((opacity > 0) & (opacity < 255)).any())
            part = np.where(hidden, np.uint8(0), part[..., :-1])
        colours = _to_pil(part)
        if colours.getcolors(most) is None:
            colours, self.reduced = colours.convert('RGB'), True
            table = colours.quantize(most, Image.Quantize.FASTOCTREE)
            indexed = colours.quantize(palette=table, dither=Image.Dither.FLOYDSTEINBERG)
        else:
            indexed = colours.quantize(most)
        if self.alpha:
            used = indexed.getpalette() or []
            options.update(transparency=len(used) // 3, disposal=2)
            indexed.putpalette([*used, 0, 0, 0])
            indexed.paste(options['transparency'], mask=_to_pil(hidden))
        data = getdata(indexed, (left, top), **options)
        self.file.writelines(data)
        data.clear()  # PIL has it in a cycle, which would keep it until garbage is collected

    def close(self) -> None:
        self.file.write(b';')


class WebpWriter(FrameWriter):
    """Each part is coded as PIL codes a still image."""

    grid = 2
    unit = Fraction(1, 1000)
    longest = 2**24 - 1

    def _begin(self, count: int, plays: int) -> None:
        height, width, channels = self.shape
        self.size = len('WEBP')
        self.file.write(b'RIFF\0\0\0\0WEBP')
        meta = self.meta
        there = dict(animation=True, xmp=meta.xmp, exif=meta.exif, alpha=channels in (2, 4), icc=meta.icc)
        flags = sum(2 << place for place, part in enumerate(there.values()) if part)
        self._chunk(b'VP8X', struct.pack('<I', flags) + _three_bytes(width - 1, height - 1))
        if meta.icc:
            self._chunk(b'ICCP', meta.icc)
        self._chunk(b'ANIM', struct.pack('<IH', 0, min(plays, SHORT)))

    def _add(self, part: np.ndarray, top: int, left: int, time: Fraction) -> None:
        still = io.BytesIO()
        _to_pil(part).save(still, 'WEBP', quality=self.quality)
        data = still.getvalue()[len('RIFFsizeWEBP'):]
        if data.startswith(b'VP8X'):  # of the file; its frame comes after 18 bytes
            data = data[18:]
        height, width = part.shape[:2]
        place = _three_bytes(left // self.grid, top // self.grid, width - 1, height - 1, self._units(time))
        self._chunk(b'ANMF', place + b'\2' + data)  # flag: it replaces what is there, and stays

    def close(self) -> None:
        if self.meta.exif:
            self._chunk(b'EXIF', self.meta.exif.removeprefix(b'Exif\0\0'))
        if self.meta.xmp:
            self._chunk(b'XMP ', self.meta.xmp)
        self.file.seek(len('RIFF'))
        self.file.write(struct.pack('<I', self.size))

    def _chunk(self, kind: bytes, data: bytes) -> None:
        chunk = kind + struct.pack('<I', len(data)) + data + bytes(len(data) % 2)
        self.size += len(chunk)
        if self.size >= 2**32:
            raise RestoreError('a WebP has 4 GiB at most, and this one would have more: take .png')
        self.file.write(chunk)


class ApngWriter(FrameWriter):
    """Animated PNG, which loses nothing."""

    def _begin(self, count: int, plays: int) -> None:
        self.png = PngWriter(self.file, *self.shape, meta=self.meta, frames=count, plays=plays)

    def _add(self, part: np.ndarray, top: int, left: int, time: Fraction) -> None:
        # A fraction of two bytes each.
        exact = time.limit_denominator(max(1, min(SHORT, int(SHORT / time)))) if time else time
        shown = min(exact, Fraction(SHORT))
        self.retimed = self.retimed or shown != time
        height, width = part.shape[:2]
        self.png.begin_frame(height, width, top, left, shown)
        for start in range(0, len(part), SLAB):
            self.png.write(part[start:start + SLAB])

    def close(self) -> None:
        self.png.close()


# Ending of a result that can be an animation -> what writes it.
WRITERS: dict[str, type[FrameWriter]] = {
    '.gif': GifWriter, '.webp': WebpWriter, '.png': ApngWriter, '.apng': ApngWriter,
}  # fmt: skip


def _to_pil(image: np.ndarray) -> Image.Image:
    """(H, W, 1 to 4) uint8."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def _three_bytes(*numbers: int) -> bytes:
    return b''.join(number.to_bytes(3, 'little') for number in numbers)
