"""How many bits a channel a file has: PIL cuts what is deeper to 8 without a word."""

from __future__ import annotations

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

BITS_PER_SAMPLE = 258  # TIFF's name for it
# JPEG 2000: two markers that its stream begins with, and how many bytes behind them its channels are described, in
# three bytes each, of which the first has the bits, less one; the two bytes before are their number.
STREAM, CHANNELS = b'\xff\x4f\xff\x51', 38
# AVIF: the box of the codec's settings, whose third byte has two flags.
CODEC, DEEP, DEEPEST = b'av1C', 0x40, 0x20


def bits(image: Image.Image, data: bytes) -> int:
    """The most bits of a channel, by the header; 8 of formats that have no more, and of palettes.

    Args:
        image: As PIL opened it, before it is loaded.
        data: Its file.
    """
    if image.format == 'PNG':
        return max(data[24], 8)
    if isinstance(image, TiffImageFile):
        return max(8, *image.tag_v2.get(BITS_PER_SAMPLE, (1,)))
    if image.format == 'JPEG2000' and (start := data.find(STREAM)) >= 0:
        first = start + len(STREAM) + CHANNELS
        count = int.from_bytes(data[first - 2:first], 'big')
        return max(8, *((size & 0x7F) + 1 for size in data[first:first + 3 * count:3]), 8)  # the highest bit is a sign
    if image.format == 'AVIF' and (start := data.find(CODEC)) >= 0:
        flags = data[start + len(CODEC) + 2]
        return 8 if not flags & DEEP else 12 if flags & DEEPEST else 10
    return 8
