"""A study from its beginning, or from where it was interrupted, to its tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from glean_plus.analysis.study.definition import Study
from glean_plus.analysis.study.execute import Progress, carry_out, duration, launch_process, only_one
from glean_plus.analysis.study.report import write_report
from glean_plus.analysis.study.runs import Run, measurements, plan, speeds

say = partial(print, flush=True)


def outlook(runs: Sequence[Run], study: Study, jobs: int, speed: dict[str, float]) -> str:
    """The work that is left, a line a run, and how long its training steps would take."""
    lines = []
    for run in runs:
        if not run.missing:
            text = 'done'
        else:
            text = f'to do: {" and ".join(run.missing)}' + (', resumes where it was interrupted' if run.begun else '')
            if 'train' in run.missing and run.iters is not None:
                time = duration(speed[run.row.label] * run.iters) if run.row.label in speed else 'not measured'
                text += f'; {run.iters} iterations, {time}'
        lines.append(f'{run.name}: {text}')
    planned = {run.row.label for run in runs}
    lines += [f'{label}: not measured, and the budget is in seconds' for label in study.rows if label not in planned]
    todo = [run for run in runs if run.missing]
    time = duration(Progress(len(todo), speed, jobs).seconds(todo))
    lines.append(f'{len(todo)} of {len(runs)} runs to do, about {time} of training steps with --jobs {jobs}; '
                 'start-up, tests and checkpoints come on top.')  # fmt: skip
    if any(run.row.trained and run.row.label not in speed for run in todo) or len(planned) < len(study.rows):
        lines.append('Rows that are not measured are taken as the mean of the others; --measure measures them.')
    return '\n'.join(lines)


def conduct(
    whole: Study,
    study: Study,
    out: Path,
    jobs: int = 1,
    threads: int | None = None,
    *,
    measure: bool = False,
    dry_run: bool = False,
    report: bool = False,
) -> Sequence[Run]:
    """Do what is missing of a study, and write its tables; the runs that failed.

    Args:
        whole: The study, which the tables are of.
        study: The rows of it to run.
        threads: Of each run; None shares out the processors.
        dry_run: Only say what would be done and how long it would take.
        report: Only write the tables and curves of what is done.

    Raises:
        StudyError: If the study does not fit what is in ``out``, or another process is at work there.
    """
    plan(study, out, speeds(study, out))  # what is wrong shows before anything is done
    if report:
        say(write_report(whole, plan(whole, out, speeds(whole, out)), out))
        return []
    if dry_run and not measure:
        speed = speeds(study, out)
        say(outlook(plan(study, out, speed), study, jobs, speed))
        return []
    with only_one(out):
        if measure or study.budget[0] == 'seconds':
            # One at a time: what runs beside it would be measured too. The threads are those of the study.
            todo = [run for run in measurements(study, out) if run.missing]
            shared = threads or max(1, (os.cpu_count() or 1) // jobs)
            if failed := carry_out(todo, Progress(len(todo), {}, 1, say), shared, launch_process):
                return failed
        speed = speeds(study, out)
        runs = plan(study, out, speed)
        if dry_run:
            say(outlook(runs, study, jobs, speed))
            return []
        todo = [run for run in runs if run.missing]
        say(f'{len(runs) - len(todo)} of {len(runs)} runs are done.')
        failed = carry_out(todo, Progress(len(todo), speed, jobs, say), threads, launch_process)
        say(write_report(whole, plan(whole, out, speeds(whole, out)), out))
    return failed
