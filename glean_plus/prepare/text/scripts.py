"""The scripts that are drawn, and which characters belong to each."""

from __future__ import annotations

import re
import unicodedata

SCRIPTS = ('latin', 'greek', 'cyrillic')
# Alphabetic blocks, first and last code point.
BLOCKS = {
    'latin': ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)),
    'greek': ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    'cyrillic': ((0x400, 0x4FF),),
}
ASCII = ''.join(map(chr, range(0x20, 0x7F)))
COMMON = ASCII + '§©«»°·‘’‚“”„–—…€№'
# A font without these draws no text; 'a' to 'z' are left to the font's own coverage, as there are Greek-only fonts.
NEEDED = '0123456789.,:;!?\'"()-/'


# The letters that a font must have for a script, and most texts need.
LETTERS = {'latin': 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ',
           'greek': 'αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ',
           'cyrillic': 'абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЭЮЯ'}  # fmt: skip
LETTER = {
    name: re.compile(f'[{"".join(c for low, high in blocks for c in map(chr, range(low, high + 1)) if c.isalpha())}]')
    for name, blocks in BLOCKS.items()
}
DRAWABLE = re.compile(f'(?:[{re.escape(COMMON)}]|{"|".join(each.pattern for each in LETTER.values())})*')
INVISIBLE = {code: None for code in range(0x3000) if unicodedata.category(chr(code)) == 'Cf'}


def script_of(letter: str) -> str | None:
    """The script of a letter; None for one of no script here."""
    code = ord(letter)
    return next((name for name, blocks in BLOCKS.items() if any(low <= code <= high for low, high in blocks)), None)


def drawable(text: str) -> bool:
    """Whether a text has letters of the scripts, digits and common punctuation alone."""
    return DRAWABLE.fullmatch(text) is not None


def main_script(text: str, share: float = 0.8) -> str | None:
    """The script of at least ``share`` of the letters; None for a mixture and for a text that is mostly no letters."""
    counts = {name: len(letter.findall(text)) for name, letter in LETTER.items()}
    total = sum(counts.values())
    if not total or total < 0.6 * (len(text) - text.count(' ')):
        return None
    script = max(counts, key=lambda name: counts[name])
    return script if counts[script] >= share * total else None


def normalize(text: str) -> str:
    """One line: composed characters (NFC), ordinary spaces, no soft hyphens or other invisible characters."""
    return ' '.join(unicodedata.normalize('NFC', text).translate(INVISIBLE).split())
