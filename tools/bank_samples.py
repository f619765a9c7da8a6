"""Draw a grid of pictures from a bank's file in any known format, to see that it was trained, or read, rightly.

    python tools/bank_samples.py configs/weights/stylegan2_twemoji_64px.safetensors x.png
    python tools/bank_samples.py iter_16000.pth x.png --prefix generator_ema.module --truncation 0.7 --seed 1
    python tools/bank_samples.py stylegan2-cat-config-f.pkl x.png --rows 2 --columns 3
    python tools/bank_samples.py biggan-deep-128.bin x.png --classes 207 281

What it is and how large follows from the file. A bank with classes draws a row of each class, the same noise in each.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glean_plus.models.banks import BANKS
from glean_plus.prepare.images import save
from glean_plus.utils.images.arrays import to_array
from glean_plus.utils.terminal import Parser
from glean_plus.weights import WeightsError, import_weights


def grid(pictures: torch.Tensor, columns: int) -> np.ndarray:
    """(N, C, H, W), -1 to 1 -> one picture, (rows H, columns W, 3) uint8; N must fill the rows."""
    arrays = [to_array((picture.clamp(-1, 1) + 1) * 127.5) for picture in pictures]
    rows = [np.concatenate(arrays[start:start + columns], axis=1) for start in range(0, len(arrays), columns)]
    return np.concatenate(rows, axis=0)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='path or URL')
    parser.add_argument('out', type=Path, help='.png')
    parser.add_argument('--prefix', help='where in the file the bank is (default: the averaged generator)')
    parser.add_argument('--bgr', action='store_true',
                        help="the bank draws BGR, as OpenMMLab's StyleGANs do; otherwise blue and red are swapped")
    parser.add_argument('--rows', type=int, help='rows, of each class if there are any (default: 4, or 1 of each class)')
    parser.add_argument('--columns', type=int, default=12)
    parser.add_argument('--classes', type=int, nargs='+', metavar='CLASS', help='classes to draw (default: every one)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--truncation', type=float,
                        help='StyleGAN2: draw codes towards the mean by this factor. BigGAN: bound of the noise. '
                             '(default: not at all)')
    args = parser.parse_args()
    for name in ('rows', 'columns'):
        if (number := getattr(args, name)) is not None and number < 1:
            parser.error(f'--{name} is 1 or more, not {number}')
    if args.out.suffix.lower() != '.png':
        parser.error(f'OUT must end in .png, but is {args.out}')
    if args.truncation is not None and not args.truncation > 0:
        parser.error(f'--truncation is more than 0, not {args.truncation}')
    if not -2**63 <= args.seed < 2**63:
        parser.error(f'--seed has 64 bits, but is {args.seed}')

    try:
        found = import_weights(args.checkpoint, args.prefix)
        bank = BANKS[found.architecture](**found.kwargs).eval()
        bank.load(found.state, args.checkpoint)
    except WeightsError as error:
        sys.exit(str(error))
    has_classes = any(bank.class_dims)
    if args.classes and not has_classes:
        parser.error(f'--classes: {type(bank).__name__} has no classes')
    if wrong := [label for label in args.classes or () if not 0 <= label < bank.num_classes]:
        parser.error(f'--classes: this bank has the classes 0 to {bank.num_classes - 1}, not {wrong[0]}')
    count = (args.rows or (1 if has_classes else 4)) * args.columns
    noise = torch.randn(count, bank.noise_size, generator=torch.Generator().manual_seed(args.seed))
    options: dict[str, Any] = {} if args.truncation is None else dict(truncation=args.truncation)
    if has_classes:
        classes = args.classes or range(bank.num_classes)
        noise = noise.repeat(len(classes), 1)
        options['label'] = torch.tensor(classes).repeat_interleave(count)
    else:
        options['randomize_noise'] = False
    with torch.no_grad():
        pictures = bank(noise, **options)
    pictures = pictures.flip(1) if args.bgr else pictures
    try:
        save(grid(pictures, args.columns), args.out)
    except OSError as error:
        sys.exit(f'{args.out} cannot be written ({error.strerror or error}): choose another place.')
    print(f'{args.out}: {len(noise)} pictures of {bank.out_size} px')


if __name__ == '__main__':
    main()
