"""Compare models under one budget: several seeds, one table with a paired test, and training curves.

    glean-plus study twemoji_8x --out work_dirs/study_8x --dry-run --measure
    glean-plus study twemoji_8x --out work_dirs/study_8x --jobs 2
    mim run glean_plus study twemoji_8x --out work_dirs/study_8x

STUDY is a file, or the name of one in configs/studies. The same command after an interruption does what is missing, and
trains again what has been changed. OUT/table.md is the table, OUT/results.json and table.csv the same for programs,
OUT/curves.png the curves. The exit code is 1 if a run failed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import Overrides, add_overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('study', help='study file, or the name of one of ours')
    parser.add_argument('--out', type=Path, required=True, help='folder of everything that it writes')
    parser.add_argument('--rows', nargs='+', metavar='LABEL', help='run these rows only (default: all)')
    parser.add_argument('--seeds', nargs='+', type=int, help="in place of the study's")
    parser.add_argument('--budget', nargs='+', action=Overrides, metavar='KIND=N',
                        help="in place of the study's: iters=N, images=N or seconds=N")
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time (default: %(default)s)')
    parser.add_argument('--threads', type=int, help='of each run (default: the processors, shared out)')
    parser.add_argument('--measure', action='store_true', help='measure the seconds an iteration of each row first')
    parser.add_argument('--dry-run', action='store_true', help='say what would be done and how long it would take')
    parser.add_argument('--report', action='store_true', help='only write the tables and curves of what is done')
    parser.add_argument('--reference', metavar='LABEL', help="the row to compare with, in place of the study's")
    add_overrides(parser, 'override keys of every config, e.g. train_dataloader.num_workers=0')


def run(args: argparse.Namespace) -> int:
    for name in ('jobs', 'threads'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UsageError(f'--{name} must be 1 or more, but is {getattr(args, name)}')
    from glean_plus.analysis.study.definition import read_study, study_file
    from glean_plus.analysis.study.run import conduct

    whole = read_study(study_file(args.study))
    whole = whole.select(seeds=args.seeds, budget=args.budget, cfg_options=args.cfg_options)
    if args.reference is not None:
        whole = replace(whole, reference=whole.row(args.reference).label)
    failed = conduct(
        whole, whole.select(rows=args.rows), args.out, args.jobs, args.threads, measure=args.measure, dry_run=args.dry_run,
        report=args.report,
    )  # fmt: skip
    if failed:
        print(f'study: {len(failed)} runs failed: {"; ".join(run.name for run in failed)}. The same command tries them '
              'again.', file=sys.stderr)  # fmt: skip
    return int(bool(failed))
