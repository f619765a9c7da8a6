"""PNG, written row by row: an image that does not fit into memory can be written."""

from __future__ import annotations

import struct
import zlib
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
    """

    def __init__(
        self, file: BinaryIO, height: int, width: int, channels: int, deep: bool = False, meta: Meta | None = None
    ) -> None:
        self.file, self.rows_left, self.deep = file, height, deep
        self.step = channels * (2 if deep else 1)  # bytes of a pixel
        self._above = np.zeros(width * self.step, np.uint8)
        self._compress = zlib.compressobj(LEVEL)
        file.write(SIGNATURE)
        depth = 16 if deep else 8
        self._chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, COLOUR_TYPES[channels], 0, 0, 0))
        self._write_meta(meta or Meta())

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
        if self.rows_left:
            raise ValueError(f'The image lacks {self.rows_left} rows.')
        self._data(self._compress.flush())
        self._chunk(b'IEND', b'')

    def _data(self, data: bytes) -> None:
        if data:
            self._chunk(b'IDAT', data)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self.file.write(struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)))
