"""Measure what `--fidelity` does to a model: a table from the bank to the input.

    glean-plus fidelity lightglean_twemoji_4x data/twemoji/BIx4_down data/twemoji/GT \\
        --names data/twemoji/meta_info_Twemoji_people_test.txt --every 4

LQ and GT are folders of inputs and ground truths of the same names. PSNR is to the ground truth, LR-PSNR of the result,
shrunk by MATLAB's bicubic, to the input; ST-LPIPS (VGG) and KID, here times 1000 and on the features of ST-LPIPS' Alex
trunk, say how natural results look, and need no download. Higher is better of the first two, lower of the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import add_device

VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help='name or checkpoint')
    parser.add_argument('lq', type=Path, metavar='LQ', help='folder of inputs')
    parser.add_argument('gt', type=Path, metavar='GT', help='folder of ground truths')
    parser.add_argument('--names', type=Path, metavar='FILE', help='only the images of this list (meta_info_*.txt)')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='only every Nth of them (default: %(default)s)')
    parser.add_argument('--values', type=float, nargs='+', default=VALUES, metavar='0..1', help='(default: in quarters)')
    parser.add_argument('--consistent', type=int, default=0, metavar='STEPS', help='of `restore`, with values below 0.5')
    add_device(parser)


def run(args: argparse.Namespace) -> None:
    if args.names and not args.names.is_file():
        raise UsageError(f'--names: there is no list {args.names}')
    if args.every < 1:
        raise UsageError(f'--every is 1 or more, not {args.every}')
    if wrong := [value for value in args.values if not 0 <= value <= 1]:
        raise UsageError(f'--values are 0 (the bank) to 1 (the input), not {wrong[0]}')
    for folder in (args.lq, args.gt):
        if not folder.is_dir():
            raise UsageError(f'there is no folder {folder}')
    from glean_plus.analysis.fidelity import pairs_of, table

    pairs = pairs_of(args.lq, args.gt, args.names, args.every)
    for line in table(args.model, pairs, args.values, args.consistent, args.device):
        print(line, flush=True)
