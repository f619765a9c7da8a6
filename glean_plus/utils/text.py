"""Text that cannot be encoded: JSON, pickles, names of files and callers can have halves of characters, surrogates."""

from __future__ import annotations


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """The text with what UTF-8 cannot write as its number, such as ``\\ud800``."""
    return text.encode('utf-8', 'backslashreplace').decode()


class PrintableError(Exception):
    """An error whose message can be printed and logged anywhere, whatever it repeats of a file or a call."""

    def __str__(self) -> str:
        return printable(super().__str__())
