"""Print parameters and FLOPs of configs, beside the paper's Tables 1 and 5 where those have them.

    glean-plus complexity configs/glean_face_16x.py configs/lightglean_face_16x.py --in-size 64
    glean-plus complexity configs/*_16x.py --table

The exit code is 1 if a model that the paper has (64 -> 1024) is outside its tolerance.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('configs', nargs='+', type=Path, help='paths or names')
    parser.add_argument('--in-size', type=int, help='refuse configs of another input size')
    parser.add_argument('--table', action='store_true', help='one line a config, as a Markdown table')


def run(args: argparse.Namespace) -> int:
    from glean_plus.analysis.complexity_tables import tabulate

    lines, missed = tabulate(args.configs, args.in_size, summary=args.table)
    print('\n'.join(lines))
    for each in missed:
        print(f'MISSED: {each}')
    return int(bool(missed))
