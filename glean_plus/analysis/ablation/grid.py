"""One image with every switch, as a labelled grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEAST_SIDE = 128     # a smaller image is enlarged, by repeating pixels, so that its label has room
GAP, LINE, LABEL_LINES = 8, 14, 3
COLUMNS = 6
INK, PAPER, FAINT = (20, 20, 20), (255, 255, 255), (226, 226, 226)


@dataclass(frozen=True)
class Tile:
    """An image of the grid."""

    label: str  # what it is
    picture: np.ndarray | None  # (H, W, 3) uint8 RGB; None where a switch does not apply
    numbers: str = ''  # such as `22.28 dB | 0.257`


@dataclass(frozen=True)
class Group:
    """Tiles that belong together."""

    title: str
    tiles: Sequence[Tile]


def side_of(out_size: int) -> int:
    """Side of a tile's image in the grid."""
    return out_size * -(-LEAST_SIDE // out_size)


def grid_size(counts: Sequence[int], out_size: int) -> tuple[int, int]:
    """Width and height of a grid whose groups have so many tiles."""
    columns = min(COLUMNS, max(counts))
    rows = sum(-(-count // COLUMNS) for count in counts)
    side = side_of(out_size)
    width = GAP + columns * (side + GAP)
    return width, GAP + len(counts) * (LINE + GAP) + rows * (side + LABEL_LINES * LINE + LINE + 2 * GAP)


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 3) -> (side, side, 3), each pixel a rectangle."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST))


def draw_grid(groups: Sequence[Group], out_size: int) -> np.ndarray:
    """(H, W, 3) uint8: a row, or more, for each group, each tile above its label and numbers."""
    side = side_of(out_size)
    width, height = grid_size([len(group.tiles) for group in groups], out_size)
    canvas = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    top = GAP
    for group in groups:
        draw.text((GAP, top), group.title, INK, font=ImageFont.load_default(size=13))
        top += LINE + GAP
        for start in range(0, len(group.tiles), COLUMNS):
            for column, tile in enumerate(group.tiles[start:start + COLUMNS]):
                left = GAP + column * (side + GAP)
                if tile.picture is None:
                    draw.rectangle((left, top, left + side - 1, top + side - 1), fill=FAINT)
                    draw.text((left + GAP, top + side // 2 - LINE), 'does not apply', INK, font=font)
                else:
                    canvas.paste(Image.fromarray(enlarged(tile.picture, side)), (left, top))
                for number, line in enumerate([*_wrapped(tile.label, font, side)[:LABEL_LINES], tile.numbers]):
                    draw.text((left, top + side + 2 + number * LINE), line, INK, font=font)
            top += side + LABEL_LINES * LINE + LINE + 2 * GAP
    return np.asarray(canvas)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
