"""A grid of images from a bank's file in any known format, to see that it was trained, or read, rightly.

    glean-plus samples configs/weights/stylegan2_twemoji_64px.safetensors x.png
    glean-plus samples iter_16000.pth x.png --prefix generator_ema.module --truncation 0.7 --seed 1
    glean-plus samples stylegan2-cat-config-f.pkl x.png --rows 2 --columns 3
    glean-plus samples biggan-deep-128.bin x.png --classes 207 281

What it is and how large follows from the file. A bank with classes has a row of each class, the same noise in each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.cli.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', help='path or URL')
    parser.add_argument('out', type=Path, help='.png')
    parser.add_argument('--prefix', help='where in the file the bank is (default: the averaged generator)')
    parser.add_argument('--bgr', action='store_true',
                        help="the bank draws BGR, as OpenMMLab's StyleGANs do; otherwise blue and red are swapped")
    parser.add_argument('--rows', type=int, help='rows, of each class if there are any (default: 4, or 1 of each class)')
    parser.add_argument('--columns', type=int, default=12)
    parser.add_argument('--classes', type=int, nargs='+', metavar='CLASS', help='classes to sample (default: every one)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--truncation', type=float,
                        help='StyleGAN2: move codes towards the mean by this factor. BigGAN: bound of the noise. '
                             '(default: not at all)')


def run(args: argparse.Namespace) -> None:
    for name in ('rows', 'columns'):
        if (number := getattr(args, name)) is not None and number < 1:
            raise UsageError(f'--{name} is 1 or more, not {number}')
    if args.out.suffix.lower() != '.png':
        raise UsageError(f'OUT must end in .png, but is {args.out}')
    if args.truncation is not None and not args.truncation > 0:
        raise UsageError(f'--truncation is more than 0, not {args.truncation}')
    if not -2**63 <= args.seed < 2**63:
        raise UsageError(f'--seed has 64 bits, but is {args.seed}')
    from glean_plus.analysis.samples import ClassesError, save_samples

    try:
        count, size = save_samples(
            args.checkpoint, args.out, args.prefix, rows=args.rows, columns=args.columns, classes=args.classes,
            seed=args.seed, truncation=args.truncation, bgr=args.bgr,
        )  # fmt: skip
    except ClassesError as error:
        raise UsageError(f'--classes: {error}') from error
    print(f'{args.out}: {count} images of {size} px')
