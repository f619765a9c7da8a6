"""PNG, written row by row, animated or not: an image that does not fit into memory can be written."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from glean_plus.inference.image import Meta

SIGNATURE = b'\x89PNG\r\n\x1a\n'
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels
LEVEL = 4  # of photographs, files are 1% larger than at zlib's default, 6, in half the time
INCHES_A_METRE = 39.3701


class PngWriter:
    """Writes rows of levels, uint8 or uint16, from the top.

    Args:
        file: Open for writing.
        height, width, channels: Of the image: 1 gray, 3 RGB, one more with opacity.
        deep: 16 bits.
        meta: What is written beside the levels.
        frames: Of an animation, whose frames follow, each begun by :meth:`begin_frame`; 0 of a still image.
        plays: How many times an animation is shown; 0 is for ever.
    """

    def __init__(
        self, file: BinaryIO, height: int, width: int, channels: int, deep: bool = False, meta: Meta | None = None,
        frames: int = 0, plays: int = 0,
    ) -> None:  # fmt: skip
        self.file, self.deep = file, deep
        self.step = channels * (2 if deep else 1)  # bytes of a pixel
        self._frame, self._number = 0, 0  # that is being written, and the next of the numbered chunks
        self._begin(0 if frames else height, width)
        file.write(SIGNATURE)
        depth = 16 if deep else 8
        self._chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, COLOUR_TYPES[channels], 0, 0, 0))
        self._write_meta(meta or Meta())
        if frames:
            self._chunk(b'acTL', struct.pack('>II', frames, plays))

    def _begin(self, height: int, width: int) -> None:
        self.rows_left = height
        self._above = np.zeros(width * self.step, np.uint8)
        self._compress = zlib.compressobj(LEVEL)

    def _write_meta(self, meta: Meta) -> None:
        if meta.icc:
            self._chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(meta.icc))
        if meta.dpi:
            self._chunk(b'pHYs', struct.pack('>IIB', *(round(each * INCHES_A_METRE) for each in meta.dpi), 1))
        if meta.exif:
            self._chunk(b'eXIf', meta.exif.removeprefix(b'Exif\0\0'))
        xmp = {'XML:com.adobe.xmp': meta.xmp.decode('utf-8', 'replace')} if meta.xmp else {}
        for key, value in (dict(meta.text) | xmp).items():
            name = key.encode('latin-1', 'replace')[:79]
            self._chunk(b'iTXt', name + b'\0\0\0\0\0' + value.encode('utf-8', 'replace'))

    def begin_frame(self, height: int, width: int, top: int, left: int, time: Fraction) -> None:
        """Begin the next frame of an animation, whose rows are written then.

        Args:
            height, width: Of the part that it replaces.
            top, left: Where that begins.
            time: For how long it is shown, in seconds; its numerator and denominator have two bytes each.

        Raises:
            ValueError: If rows of the frame before are missing.
        """
        if self._frame:
            self._end()
        self._frame += 1
        self._begin(height, width)
        place = struct.pack('>IIII', width, height, left, top)
        self._numbered(b'fcTL', place + struct.pack('>HHBB', time.numerator, time.denominator, 0, 0))

    def write(self, rows: np.ndarray) -> None:
        """(h, width, channels)."""
        rows = np.ascontiguousarray(rows, dtype='>u2' if self.deep else np.uint8)
        lines = rows.view(np.uint8).reshape(len(rows), -1)
        above = np.concatenate([self._above[None], lines[:-1]])
        left = np.zeros_like(lines)
        left[:, self.step:] = lines[:, :-self.step]
        # Each row by what makes its differences least: from its left neighbour or from above.
        candidates = np.stack([lines - left, lines - above])
        size = np.abs(candidates.view(np.int8)).view(np.uint8).sum(axis=2, dtype=np.int64)  # |-128| is 128 as uint8
        best = size.argmin(axis=0)
        filtered = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
        filtered[:, 0] = best + 1  # PNG's numbers: 1 is Sub, 2 is Up
        filtered[:, 1:] = np.where(best[:, None] == 0, *candidates)
        self._data(self._compress.compress(filtered.tobytes()))
        self._above = lines[-1].copy()
        self.rows_left -= len(rows)

    def close(self) -> None:
        """Finish the file.

        Raises:
            ValueError: If rows are missing.
        """
        self._end()
        self._chunk(b'IEND', b'')

    def _end(self) -> None:
        if self.rows_left:
            raise ValueError(f'The image lacks {self.rows_left} rows.')
        self._data(self._compress.flush())

    def _data(self, data: bytes) -> None:
        if data and self._frame <= 1:
            self._chunk(b'IDAT', data)
        elif data:
            self._numbered(b'fdAT', data)

    def _numbered(self, kind: bytes, data: bytes) -> None:
        """A chunk of an animation."""
        self._chunk(kind, struct.pack('>I', self._number) + data)
        self._number += 1

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self.file.write(struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)))
