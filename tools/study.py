"""Compare models under one budget: several seeds, one table with a paired test, and training curves.

    python tools/study.py twemoji_8x --out work_dirs/study_8x --dry-run --measure
    python tools/study.py twemoji_8x --out work_dirs/study_8x --jobs 2
    mim run glean_plus study twemoji_8x --out work_dirs/study_8x

STUDY is a file, or the name of one in configs/studies. The same command after an interruption does what is missing, and
trains again what has been changed. OUT/table.md is the table, OUT/results.json and table.csv the same for programs,
OUT/curves.png the curves. The exit code is 1 if a run failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import glean_plus  # noqa: F401
from glean_plus.analysis.study.definition import Study, StudyError, read_study
from glean_plus.analysis.study.execute import Launch, Progress, carry_out, duration, launch_process, only_one
from glean_plus.analysis.study.report import write_report
from glean_plus.analysis.study.runs import Run, measurements, plan, speeds
from glean_plus.cli.tools import Overrides
from glean_plus.utils.terminal import Parser
from glean_plus.utils.text import printable

STUDIES = Path(__file__).resolve().parents[1] / 'configs' / 'studies'


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE',
                        help='override keys of every config, e.g. train_dataloader.num_workers=0')
    args = parser.parse_args(arguments)
    for name in ('jobs', 'threads'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} must be 1 or more, but is {getattr(args, name)}')
    return args


def study_file(given: str) -> Path:
    """A path, or the name of a study of ours."""
    candidates = [Path(given), STUDIES / given, STUDIES / f'{given}.py']
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        known = ', '.join(sorted(path.stem for path in STUDIES.glob('*_*.py')))
        raise StudyError(f'There is no study {given}, neither as a file nor among ours: {known}.')
    return found.resolve()


def outlook(runs: Sequence[Run], study: Study, jobs: int, speed: dict[str, float]) -> str:
    """What would be done, a line a run, and how long its training steps would take."""
    lines = []
    for run in runs:
        if not run.missing:
            text = 'done'
        else:
            text = f'to do: {" and ".join(run.missing)}' + (', goes on where it was interrupted' if run.begun else '')
            if 'train' in run.missing:
                time = duration(speed[run.row.label] * run.iters) if run.row.label in speed else 'not measured'
                text += f'; {run.iters} iterations, {time}'
        lines.append(f'{run.name}: {text}')
    planned = {run.row.label for run in runs}
    lines += [f'{label}: not measured, and the budget is in seconds' for label in study.rows if label not in planned]
    todo = [run for run in runs if run.missing]
    lines.append(f'{len(todo)} of {len(runs)} runs to do, about {duration(Progress(len(todo), speed, jobs).seconds(todo))}'
                 f' of training steps with --jobs {jobs}; start-up, tests and checkpoints come on top.')  # fmt: skip
    if any(run.row.trained and run.row.label not in speed for run in todo) or len(planned) < len(study.rows):
        lines.append('Rows that are not measured are taken as the mean of the others; --measure measures them.')
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None, launch: Launch = launch_process) -> int:
    args = parse_args(arguments)
    say = lambda line: print(line, flush=True)  # noqa: E731
    try:
        whole = read_study(study_file(args.study))
        whole = whole.select(seeds=args.seeds, budget=args.budget, cfg_options=args.cfg_options)
        if args.reference is not None:
            whole = replace(whole, reference=whole.row(args.reference).label)
        study = whole.select(rows=args.rows)
        plan(study, args.out, speeds(study, args.out))  # what is wrong shows before anything is done
        failed: list[Run] = []
        if args.report:
            say(str(write_report(whole, plan(whole, args.out, speeds(whole, args.out)), args.out)))
            return 0
        if args.dry_run and not args.measure:
            speed = speeds(study, args.out)
            say(outlook(plan(study, args.out, speed), study, args.jobs, speed))
            return 0
        with only_one(args.out):
            if args.measure or study.budget[0] == 'seconds':
                # One at a time: what runs beside it would be measured too. The threads are those of the study.
                todo = [run for run in measurements(study, args.out) if run.missing]
                threads = args.threads or max(1, (os.cpu_count() or 1) // args.jobs)
                if failed := carry_out(todo, Progress(len(todo), {}, 1, say), threads, launch):
                    return 1
            speed = speeds(study, args.out)
            runs = plan(study, args.out, speed)
            if args.dry_run:
                say(outlook(runs, study, args.jobs, speed))
                return 0
            todo = [run for run in runs if run.missing]
            say(f'{len(runs) - len(todo)} of {len(runs)} runs are done.')
            failed = carry_out(todo, Progress(len(todo), speed, args.jobs, say), args.threads, launch)
            say(str(write_report(whole, plan(whole, args.out, speeds(whole, args.out)), args.out)))
    except StudyError as error:
        print(f'study: {printable(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('study: interrupted; the same command goes on.', file=sys.stderr)
        return 130
    if failed:
        print(f'study: {len(failed)} runs failed: {"; ".join(run.name for run in failed)}. The same command tries them '
              'again.', file=sys.stderr)  # fmt: skip
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
