"""Text of strangers: JSON, pickles and names of files can have control characters, and halves of characters."""

from __future__ import annotations


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: object) -> str:
    """Text in one line, without what a terminal would obey or cannot show.

    Names of files come from strangers: control characters, line breaks and marks that change the direction of writing
    are escaped as Python writes them, and so is a byte that is no character, as ``\\xff``.
    """
    return ''.join(each if each.isprintable() else _escaped(each) for each in str(text))


def _escaped(character: str) -> str:
    number = ord(character)
    # `surrogateescape`: the bytes 0x80 to 0xff of a name that is not in the file system's encoding.
    return f'\\x{number - 0xDC00:02x}' if 0xDC80 <= number <= 0xDCFF else character.encode('unicode_escape').decode()
