"""Fonts: what each can draw, its family and licence, and which families are one design."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glean_plus.prepare.crops import miniature
from glean_plus.prepare.files import files_below
from glean_plus.prepare.items import DataError, Problem
from glean_plus.prepare.pool import run_all
from glean_plus.prepare.text.licences import known_licence, licence_of_package, non_commercial
from glean_plus.prepare.text.scripts import LETTERS, NEEDED, SCRIPTS

ENDINGS = ('.ttf', '.otf')
# Words of a family's name that tell a width, weight or size of the same design.
VARIANTS = re.compile(
    r'\b(thin|hairline|(extra|ultra|semi|demi)?[ -]?(light|bold|condensed|narrow|expanded)|regular|book|medium|black|'
    r'heavy|compressed|display|caption|subhead|headline|text|italic|oblique|slanted|unslanted|ui|vf|variable|'
    r'alternates?|alt|sc|smallcaps|caps|compact|initials|no ?leks)\b',
    re.IGNORECASE,
)
SAME = 0.93             # correlation of two families' glyphs above which they are one design
PROBE = 'aegnstRGQ25'   # characters that tell designs apart
GREEK_PROBE = 'αβγδελμσωΔΣΩ25'
PROBE_SIZE, CELL, INK_SIZE = 64, 16, 12
FULL_STOP = 0.4         # ems, above which a full stop is no dot
LICENCE = 200           # characters of a licence that are reported
OFTEN = 0.98            # share of a script's basic letters that a font must have to be used for it


@dataclass(frozen=True)
class Font:
    """A font file."""

    path: Path  # the file
    family: str  # typographic family from the name table, without words for weight, width and size
    style: str  # subfamily from the name table
    bold: bool  # from the OS/2 table
    italic: bool
    # The characters of the corpus that it draws: in its character map, with ink unless they are spaces.
    coverage: frozenset[str] = field(repr=False)
    scripts: tuple[str, ...]  # those whose basic letters it has
    licence: str  # from the name table; else, or beside it, what the copyright file of its Debian package names
    design: str = ''  # families of one design share it; the split holds out designs


def font_files(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """(file, folder) of every font below ``folders``, sorted; a link to another font is not followed.

    Raises:
        DataError: If a folder is missing, or none of them has a font.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f'{folder} is not a folder of fonts.')
        found += [(path, folder) for path in files_below(folder)
                  if path.name.lower().endswith(ENDINGS) and not path.is_symlink()]  # fmt: skip
    if not found:
        raise DataError(f'No {" or ".join(ENDINGS)} below {", ".join(map(str, folders))}.')
    return found


@functools.lru_cache(maxsize=32)
def load(path: Path, size: float) -> ImageFont.FreeTypeFont:
    """A font at ``size`` pixels per em."""
    return ImageFont.truetype(str(path), size)


def clean_family(name: str) -> str:
    """A family's name without the words of :data:`VARIANTS`."""
    return ' '.join(VARIANTS.sub(' ', name).split()) or name


def glyph(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray | None:
    """The ink of a character, cut to its bounds, uint8; None where there is none."""
    image = Image.new('L', (PROBE_SIZE * 2, PROBE_SIZE * 2))
    ImageDraw.Draw(image).text((PROBE_SIZE / 2, PROBE_SIZE * 1.5), character, 255, font, anchor='ls')
    bounds = image.getbbox()
    return np.asarray(image.crop(bounds)) if bounds else None


def read_font(file: tuple[Path, Path], alphabet: str) -> Font | Problem:
    """A font, or why it is not used."""
    from fontTools.ttLib import TTFont, TTLibError

    path, folder = file
    name = f'{folder.name}/{path.relative_to(folder).as_posix()}'
    try:
        with TTFont(path, lazy=True) as table:
            names, style = table['name'], table['OS/2']
            family = clean_family(names.getDebugName(16) or names.getDebugName(1) or path.stem)
            subfamily = names.getDebugName(17) or names.getDebugName(2) or ''
            own_licence = ' '.join((names.getDebugName(13) or names.getDebugName(14) or '').split())
            bold, italic = style.usWeightClass >= 600, bool(style.fsSelection & 1)
            glyphs = table.getBestCmap() or {}
        if non_commercial(own_licence):
            return Problem(name, 'licence', f'its name table says: {own_licence[:LICENCE]}')
        font, small = load(path, PROBE_SIZE), load(path, INK_SIZE)
        asked = {*alphabet, *NEEDED, *chain(*LETTERS.values())}
        mapped = {character for character in asked if glyphs.get(ord(character), '.notdef') != '.notdef'}
        # Before the characters are drawn one by one: most fonts of a system are for other scripts.
        scripts = tuple(script for script in SCRIPTS if has_letters(mapped, script))
        if not scripts or not mapped.issuperset(NEEDED):
            return Problem(name, 'coverage', 'the basic letters of no script, or no digits and punctuation')
        coverage = frozenset(c for c in mapped if c.isspace() or small.getmask(c).getbbox())
        if 'latin' in scripts and same_ink(font, 'a', 'A'):
            return Problem(name, 'capitals', 'small letters look like capitals')
        stop = glyph(font, '.')
        if stop is None or max(stop.shape) > FULL_STOP * PROBE_SIZE:
            return Problem(name, 'decorated', 'its full stop is as large as a letter: there are frames around them')
    except (TTLibError, OSError, KeyError, ValueError, AssertionError) as error:
        return Problem(name, 'unreadable', f'{type(error).__name__}: {error}')
    scripts = tuple(script for script in scripts if has_letters(coverage, script))
    if not scripts:
        return Problem(name, 'coverage', 'letters of the character map have no ink')
    licence = ' | '.join(dict.fromkeys(filter(None, (known_licence(own_licence), licence_of_package(path, folder)))))
    return Font(path, family, subfamily, bold, italic, coverage, scripts, licence)


def has_letters(characters: Iterable[str], script: str) -> bool:
    letters = {*LETTERS[script]}
    return len(letters & {*characters}) >= OFTEN * len(letters)


def same_ink(font: ImageFont.FreeTypeFont, one: str, other: str) -> bool:
    first, second = glyph(font, one), glyph(font, other)
    return first is not None and second is not None and first.shape == second.shape and bool((first == second).all())


def signature(font: Font) -> np.ndarray:
    """The look of a font: its probe glyphs in cells of one size, zero mean and unit norm; with their aspect ratios."""
    loaded = load(font.path, PROBE_SIZE)
    glyphs = (glyph(loaded, character) for character in (PROBE if 'latin' in font.scripts else GREEK_PROBE))
    return np.stack([np.zeros(CELL**2, np.float32) if ink is None else miniature(ink, CELL) for ink in glyphs])


def join_designs(fonts: Sequence[Font]) -> list[Font]:
    """The fonts with their design: families whose names or glyphs say so are one, named after the first.

    Metric-compatible and derived families have the same letters (:data:`SAME`) under several names.
    """
    families: dict[str, list[Font]] = {}
    for font in fonts:
        families.setdefault(font.family, []).append(font)
    looks = {}
    for family, own in families.items():
        plain = [font for font in own if not font.bold and not font.italic] or own
        looks[family] = [signature(font) for font in plain[:3]]
    design: dict[str, str] = {}
    for family in sorted(families):
        like = [design[other] for other in design if named_alike(family, other) or alike(looks[family], looks[other])]
        design[family] = min(like, default=family)
        design.update({other: design[family] for other, name in design.items() if name in like})
    return [replace(font, design=design[font.family]) for font in fonts]


def named_alike(first: str, second: str) -> bool:
    """Whether one name continues the other, as "Go Mono" does "Go"."""
    short, long = sorted((first.split(), second.split()), key=len)
    return long[:len(short)] == short


def alike(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bool:
    return any(a.shape == b.shape and float((a * b).sum(1).mean()) > SAME for a in first for b in second)


def read_fonts(folders: Sequence[Path], alphabet: str, workers: int = 1) -> tuple[list[Font], list[Problem]]:
    """The fonts below ``folders`` that draw at least one of the scripts, and the others with the reason.

    Args:
        alphabet: The characters whose coverage is found, beside those that every font needs.

    Raises:
        DataError: If a package or a folder is missing, or no font can be used.
    """
    if importlib.util.find_spec('fontTools') is None:
        raise DataError('Missing package, install it: pip install fonttools')
    found = run_all(partial(read_font, alphabet=alphabet), font_files(folders), workers, 'fonts')
    fonts = [each for each in found if isinstance(each, Font)]
    if not fonts:
        raise DataError(f'None of the {len(found)} fonts below {", ".join(map(str, folders))} draws '
                        f'{", ".join(SCRIPTS)}: look at problems.csv.')
    return join_designs(fonts), [each for each in found if isinstance(each, Problem)]
