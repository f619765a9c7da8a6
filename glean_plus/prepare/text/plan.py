"""Plans of images, as plain data: each is sampled from a seed and its name alone."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glean_plus.prepare.crops import rank
from glean_plus.prepare.text.corpus import Document
from glean_plus.prepare.text.fonts import Font

SCRIPT_SHARES = {'latin': 0.55, 'greek': 0.2, 'cyrillic': 0.25}
RENDERINGS = {'hinted': 0.3, 'smooth': 0.3, 'rgb': 0.3, 'bgr': 0.1}
GROUNDS = {'flat': 0.62, 'gradient': 0.1, 'paper': 0.14, 'photo': 0.14}
SMALL, LARGE, LARGEST = 16, 40, 96   # pixels per em
LARGE_SHARE = 0.12                   # of the crops with letters above LARGE
CROP_TEXT, PAGE_TEXT = 400, 1200     # characters, more than an image holds
LEAST_CONTRAST = 2.5                 # WCAG's ratio of the luminances, in crops
PAGE_CONTRAST = 7                    # WCAG AAA, in pages

LONG = 20_000                        # characters of a document that count

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Sample:
    """One image."""

    name: str  # of the file, without ending
    width: int  # in pixels
    height: int
    font: str  # path of the font file below the folder of all fonts
    font_size: float  # pixels per em
    text: str  # words to set, more than fit
    # Of the text and the font, for the lists.
    script: str
    document: str
    family: str
    design: str
    style: str
    rendering: str  # `hinted` (gray, FreeType's hinting), `smooth` (gray, unhinted), `rgb` or `bgr` (subpixels)
    foreground: Color  # RGB, 0 to 255
    background: Color
    ground: str = 'flat'  # `flat`, `gradient`, `paper` or `photo`
    photo: str = ''  # path of the photograph below its folder
    veil: float = 0.0  # share of the background's colour in a photograph
    line_height: float = 1.2  # distance of two baselines, in ems
    tracking: float = 0.0  # additional space after each letter, in ems
    angle: float = 0.0  # counter-clockwise rotation in degrees
    margin: int | None = None  # of a page, in pixels; None for a crop
    left: float = 0.0  # left end of the lines of a crop, in widths
    top: float = 1.0  # first baseline of a crop, in line heights
    short_row: int = -1  # line of a crop that ends early
    short_line: float = 1.0  # where it ends, in widths
    seed: int = 0  # of the ground


class Side:
    """Fonts and documents of one side of the split, in the order in which they are sampled."""

    def __init__(
        self, scripts: Sequence[str], fonts: Sequence[Font], documents: Sequence[Document], photos: Sequence[str] = ()
    ) -> None:
        self.scripts = scripts
        self.designs: dict[str, dict[str, list[Font]]] = {}
        for font in sorted(fonts, key=lambda font: str(font.path)):
            for script in font.scripts:
                self.designs.setdefault(script, {}).setdefault(font.design, []).append(font)
        self.documents: dict[str, list[Document]] = {}
        for document in documents:
            self.documents.setdefault(document.script, []).append(document)
        # A document is as probable as it is long, but for the longest, which would leave nothing to the others.
        self.ends = {script: np.cumsum([min(document.size, LONG) for document in own])
                     for script, own in self.documents.items()}  # fmt: skip
        self.photos = photos

    def font(self, script: str, generator: np.random.Generator) -> Font:
        """Each design is as probable as any other, and so is each of its weights and slopes."""
        designs = self.designs[script]
        fonts = designs[list(designs)[generator.integers(len(designs))]]
        kinds = sorted({(font.bold, font.italic) for font in fonts})
        kind = kinds[generator.integers(len(kinds))]
        fonts = [font for font in fonts if (font.bold, font.italic) == kind]
        return fonts[generator.integers(len(fonts))]

    def text(self, script: str, font: Font, length: int, generator: np.random.Generator) -> tuple[str, str]:
        """(text, document): whole paragraphs from a random one on; words that the font cannot draw are left out."""
        ends = self.ends[script]
        document = self.documents[script][np.searchsorted(ends, generator.integers(ends[-1]), side='right')]
        start, text = int(generator.integers(len(document.paragraphs))), ''
        for paragraph in (*document.paragraphs[start:], *document.paragraphs[:start]):
            text = f'{text} {kept(paragraph, font)}'.strip()
            if len(text) + 1 >= length:
                break
        return text, document.name


def generator_of(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng(np.frombuffer(rank(name, seed), np.uint32))


def pick(shares: Mapping[str, float], generator: np.random.Generator) -> str:
    weights = np.array(list(shares.values()))
    return list(shares)[generator.choice(len(weights), p=weights / weights.sum())]


def luminance(color: Sequence[float]) -> float:
    """WCAG's relative luminance of an sRGB colour, 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """WCAG's contrast ratio, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def color(generator: np.random.Generator, value: tuple[float, float], saturation: float) -> Color:
    """A random hue; ``value`` is the range of HSV's value, ``saturation`` the highest."""
    rgb = colorsys.hsv_to_rgb(generator.random(), generator.random() * saturation, generator.uniform(*value))
    return tuple(round(part * 255) for part in rgb)  # type: ignore[return-value]


def colors(generator: np.random.Generator, least: float, dark_share: float) -> tuple[Color, Color]:
    """(foreground, background) of at least the contrast ``least``, light on dark in ``dark_share`` of the cases."""
    while True:
        kind = generator.random()
        if kind < 0.3:
            dark, light = (0, 0, 0), (255, 255, 255)
        elif kind < 0.65:
            dark, light = color(generator, (0, 0.3), 0.4), color(generator, (0.88, 1), 0.12)
        else:
            dark, light = color(generator, (0, 0.8), 1), color(generator, (0.5, 1), 0.6)
        if contrast(dark, light) >= least:
            return (light, dark) if generator.random() < dark_share else (dark, light)


def varied(text: str, generator: np.random.Generator) -> str:
    """The text with what prose seldom has: capitals, and numbers as forms, prices and dates have them."""
    kind = generator.random()
    if kind < 0.05:
        upper = text.upper()
        text = upper if len(upper) == len(text) else text
    words = text.split(' ')
    if kind > 0.75:
        share = generator.uniform(0.1, 0.6)
        words = [number(generator) if generator.random() < share else word for word in words]
    return ' '.join(words)


def number(generator: np.random.Generator) -> str:
    """A number, price, date, time, version, percentage or telephone number, in ASCII."""
    def digits(count: int) -> str:
        return ''.join(map(str, generator.integers(0, 10, count)))

    low = int(generator.integers(0, 8))
    return (
        digits(int(generator.integers(1, 7))), f'{digits(2)}.{digits(2)}', f'{digits(1)},{digits(3)}.{digits(2)}',
        f'{digits(2)}/{digits(2)}/{digits(4)}', f'{digits(2)}:{digits(2)}', f'({digits(3)})',
        f'{digits(3)}-{digits(4)}', f'{digits(1)}.{digits(1)}.{digits(2)};',
    )[low]  # fmt: skip


def plan_crop(name: str, side: Side, size: int, seed: int, font_root: Path) -> Sample:
    """A crop of the training set, or of the test set's images, which have no photographs."""
    generator = generator_of(name, seed)
    script = pick({each: SCRIPT_SHARES[each] for each in side.scripts}, generator)
    font = side.font(script, generator)
    text, document = side.text(script, font, CROP_TEXT * size // 128, generator)
    text = kept(varied(text, generator), font) or text
    low, high = (LARGE, LARGEST) if generator.random() < LARGE_SHARE else (SMALL, LARGE)
    ground = pick(GROUNDS, generator)
    ground = 'flat' if ground == 'photo' and not side.photos else ground
    least = LEAST_CONTRAST if ground == 'flat' else 4
    foreground, background = colors(generator, least, 0.3)
    spaced, rotated, inside = generator.random(), generator.random(), generator.random()
    font_size = round(low * (high / low) ** generator.random() * 2) / 2
    line_height = generator.uniform(1.0, 1.7)
    pitch = font_size * line_height
    # A line crosses the image, however large the letters are.
    first = generator.uniform(0.2 * pitch, 1.2 * pitch) if 1.2 * pitch <= size else generator.uniform(0.4 * size, size)
    return Sample(
        name, size, size, font.path.relative_to(font_root).as_posix(),
        font_size, text, script, document, font.family, font.design, font.style,
        rendering=pick(RENDERINGS, generator) if rotated < 0.8 else 'smooth',
        foreground=foreground,
        background=background,
        ground=ground,
        photo=side.photos[generator.integers(len(side.photos))] if ground == 'photo' else '',
        veil=float(generator.uniform(0.35, 0.9)),
        line_height=line_height,
        tracking=float(generator.uniform(-0.03, 0.15)) if spaced < 0.2 else 0.0,
        angle=float(generator.normal(0, 2)) if rotated >= 0.8 else 0.0,
        left=float(generator.uniform(0, 0.3) if inside < 0.3 else generator.uniform(-0.5, 0)),
        top=first / pitch,
        short_row=int(generator.integers(1, 9)),
        short_line=float(generator.uniform(0.2, 0.9)),
        seed=int(generator.integers(2**31)),
    )  # fmt: skip


def kept(text: str, font: Font) -> str:
    """The words that the font can draw."""
    return ' '.join(word for word in text.split(' ') if font.coverage.issuperset(word))


def plan_page(name: str, side: Side, script: str, font_size: int, extent: tuple[int, int], seed: int,
              font_root: Path) -> Sample:
    """A page to be read: prose of one document in one font, on a clean ground, upright."""
    generator = generator_of(name, seed)
    font = side.font(script, generator)
    text, document = side.text(script, font, PAGE_TEXT, generator)
    foreground, background = colors(generator, PAGE_CONTRAST, 0.15)
    width, height = extent
    return Sample(
        name, width, height, font.path.relative_to(font_root).as_posix(), font_size,
        text, script, document, font.family, font.design, font.style,
        rendering=pick(RENDERINGS, generator),
        foreground=foreground,
        background=background,
        line_height=float(generator.uniform(1.2, 1.5)),
        margin=16,
    )  # fmt: skip
