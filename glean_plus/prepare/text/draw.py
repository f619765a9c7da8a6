"""Rendering of text: from a sample, which is plain data, to an image."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, features

from glean_plus.prepare.text.fonts import load
from glean_plus.prepare.text.plan import Sample

FINE = 3  # factor at which all but hinted text is drawn, each way: one sample for each subpixel of a pixel
# FreeType's default filter for LCD screens over five subpixels.
LCD_FILTER = np.array([0x08, 0x4D, 0x56, 0x4D, 0x08], np.float32) / 256
PAPER = 2.0  # standard deviation of the finest noise of a paper ground, pixel values

Place = tuple[float, float, str]  # left end, baseline, text


def layout_engine() -> str:
    """The engine that shapes the text: raqm (ligatures, kerning by GPOS, marks) or Pillow's basic one."""
    return f'raqm {features.version("raqm")}' if features.check('raqm') else 'basic'


def clusters(text: str) -> list[str]:
    """Characters with the combining marks behind them."""
    found: list[str] = []
    for character in text:
        if found and unicodedata.combining(character):
            found[-1] += character
        else:
            found.append(character)
    return found


def width_of(sample: Sample, font_root: Path) -> Callable[[str], float]:
    """Measures a text in pixels, with the sample's letter spacing."""
    font = load(font_root / sample.font, sample.font_size)

    def measure(text: str) -> float:
        if not sample.tracking:
            return font.getlength(text)
        return sum(font.getlength(each) + sample.tracking * sample.font_size for each in clusters(text))

    return measure


def wrap(words: Sequence[str], measure: Callable[[str], float], width: float, most: int) -> list[str]:
    """Lines of at most ``width`` pixels, at most ``most`` of them; a word that is wider than a line is left out."""
    lines: list[str] = []
    current = ''
    for word in words:
        longer = f'{current} {word}' if current else word
        if measure(longer) <= width:
            current = longer
        elif measure(word) <= width:
            lines.append(current)
            current = word
            if len(lines) == most:
                return lines
    return [*lines, current] if current else lines


def place(sample: Sample, font_root: Path) -> list[Place]:
    """The place of each line of a sample.

    A page has margins, and lines that end in it whole. A crop is a window onto a larger text: its lines begin left of
    it or in it, and run out of it.
    """
    measure = width_of(sample, font_root)
    pitch = sample.font_size * sample.line_height
    if sample.margin is not None:
        width = sample.width - 2 * sample.margin
        most = int((sample.height - 2 * sample.margin - sample.font_size) // pitch) + 1
        lines = wrap(sample.text.split(' '), measure, width, most)
        top = sample.margin + sample.font_size
        return [(sample.margin, top + index * pitch, line) for index, line in enumerate(lines)]
    words = iter(sample.text.split(' '))
    left, places = sample.left * sample.width, []
    for row in range(int(sample.height // pitch) + 2):
        right = sample.width * (sample.short_line if row == sample.short_row else 1)
        line = ''
        while left + measure(line) < right and (word := next(words, None)) is not None:
            line = f'{line} {word}' if line else word
        if line:
            places.append((left, (sample.top + row) * pitch, line))
    return places


def coverage(sample: Sample, places: Sequence[Place], font_root: Path) -> np.ndarray:
    """The share of ink of each subpixel, (height, width, 3), 0 to 1."""
    fine = 1 if sample.rendering == 'hinted' else FINE
    image = Image.new('L', (sample.width * fine, sample.height * fine))
    drawing, font = ImageDraw.Draw(image), load(font_root / sample.font, sample.font_size * fine)
    for left, base, text in places:
        if not sample.tracking:
            drawing.text((left * fine, base * fine), text, 255, font, anchor='ls')
            continue
        for cluster in clusters(text):
            drawing.text((left * fine, base * fine), cluster, 255, font, anchor='ls')
            left += font.getlength(cluster) / fine + sample.tracking * sample.font_size
    if sample.angle:
        image = image.rotate(sample.angle, Image.Resampling.BICUBIC)
    ink = np.asarray(image, np.float32) / 255
    if fine == 1:
        return np.repeat(ink[..., None], 3, 2)
    rows = ink.reshape(sample.height, FINE, -1).mean(1)
    if sample.rendering == 'smooth':
        return np.repeat(rows.reshape(sample.height, sample.width, FINE).mean(2)[..., None], 3, 2)
    padded = np.pad(rows, ((0, 0), (2, 2)))
    filtered = sum(weight * padded[:, tap:tap + rows.shape[1]] for tap, weight in enumerate(LCD_FILTER))
    subpixels = np.asarray(filtered).reshape(sample.height, sample.width, FINE)
    return subpixels if sample.rendering == 'rgb' else subpixels[..., ::-1]


def ground(sample: Sample, photos: Path | None) -> np.ndarray:
    """The background of the text, (height, width, 3), 0 to 255."""
    shape = (sample.height, sample.width, 3)
    generator = np.random.default_rng(sample.seed)
    flat = np.broadcast_to(np.array(sample.background, np.float32), shape)
    if sample.ground == 'gradient':
        far = np.array(sample.background, np.float32) + generator.uniform(-28, 28, 3)
        ramp = np.linspace(0, 1, sample.width)[None, :, None] * generator.uniform(-1, 1)
        ramp = ramp + np.linspace(0, 1, sample.height)[:, None, None] * generator.uniform(-1, 1)
        return flat + (far - flat) * ramp
    if sample.ground == 'paper':
        coarse = generator.normal(0, 3, (sample.height // 16 + 2, sample.width // 16 + 2))
        resized = Image.fromarray(coarse.astype(np.float32)).resize(shape[1::-1], Image.Resampling.BICUBIC)
        return flat + np.asarray(resized)[..., None] + generator.normal(0, PAPER, (*shape[:2], 1))
    if sample.ground == 'photo' and photos is not None:
        with Image.open(photos / sample.photo) as opened:
            photo = opened.convert('RGB')
        side = max(min(photo.size) * generator.uniform(0.3, 1), 16)
        left, top = generator.uniform(0, photo.width - side), generator.uniform(0, photo.height - side)
        box = (left, top, left + side, top + side * min(1, sample.height / sample.width))
        pixels = np.asarray(photo.resize(shape[1::-1], Image.Resampling.BICUBIC, box=box), np.float32)
        # Moved towards the background's colour, so that the text keeps some of its contrast.
        return pixels * (1 - sample.veil) + flat * sample.veil
    return np.array(flat)


def render(sample: Sample, font_root: Path, photos: Path | None = None) -> tuple[np.ndarray, list[str]]:
    """Draw a sample.

    Returns:
        The image, (height, width, 3) uint8 RGB, and the lines that were drawn.
    """
    places = place(sample, font_root)
    ink = coverage(sample, places, font_root)
    behind = ground(sample, photos)
    image = behind + (np.array(sample.foreground, np.float32) - behind) * ink
    return image.round().clip(0, 255).astype(np.uint8), [text for *_, text in places]
