"""The language of a document, as far as pages need it: those that are read come in one language a script."""

from __future__ import annotations

import re
from collections.abc import Sequence

from glean_plus.prepare.text.scripts import script_of

# Tesseract's name of the language in which pages of a script are.
PAGE_LANGUAGES = {'latin': 'eng', 'greek': 'ell', 'cyrillic': 'rus'}
ENGLISH = {*'the of to and a in is that for it with as be are this you or'.split()}
OFTEN = 0.15  # share of these words in English prose, at the least
# Of the languages in Cyrillic only Russian, and Belarusian, which has no и, have both of these letters.
RUSSIAN = re.compile('(?=.*ы)(?=.*и)', re.DOTALL)
NOT_RUSSIAN = re.compile('[іїєґўђћјљњџѓќѕ]', re.IGNORECASE)


def language_of(script: str, paragraphs: Sequence[str]) -> str:
    """``eng``, ``ell`` or ``rus``; empty for others. The paragraphs are of one script."""
    text = ' '.join(paragraphs)
    if script == 'greek':
        return 'ell'
    if script == 'cyrillic':
        return 'rus' if RUSSIAN.match(text) and not NOT_RUSSIAN.search(text) else ''
    words = re.findall(r'[a-z]+', text.lower())
    return 'eng' if words and sum(word in ENGLISH for word in words) >= OFTEN * len(words) else ''


def readable(script: str, paragraphs: Sequence[str]) -> list[str]:
    """The paragraphs in the page language of a script, without foreign words.

    In Latin those have letters beyond ASCII, in the other scripts letters of another.
    """
    found = []
    for paragraph in paragraphs:
        if script != 'latin' or language_of(script, [paragraph]) == PAGE_LANGUAGES[script]:
            words = (word for word in paragraph.split(' ') if all(native(c, script) for c in word))
            found.append(' '.join(words))
    return [paragraph for paragraph in found if paragraph]


def native(character: str, script: str) -> bool:
    return not character.isalpha() or (script_of(character) == script and (script != 'latin' or character.isascii()))
