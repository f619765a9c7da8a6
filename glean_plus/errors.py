"""The base of all errors that a user can fix."""

from __future__ import annotations


class GleanError(Exception):
    """An input, a file or a setting is wrong; the message says which, and what to do.

    It can be printed and logged anywhere: what UTF-8 cannot write of a file's or a caller's text is escaped.
    """

    def __str__(self) -> str:
        return super().__str__().encode('utf-8', 'backslashreplace').decode()


class MissingPackageError(GleanError, ImportError):
    """A package of an extra is not installed."""
