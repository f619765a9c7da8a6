"""Does the runs that are missing, several at a time, and says how it goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from glean_plus.analysis.study.definition import StudyError
from glean_plus.analysis.study.runs import Run
from glean_plus.utils.files import read_json
from glean_plus.utils.locks import Locked, hold

POLL = 0.5  # seconds
PROGRESS = 60.0  # seconds between two lines on what is going on
LOG_TAIL = 15  # lines of a failed run's log

Say = Callable[[str], None]


Launch = Callable[[Run, int], 'subprocess.Popen[bytes]']


def launch_process(run: Run, threads: int) -> subprocess.Popen[bytes]:
    """Start a run's process, which ends when this one does; what it prints goes to ``log.txt`` in its folder."""
    package = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH')])),
        **{f'{library}_NUM_THREADS': str(threads) for library in ('OMP', 'MKL', 'OPENBLAS')},
        # Without it, cuBLAS has no deterministic algorithms.
        'CUBLAS_WORKSPACE_CONFIG': os.environ.get('CUBLAS_WORKSPACE_CONFIG', ':4096:8'),
    }
    command = [sys.executable, '-m', 'glean_plus.analysis.study.worker', str(run.folder), '--die-with-parent']
    with (run.folder / 'log.txt').open('a') as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment)


class Progress:
    """Prints a line for each thing that happens, and the time that the rest will take.

    Args:
        speed: Seconds an iteration by label, as far as they are known.
    """

    def __init__(self, total: int, speed: Mapping[str, float], jobs: int, say: Say = print) -> None:
        self.total, self.jobs, self.say = total, jobs, say
        self.speed = dict(speed)
        self.done = 0

    def seconds(self, runs: Sequence[Run]) -> float | None:
        """Of the training steps that the runs still need, side by side; None while no speed is known."""
        if not self.speed:
            return None
        typical = sum(self.speed.values()) / len(self.speed)
        left = [(self.speed.get(run.row.label, typical), _iters_left(run)) for run in runs]
        return sum(speed * iters for speed, iters in left) / self.jobs

    def finished(self, run: Run, left: Sequence[Run]) -> None:
        self.done += 1
        text = [f'[{self.done}/{self.total}] {run.name}: done']
        trained = run.trained
        if trained and trained['seconds_per_iter'] is not None:
            self.speed[run.row.label] = trained['seconds_per_iter']
            text.append(f'{trained["iters"]} iterations of {trained["seconds_per_iter"]:.3g} s')
        if tested := run.tested:
            text.append(', '.join(f'{key} {value:.4g}' for key, value in tested['metrics'].items()))
        if left:
            text.append(f'{len(left)} to go, about {duration(self.seconds(left))} of training')
        self.say('; '.join(text))

    def failed(self, run: Run, code: int) -> None:
        self.done += 1
        log = run.folder / 'log.txt'
        tail = log.read_text(errors='replace').splitlines()[-LOG_TAIL:] if log.is_file() else []
        self.say('\n'.join([f'[{self.done}/{self.total}] {run.name}: FAILED with {code}, see {log}', *tail]))

    def going(self, runs: Sequence[Run], left: Sequence[Run]) -> None:
        texts = [f'{run.name}: {_iters_done(run)}/{run.iters}' for run in runs if run.iters]
        self.say(f'  at {", ".join(texts) or "work"}; about {duration(self.seconds([*runs, *left]))} of training to go')


def carry_out(
    runs: Sequence[Run], progress: Progress, threads: int | None = None, launch: Launch = launch_process
) -> list[Run]:
    """Do the runs that are not done, ``progress.jobs`` at a time, in their order.

    Args:
        threads: Of each run; default: the processors, shared out.

    Returns:
        The runs that failed.
    """
    threads = threads or max(1, (os.cpu_count() or 1) // progress.jobs)
    waiting = [run for run in runs if run.missing]
    working: list[tuple[Run, subprocess.Popen[bytes]]] = []
    failed, told = [], time.monotonic()
    try:
        while waiting or working:
            while waiting and len(working) < progress.jobs:
                run = waiting.pop(0)
                begun = run.begun
                if aside := run.prepare():
                    progress.say(f'{run.name}: its training is another one now; the old one is kept in {aside}')
                if begun:
                    progress.say(f'{run.name}: resumes where it was interrupted')
                working.append((run, launch(run, threads)))
            for run, job in [*working]:
                if (code := job.poll()) is None:
                    continue
                working.remove((run, job))
                if code or run.missing:
                    failed.append(run)
                    progress.failed(run, code)
                else:
                    progress.finished(run, [other for other, _ in working] + waiting)
            if working:
                if time.monotonic() - told > PROGRESS:
                    progress.going([run for run, _ in working], waiting)
                    told = time.monotonic()
                time.sleep(POLL)
    finally:
        for _, job in working:
            job.terminate()
        for _, job in working:
            job.wait()
    return failed


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Hold the folder of results for this process; the lock goes with the process, however it ends.

    Raises:
        StudyError: If another one holds it.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        with hold(out / 'study.lock'):
            yield
    except Locked as error:
        text = f'Another study is at work in {out} ({error}): wait for it, or give another --out.'
        raise StudyError(text) from None


def duration(seconds: float | None) -> str:
    """For people."""
    if seconds is None:
        return 'an unknown time'
    if seconds < 120:
        return f'{seconds:.0f} s'
    hours, minutes = divmod(round(seconds / 60), 60)
    return f'{hours} h {minutes:02d} min' if hours else f'{minutes} min'


def _iters_done(run: Run) -> int:
    note = read_json(run.folder / 'progress.json')
    return note['iter'] if note else 0


def _iters_left(run: Run) -> int:
    if 'train' not in run.missing:
        return 0
    return max(0, (run.iters or 0) - (_iters_done(run) if run.begun else 0))
