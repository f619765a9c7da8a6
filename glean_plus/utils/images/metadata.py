"""Metadata of an image file: what it holds beside its pixel values."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageCms

MOST_DPI = 2**15  # beyond it, TIFF's and PNG's fractions and JPEG's two bytes overflow


@dataclass(frozen=True)
class Meta:
    """What a file says beside its pixel values.

    Attributes:
        icc: Colour profile of the pixel values.
        exif: Without the orientation, which is applied, and without a preview.
        xmp: Adobe's.
        dpi: Across and down.
        text: Of a PNG.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)


def resolution(given: Any) -> tuple[float, float] | None:
    """Dots per inch across and down; None of what no file can hold, such as infinity."""
    try:
        across, down = (float(each) for each in given)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < MOST_DPI and 0 < down < MOST_DPI else None


def profile_fault(icc: bytes, gray: bool) -> str | None:
    """Why a colour profile cannot belong to an image; None if it can.

    Args:
        icc: The profile.
        gray: Whether the image is; viewers take an RGB profile for it, too.
    """
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError) as error:
        return f'its colour profile is broken ({error})'
    if space == 'RGB' or (gray and space == 'GRAY'):
        return None
    return f'its colour profile is for {space}, the image is {"gray" if gray else "RGB"}'


def cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, list[str]]:
    """A CMYK image in sRGB by its profile; without a profile, or with one that cannot be used, as PIL converts it.

    Returns:
        The image, and what is to be said about it.
    """
    if icc is None:
        return image.convert('RGB'), []
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile('sRGB'), outputMode='RGB')
    except (ImageCms.PyCMSError, OSError) as error:
        return image.convert('RGB'), [f'its CMYK profile cannot be used ({error}): the colours are approximate']
    return converted if converted is not None else image, []
