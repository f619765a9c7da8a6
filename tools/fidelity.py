"""Measure what `--fidelity` does to a model: a table from the bank to the input.

    glean-plus fidelity lightglean_twemoji_4x data/twemoji/BIx4_down data/twemoji/GT \\
        --names data/twemoji/meta_info_Twemoji_people_test.txt --every 4

LQ and GT are folders of inputs and truths of the same names. PSNR is to the truth, LR-PSNR of the result, shrunk by
MATLAB's bicubic, to the input; ST-LPIPS (VGG) and KID, here times 1000 and on the features of ST-LPIPS' Alex trunk, say
how natural results look, and need no download. Higher is better of the first two, lower of the others.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from glean_plus.inference import RestoreError, Restorer
from glean_plus.metrics import KIDMetric, LRConsistency, STLPIPSMetric
from glean_plus.metrics.fidelity import psnr
from glean_plus.prepare.files import pictures_below
from glean_plus.utils.files import read_names
from glean_plus.utils.terminal import Parser
from glean_plus.weights import WeightsError

COLUMNS = ('PSNR', 'LR-PSNR', 'ST-LPIPS', '1000 KID')
VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)


def measure(restorer: Restorer, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, ...]:
    """Inputs and truths, (H, W, 3) uint8 -> a number for each column."""
    perceptual, kid = STLPIPSMetric('vgg', channel_order='rgb'), KIDMetric(features='stlpips-alex', channel_order='rgb')
    consistency, rows = LRConsistency(), []
    for lq, gt in tqdm(pairs, unit='picture', leave=False):
        result = restorer(lq)
        given, pred, truth = (each.transpose(2, 0, 1) for each in (lq, result, gt))
        kid.process([], [dict(output=dict(pred_img=pred), gt_img=truth)])
        rows.append((psnr(gt, result), consistency.process_image(given, pred, None),
                     perceptual.process_image(truth, pred, None)))  # fmt: skip
    return (*np.mean(rows, axis=0), 1000 * kid.compute_metrics(kid.results)[kid.metric])


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='name or checkpoint')
    parser.add_argument('lq', type=Path, metavar='LQ', help='folder of inputs')
    parser.add_argument('gt', type=Path, metavar='GT', help='folder of truths')
    parser.add_argument('--names', type=Path, metavar='FILE', help='only the pictures of this list (meta_info_*.txt)')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='only every Nth of them (default: %(default)s)')
    parser.add_argument('--values', type=float, nargs='+', default=VALUES, metavar='0..1', help='(default: in quarters)')
    parser.add_argument('--consistent', type=int, default=0, metavar='STEPS', help='of `restore`, with values below 0.5')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N, mps or auto (default: %(default)s)')
    args = parser.parse_args()
    if args.names and not args.names.is_file():
        parser.error(f'--names: there is no list {args.names}')
    if args.every < 1:
        parser.error(f'--every is 1 or more, not {args.every}')
    if wrong := [value for value in args.values if not 0 <= value <= 1]:
        parser.error(f'--values are 0 (the bank) to 1 (the input), not {wrong[0]}')
    for folder in (args.lq, args.gt):
        if not folder.is_dir():
            parser.error(f'there is no folder {folder}')
    if args.names:
        names = read_names(args.names)
    else:
        names = [name for name in pictures_below(args.lq)[0] if '/' not in name]
    names = names[::args.every]
    if len(names) < 2:
        sys.exit(f'{args.lq} has {len(names)} such pictures, but a distance of two sets takes two or more of each.')
    if missing := [path for folder in (args.lq, args.gt) for name in names if not (path := folder / name).is_file()]:
        sys.exit(f'There is no {missing[0]}: an input and its truth have one name.')
    read: Any = lambda folder, name: np.array(Image.open(folder / name).convert('RGB'))  # noqa: E731
    pairs = [(read(args.lq, name), read(args.gt, name)) for name in names]
    print(f'| fidelity | {" | ".join(COLUMNS)} |\n|{"---|" * (1 + len(COLUMNS))}')
    try:
        for value in args.values:
            restorer = Restorer(args.model, device=args.device, fidelity=value, consistent=args.consistent)
            numbers = measure(restorer, pairs)
            texts = (f'{number:.{digits}f}' for number, digits in zip(numbers, (2, 2, 4, 1)))
            print(f'| {value:g} | {" | ".join(texts)} |', flush=True)
    except (RestoreError, WeightsError) as error:
        sys.exit(f'{error}')


if __name__ == '__main__':
    main()
