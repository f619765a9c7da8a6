"""Metadata of frames beside their pixels: the display and light levels of HDR, and what a result does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

DISPLAY, LIGHT = 'MASTERING_DISPLAY_METADATA', 'CONTENT_LIGHT_LEVEL'
NAMES = {
    DISPLAY: 'mastering display', LIGHT: 'content light levels', 'DOVI_RPU_BUFFER': 'Dolby Vision',
    'DYNAMIC_HDR_PLUS': 'HDR10+', 'DYNAMIC_HDR_VIVID': 'HDR Vivid', 'AMBIENT_VIEWING_ENVIRONMENT': 'ambient light',
    'SPHERICAL': 'spherical projection', 'STEREO3D': 'stereo layout',
}  # fmt: skip
# Encoder -> its option, the keys in it for display and light, and units of chromaticity and luminance (SEI of H.265).
ENCODERS = {
    'libx265': ('x265-params', 'master-display', 'max-cll', 50_000, 10_000),
    'libx264': ('x264-params', 'mastering-display', 'cll', 50_000, 10_000),
    'libsvtav1': ('svtav1-params', 'mastering-display', 'content-light', 1, 1),
}


def hdr_options(frame: av.VideoFrame, encoder: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """What gives an encoder the metadata of a frame.

    Returns:
        The encoder's options, and the names of the metadata that they leave out.
    """
    from av.buffer import Buffer

    found = {key: bytes(data) for key in NAMES if isinstance(data := frame.side_data.get(key), Buffer)}
    options: dict[str, str] = {}
    if encoder in ENCODERS:
        option, display_key, light_key, chromaticity, luminance = ENCODERS[encoder]
        values = []
        if (data := found.get(DISPLAY)) and (text := _display(data, chromaticity, luminance)):
            values.append(f'{display_key}={text}')
            del found[DISPLAY]
        if data := found.get(LIGHT):
            most, average = np.frombuffer(data, '<u4')[:2]
            values.append(f'{light_key}={most},{average}')
            del found[LIGHT]
        if values:
            options[option] = ':'.join(values)
    return options, tuple(NAMES[key] for key in found)


def _display(data: bytes, chromaticity: int, luminance: int) -> str:
    """FFmpeg's AVMasteringDisplayMetadata for an encoder: x, y of red, green, blue and white; least and most light."""
    values = np.frombuffer(data, '<i4')
    if len(values) < 22 or not values[20:22].all() or not values[1:20:2].all():  # it lacks some of them
        return ''
    fractions = values[0:20:2] / values[1:20:2]
    red, green, blue, white = (
        ','.join(f'{round(chromaticity * each, 0 if chromaticity > 1 else 5):g}' for each in pair)
        for pair in fractions[:8].reshape(4, 2)
    )
    least, most = (f'{round(luminance * each, 0 if luminance > 1 else 4):.9g}' for each in fractions[8:])
    return f'G({green})B({blue})R({red})WP({white})L({most},{least})'
