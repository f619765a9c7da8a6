"""The base of all errors that a user can fix."""

from __future__ import annotations

from glean_plus.utils.text import printable


class GleanError(Exception):
    """An input, a file or a setting is wrong; the message says which, and what to do.

    It can be printed and logged anywhere: what a terminal obeys or UTF-8 cannot write of a file's or a caller's text is
    escaped. Line breaks stay.
    """

    def __str__(self) -> str:
        return '\n'.join(map(printable, super().__str__().split('\n')))


class MissingPackageError(GleanError, ImportError):
    """A package of an extra is not installed."""
