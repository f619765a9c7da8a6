"""Animations for tests: hand-made GIFs, and independent decoders of results."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyvips
from PIL import Image
from PIL.GifImagePlugin import getdata


def random_gif(rng: np.random.Generator) -> bytes:
    """Two to four frames on a few pixels: any places, palettes, transparency, disposals and times."""
    width, height = (int(side) for side in rng.integers(3, 12, 2))
    data = struct.pack('<6sHHBBB', b'GIF89a', width, height, 0x70, 0, 0)
    covers, is_mixed, is_transparent, has_grays = rng.random(4) < (0.7, 0.3, 0.5, 0.2)
    for i in range(rng.integers(2, 5)):
        part_width, part_height = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
        if i == 0 and covers:
            part_width, part_height = width, height
        place = int(rng.integers(0, width - part_width + 1)), int(rng.integers(0, height - part_height + 1))
        options: dict[str, Any] = dict(duration=10 * int(rng.integers(0, 9)), disposal=int(rng.integers(0, 4)))
        if rng.random() < 0.5 if is_mixed else is_transparent:
            options['transparency'] = int(rng.integers(0, 16))
        values = rng.integers(0, 16, (part_height, part_width), np.uint8)
        image = Image.frombytes('P', (part_width, part_height), values.tobytes())
        grays = has_grays and rng.random() < 0.5
        image.putpalette(np.arange(16).repeat(3).tolist() if grays else rng.integers(0, 256, 48).tolist())
        data += b''.join(getdata(image, place, include_color_table=True, **options))
    return data + b';'


def random_png(rng: np.random.Generator) -> bytes:
    """Four frames on a few pixels, opaque or transparent: any places, disposals and blends.

    None but the first is whole: drawn over the one before and then cleared, FFmpeg would show it alone.
    """
    width, height, number = 7, 5, 0
    data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 6, 0, 0, 0))
    data += chunk(b'acTL', struct.pack('>II', 4, 0))
    for i in range(4):
        part_width, part_height = (int(rng.integers(1, side)) if i else side for side in (width, height))
        left, top = int(rng.integers(0, width - part_width + 1)), int(rng.integers(0, height - part_height + 1))
        values = rng.integers(0, 256, (part_height, part_width, 4), np.uint8)
        values[..., 3] = 255 * (rng.random((part_height, part_width)) < 0.6)
        pixels = zlib.compress(b''.join(b'\0' + row.tobytes() for row in values))
        after, blend = int(rng.integers(0, 3 if i else 2)), int(rng.integers(0, 2))
        place = struct.pack('>IIIIIHHBB', number, part_width, part_height, left, top, 1 + i, 10, after, blend)
        data += chunk(b'fcTL', place)
        data += chunk(b'fdAT', struct.pack('>I', number + 1) + pixels) if i else chunk(b'IDAT', pixels)
        number += 2 if i else 1
    return data + chunk(b'IEND', b'')


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def save(path: Path, frames: Sequence[np.ndarray], times: Sequence[float], plays: int = 0, **options: Any) -> Path:
    """An animation as PIL writes it: WebP without loss, times in milliseconds."""
    images = [Image.fromarray(frame.squeeze()) for frame in frames]
    options = dict(lossless=True) | options if path.suffix == '.webp' else options
    if path.suffix != '.gif':
        options['loop'] = plays
    elif plays != 1:
        options['loop'] = max(plays - 1, 0)
    images[0].save(path, save_all=True, append_images=images[1:], duration=list(times), **options)
    return path


def by_ffmpeg(path: Path | Any) -> list[np.ndarray]:
    """(H, W, 4) of each frame of a GIF or PNG; 0 where nothing is seen."""
    with av.open(path if hasattr(path, 'read') else str(path)) as file:
        frames = [frame.to_ndarray(format='rgba') for frame in file.decode(video=0)]
    return [visible(frame) for frame in frames]


def by_vips(path: Path) -> tuple[list[np.ndarray], list[int], int]:
    """Frames (H, W, 3 or 4) of a GIF or WebP, their times in milliseconds, and how often all are shown."""
    image = pyvips.Image.new_from_buffer(path.read_bytes(), '', n=-1)  # of a file it remembers what was there
    count = image.get('n-pages') if 'n-pages' in image.get_fields() else 1
    values = image.numpy().reshape(count, image.height // count, image.width, image.bands)
    return [*values], image.get('delay'), image.get('loop')


def png_times(path: Path) -> tuple[list[tuple[int, int]], int]:
    """Numerator and denominator of each frame's time in seconds, as the file has them, and how often all are shown."""
    data, at, times, plays = path.read_bytes(), 8, [], -1
    while at < len(data):
        size, kind = struct.unpack_from('>I4s', data, at)
        if kind == b'fcTL':
            times.append(struct.unpack_from('>HH', data, at + 8 + 20))
        if kind == b'acTL':
            count, plays = struct.unpack_from('>II', data, at + 8)
        at += 12 + size
    assert count == len(times)
    return times, plays


def visible(frame: np.ndarray) -> np.ndarray:
    """(H, W, 4) with 0 where nothing is seen."""
    return np.where(frame[..., 3:] > 0, frame, 0)
