"""The one error of weights, and how a file's own text is repeated in a message."""

from __future__ import annotations

import reprlib

from glean_plus.errors import GleanError
from glean_plus.utils.text import printable


class WeightsError(GleanError, RuntimeError):
    """Weights that cannot be had or read, or do not belong to the model."""


def brief(text: object, most: int = 300) -> str:
    """Text that a file may have made long, in one line of at most ``most`` characters."""
    line = printable(' '.join(str(text).split()))
    return line if len(line) <= most else f'{line[:most]} ...'


def shown(value: object) -> str:
    """A value that a file may have made large, as a few characters."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f'a large {type(value).__name__}'
