"""Time and memory of our networks beside MMagic's, with the same weights where the network is the same.

    glean-plus benchmark
    glean-plus benchmark --sizes 16:256 32:256 --batch 8 --only 'MMagic GLEAN' 'GLEAN, folded'
    glean-plus benchmark --task color --only 'Color LightGLEAN' 'Color LightGLEAN, compiled'
    glean-plus benchmark --task train --batch 4
    glean-plus benchmark --device cuda --out speed.md
    glean-plus benchmark --folder photos --speeds compiled exact --runs 3

Each entry has a process of its own; they take turns, and what counts are ratios within a run. Weights are random,
so nothing is downloaded. The share of the limit counts multiply-adds as the network is written: Winograd's algorithm
does with fewer, and so can have a share above 1. With --folder, images are restored as by `glean-plus restore`, and the
table says how many a second, and for how much of the time the network computes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import add_device
from glean_plus.utils.choices import DEFAULT_MODEL, PRECISIONS, SPEEDS


def size(text: str) -> tuple[int, int]:
    """``64:1024`` as two numbers."""
    in_size, _, out_size = text.partition(':')
    if not (in_size.isdigit() and out_size.isdigit()):
        raise argparse.ArgumentTypeError(f'a size is INPUT:OUTPUT, as 64:1024, but this is {text!r}')
    return int(in_size), int(out_size)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--task', choices=['restore', 'color', 'train'], default='restore',
                        help='super-resolution, colorization on a BigGAN-deep, or a step of training '
                        '(default: %(default)s)')
    parser.add_argument('--sizes', type=size, nargs='+', metavar='INPUT:OUTPUT',
                        help='(default: 64:1024; 256:256 for color; 16:256 for train)')
    parser.add_argument('--batch', type=int, default=1, help='images at a time (default: %(default)s)')
    parser.add_argument('--runs', type=int, default=5, help='passes of each entry (default: %(default)s)')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='entries; the first is what others are compared to')
    add_device(parser, 'cpu')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='on a CPU (default: %(default)s)')
    parser.add_argument('--folder', type=Path, help='measure `restore` on these images instead')
    parser.add_argument('--model', default=DEFAULT_MODEL, help='with --folder: name or checkpoint (default: %(default)s)')
    parser.add_argument('--speeds', nargs='+', choices=SPEEDS, default=['auto'], help='with --folder (default: auto)')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32', help='with --folder (default: %(default)s)')
    parser.add_argument('--out', type=Path, help='Markdown file to write as well')
    parser.add_argument('--plot', type=Path, help='PNG of time and memory over the sizes')


def run(args: argparse.Namespace) -> None:
    for name in ('batch', 'runs', 'threads'):
        if getattr(args, name) < 1:
            raise UsageError(f'--{name} must be 1 or more, but is {getattr(args, name)}')
    if args.folder is not None:
        from glean_plus.analysis.benchmark.throughput import measure
        from glean_plus.utils.files import save_text

        speeds = [*dict.fromkeys(args.speeds)]
        table = measure(
            args.folder, args.model, speeds, args.device, args.precision, args.batch, args.threads, args.runs
        )
        print(table, flush=True)
        if args.out is not None:
            save_text(f'{table}\n', args.out)
        return
    outputs = [out_size for _, out_size in args.sizes or ()]
    if args.plot and len({*outputs}) < len(outputs):
        raise UsageError(f'--plot draws over the size of the output, of which two are the same: {outputs}')
    from glean_plus.analysis.benchmark.run import benchmark

    for table in benchmark(
        args.task, args.sizes, args.only, args.batch, args.runs, args.device, args.threads, args.out, args.plot,
        note=lambda line: print(line, file=sys.stderr),
    ):  # fmt: skip
        print(table, flush=True)
