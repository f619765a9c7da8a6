"""Decoded frames -> upright RGB arrays, as a player shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glean_plus.inference.errors import RestoreError

if TYPE_CHECKING:
    import av

# FFmpeg's numbers of the matrices between RGB and YUV (0 is RGB itself, 2 unknown).
BT709, BT601, UNKNOWN = 1, 6, (0, 2)
# Of a video that does not say which it has: from so many rows on, players take BT.709.
HIGH_DEFINITION = 720
# A display matrix turns by a multiple of 90 degrees if it does so within a degree.
TILT = 0.0175
# Decoders that read the alpha channel of what Matroska marks with `alpha_mode`; FFmpeg's own ones leave it out.
ALPHA_DECODERS = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}


class FrameReader:
    """Frames as arrays of the first one's kind.

    Args:
        frame: The first frame.

    Attributes:
        bits: Of a channel of the source.
        alpha: It has an alpha channel.
        size: Height and width, upright.
        transposed: Upright, rows are columns of what is stored.
        resized: So many frames had another size than the first one, and were scaled to it, as FFmpeg does.
    """

    def __init__(self, frame: av.VideoFrame) -> None:
        components = frame.format.components
        self.bits = max(component.bits for component in components)
        self.alpha = any(component.is_alpha for component in components)
        self.format = pixel_format(self.bits > 8, self.alpha)
        self.stored = frame.height, frame.width
        self.transposed = _orientation(frame)[0]
        self.size = self.stored[::-1] if self.transposed else self.stored
        self.resized = 0

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, 3 or 4), RGB and alpha, uint8, or uint16 where the source has more than 8 bits."""
        height, width = self.stored
        self.resized += (frame.height, frame.width) != self.stored
        image = frame.to_ndarray(format=self.format, width=width, height=height, src_colorspace=matrix_of(frame))
        transposed, up, left = _orientation(frame)
        if transposed != self.transposed:
            raise RestoreError('it is turned by 90 degrees in its middle: split it there')
        image = image.transpose(1, 0, 2) if transposed else image
        return np.ascontiguousarray(image[::-1 if up else 1, ::-1 if left else 1])


def pixel_format(deep: bool, alpha: bool) -> str:
    """FFmpeg's name of RGB with 8 or 16 bits, with an alpha channel or without."""
    if deep:
        return 'rgba64le' if alpha else 'rgb48le'
    return 'rgba' if alpha else 'rgb24'


def matrix_of(frame: av.VideoFrame) -> int:
    """Matrix that its YUV was made with; where it does not say, the one that players take."""
    if frame.colorspace not in UNKNOWN:
        return int(frame.colorspace)
    return BT709 if frame.height >= HIGH_DEFINITION else BT601


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Whether rows and columns are exchanged, then the rows reversed, then the columns.

    The display matrix (a b, c d) of ISO 14496-12 takes a pixel at (x, y) to (a x + c y, b x + d y). Scales are left to
    the player, and a matrix of zeros says nothing, as FFmpeg takes them.

    Raises:
        RestoreError: If it turns by another angle, or skews.
    """
    from av.buffer import Buffer

    data = frame.side_data.get('DISPLAYMATRIX')
    if not isinstance(data, Buffer):
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(data), '<i4')[:5].astype(float)
    straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, crossed) > TILT * max(straight, crossed):
        raise RestoreError(f'it is turned by {frame.rotation} degrees, which is no multiple of 90')
    if crossed > straight:
        return True, b < 0, c < 0
    return False, d < 0, a < 0
