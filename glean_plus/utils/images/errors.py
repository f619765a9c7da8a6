"""Errors of image files, before a caller gives them its own kind."""

from __future__ import annotations

from glean_plus.errors import GleanError


class ImageFileError(GleanError):
    """An image file that cannot be used; the text follows the name of the file: ``it is cut short``."""


class UnknownFormatError(ImageFileError):
    """A file of no format that is opened here."""


class SeveralFramesError(ImageFileError):
    """An animation where a single image is wanted."""
