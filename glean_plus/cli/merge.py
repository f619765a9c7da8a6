"""Join the reports that the shards of one run wrote with --json or --records, and check that none is missing.

    glean-plus restore photos out --shard 1/2 --json 1.json
    glean-plus restore photos out --shard 2/2 --json 2.json
    glean-plus merge 1.json 2.json --out all.json

The exit code is 1 where images failed, as that of `restore`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from glean_plus.cli.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('reports', type=Path, nargs='+', metavar='REPORT',
                        help='of each shard, in any order: NAME.json, or records, NAME.jsonl')
    parser.add_argument('--out', type=Path, metavar='FILE', help='where to write (default: the standard output)')


def run(args: argparse.Namespace) -> int:
    from glean_plus.inference.reports import json_report, merge, read_report, save_report

    if args.out in args.reports:
        raise UsageError(f'--out is {args.out}, one of the reports')
    merged = merge({path: read_report(path) for path in args.reports})
    if args.out is None:
        for part in json_report(merged.content, merged.sorted()):
            print(part.decode(), end='')
    else:
        save_report(merged.content, merged.sorted(), args.out)
    counts = ', '.join(f'{merged.states[state]} {state}' for state in ('restored', 'there', 'failed'))
    print(f'{len(args.reports)} reports: {counts}', file=sys.stderr)
    return 1 if merged.states['failed'] else 0
