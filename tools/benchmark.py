"""Time and memory of our networks beside MMagic's, with the same weights where the network is the same.

    python tools/benchmark.py
    python tools/benchmark.py --sizes 16:256 32:256 --batch 8 --only 'MMagic GLEAN' 'GLEAN, folded'
    python tools/benchmark.py --task color --only 'Color LightGLEAN' 'Color LightGLEAN, compiled'
    python tools/benchmark.py --task train --batch 4
    python tools/benchmark.py --device cuda --out speed.md

Each contender has a process of its own; they take turns, and what counts are ratios within a run. Weights are random,
so nothing is downloaded. The share of the limit counts multiply-adds as the network is written: Winograd's algorithm
does with fewer, and so can have a share above 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mmengine.registry import init_default_scope

import glean_plus  # noqa: F401
from glean_plus.utils.terminal import Parser


def size(text: str) -> tuple[int, int]:
    """``64:1024`` as two numbers."""
    in_size, _, out_size = text.partition(':')
    if not (in_size.isdigit() and out_size.isdigit()):
        raise argparse.ArgumentTypeError(f'a size is INPUT:OUTPUT, as 64:1024, but this is {text!r}')
    return int(in_size), int(out_size)


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=['restore', 'color', 'train'], default='restore',
                        help='super-resolution, colorization on a BigGAN-deep, or a step of training '
                        '(default: %(default)s)')
    parser.add_argument('--sizes', type=size, nargs='+', metavar='INPUT:OUTPUT',
                        help='(default: 64:1024; 256:256 for color; 16:256 for train)')
    parser.add_argument('--batch', type=int, default=1, help='pictures at a time (default: %(default)s)')
    parser.add_argument('--runs', type=int, default=5, help='passes of each contender (default: %(default)s)')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='contenders; the first is what others are compared to')
    parser.add_argument('--device', default='cpu', help='(default: %(default)s)')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='on a CPU (default: %(default)s)')
    parser.add_argument('--out', type=Path, help='Markdown file to write as well')
    parser.add_argument('--plot', type=Path, help='PNG of time and memory over the sizes')
    args = parser.parse_args()
    for name in ('batch', 'runs', 'threads'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be 1 or more, but is {getattr(args, name)}')
    outputs = [out_size for _, out_size in args.sizes or ()]
    if args.plot and len({*outputs}) < len(outputs):
        parser.error(f'--plot draws over the size of the output, of which two are the same: {outputs}')
    return args


def left_out(names: list[str], device: str) -> list[str]:
    """Those that cannot run here: on another device, without a compiler, or without OpenVINO."""
    from glean_plus.accel.compiler import CompilerError, compiler
    from glean_plus.accel.openvino import OpenVINOError, core
    from glean_plus.analysis.benchmark.contenders import CONTENDERS

    missing = set()
    for speed, needs in (('compiled', compiler), ('openvino', core)):
        try:
            needs()
        except (CompilerError, OpenVINOError):
            missing.add(speed)
        if device != 'cpu':
            missing.add(speed)
    return [name for name in names if {*CONTENDERS[name].speed.split(', ')} & missing]


def main() -> None:
    args = parse_args()
    from glean_plus.analysis.benchmark.compare import BenchmarkError, Setting, compare, markdown
    from glean_plus.analysis.benchmark.contenders import CONTENDERS, TASKS
    from glean_plus.analysis.benchmark.plot import plot
    from glean_plus.utils.devices import DeviceError, usable_device

    init_default_scope('mmagic')
    try:
        usable_device(args.device)
    except DeviceError as error:
        sys.exit(f'benchmark: {error}')
    for path in (args.out, args.plot):
        if path is not None and not path.absolute().parent.is_dir():
            sys.exit(f'benchmark: there is no folder {path.absolute().parent} for {path.name}: make it, or choose another.')
    args.only = args.only and [name.replace('bfloat16', 'bf16') for name in args.only]  # as they were named
    known = [name for name, contender in CONTENDERS.items() if contender.task == args.task]
    if unknown := [name for name in args.only or () if name not in known]:
        sys.exit(f'benchmark: there is no contender {unknown[0]!r}; known are {", ".join(map(repr, known))}.')
    if not args.only and (left := left_out(known, args.device)):
        print(f'benchmark: left out, as they need a CPU and a C++ compiler or OpenVINO: {", ".join(left)}', file=sys.stderr)
        known = [name for name in known if name not in left]
    tables, by_size = [], {}
    try:
        for in_size, out_size in args.sizes or [TASKS[args.task]]:
            names = args.only or [name for name in known if out_size == 4 * in_size or '4x' not in name]
            setting = Setting(in_size, out_size, args.batch, args.device, args.threads)
            found, limits = compare(names, setting, args.runs, say=lambda line: print(line, file=sys.stderr))
            by_size[out_size] = found
            tables.append(markdown(setting, found, limits, names[0]))
            print(tables[-1], flush=True)
    except BenchmarkError as error:
        sys.exit(f'benchmark: {error}')
    if args.plot is not None:
        plot(by_size, args.plot)
    if args.out is not None:
        args.out.write_text('\n\n'.join(tables) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
