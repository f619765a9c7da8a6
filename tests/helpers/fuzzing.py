"""Hostile files by their numbers, each opened in a process that is watched: ``python fuzzing.py KIND FIRST LAST``.

A case is made by ``random.Random(f'{kind} {number}')`` alone, so that its number is enough to make it again. The cases
of a kind are forked off together; one that ends its process, or that takes more time or memory than it may, is a
finding, as is any error but the package's own, any code that is run, any process or connection that is begun, and any
file that is written outside of the case's folder.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger

SECONDS, WALL = 10, 120  # of a processor, and of a clock for what waits
MEMORY, A_BYTE, A_PIXEL = 512 << 20, 4, 16  # bytes: of any file, for each byte of it, for each pixel of an image
ADDRESSES = 6 << 30  # bytes that a case may ask for beyond what it had; more is a MemoryError

REFUSED = {
    'os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'os.fork', 'os.forkpty', 'os.startfile', 'subprocess.Popen',
    'pty.spawn', 'socket.connect', 'socket.bind', 'socket.getaddrinfo', 'socket.gethostbyname', 'urllib.Request',
    'pickle.find_class', 'os.kill', 'ctypes.dlopen', 'code.__new__', 'webbrowser.open',
}  # fmt: skip
CHANGES = {
    'os.mkdir': (0,), 'os.rename': (0, 1), 'os.remove': (0,), 'os.rmdir': (0,), 'os.link': (0, 1), 'os.symlink': (1,),
    'os.chmod': (0,), 'os.chown': (0,), 'os.truncate': (0,), 'os.utime': (0,), 'shutil.rmtree': (0,),
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Finding(Exception):
    """What no file may bring about."""


class Watch:
    """Python's own audit of a process: it sees what code, that of C too, opens, writes, imports, compiles and runs."""

    def __init__(self) -> None:
        self.folder: str | None = None  # while a case is at work
        self.seen: list[str] = []
        self.own = (sys.base_prefix, sys.prefix, *(path for path in sys.path if path), '<frozen')
        sys.addaudithook(self.look)

    def look(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in REFUSED:
            self.seen.append(f'{event} {args!r:.200}')
        elif event == 'open' and isinstance(args[0], (str, bytes)) and (args[2] or 0) & WRITES:
            self._write(event, args[0])
        elif event in CHANGES:
            if any(isinstance(each, int) and each >= 0 for each in args[-2:]) and not os.path.isabs(
                os.fsdecode(args[0])
            ):
                return  # `shutil.rmtree` at work below a folder that it has named itself
            for index in CHANGES[event]:
                self._write(event, args[index])
        elif event == 'exec' and not self._is_own(args[0]):
            self.seen.append(f'exec {args[0]!r:.200}')
        elif event == 'import' and 'canary' in str(args[0]):
            self.seen.append(f'import {args[0]}')

    def _write(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        # Of the folder the links are followed, of the name itself not: a link is replaced, not written through.
        folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
        real = os.path.join(os.path.realpath(folder), name)
        if event == 'open':
            real = os.path.realpath(real)
        if real != self.folder and not real.startswith((f'{self.folder}/', '/dev/null')):
            self.seen.append(f'{event} {real}')

    def _is_own(self, code: Any) -> bool:
        """A module that is imported only now, or what ``dataclass`` and ``namedtuple`` generate."""
        caller = os.path.basename(sys._getframe(2).f_code.co_filename)
        generated = code.co_filename == '<string>' and caller in ('dataclasses.py', '__init__.py')
        return code.co_filename.startswith(self.own) or generated


@dataclass(frozen=True)
class Kind:
    """Attributes:
    make: From random numbers and an empty folder -> what is opened.
    use: Opens it, and gives the outcome of each way to do so. Raises what is none of the package's errors.
    pixels: Of what is opened, for a bound of its memory.
    """

    make: Callable[[random.Random, Path], Any]
    use: Callable[[Any, Path], list[str]]
    pixels: Callable[[Any], int] = lambda thing: 0


@dataclass
class Report:
    cases: int = 0
    seconds: float = 0.0
    peak: int = 0  # bytes
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ', '.join(f'{count} {outcome}' for outcome, count in self.outcomes.most_common())
        return f'{self.cases} cases, {self.seconds:.1f} s of processor, peak {self.peak / 2**20:.0f} MB: {counts}'


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob('*') if path.is_file() and not path.is_symlink())


def one(name: str, kind: Kind, number: int, folder: Path, watch: Watch | None = None) -> tuple[list[str], int]:
    """Make a case and open it: the outcomes, and the bytes that it may take."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of PyTorch, about forms of tensors that are on their way out
        thing = kind.make(random.Random(f'{name} {number}'), folder)
    bound = MEMORY + A_BYTE * _bytes_below(folder) + A_PIXEL * kind.pixels(thing)
    if watch is None:
        return kind.use(thing, folder), bound
    watch.folder, watch.seen = os.path.realpath(folder), []
    try:
        outcomes = kind.use(thing, folder)
    finally:
        watch.folder = None
    if watch.seen:
        raise Finding('; '.join(watch.seen))
    return outcomes, bound


def _child(name: str, kind: Kind, numbers: range, root: Path, out: Any, errors: Any) -> None:
    """Open the cases and write a line about each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(errors.fileno(), 2)
    faulthandler.enable(errors)
    torch.set_num_threads(1)
    MMLogger._instance_dict.clear()  # a training of another test left one, which opens its file when it logs
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which end the process, in C, too
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watch, base = Watch(), _memory()
    for number in numbers:
        folder = root / f'{name}_{number}'
        folder.mkdir()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL)
        found, outcomes, bound = '', [], 0
        try:
            outcomes, bound = one(name, kind, number, folder, watch)
        except BaseException as error:  # whatever it is, it is the finding
            found = ''.join(traceback.format_exception(error)[-8:])
        peak = _memory() - base
        if not found and peak > bound:
            found = f'{peak / 2**20:.0f} MB of memory, where {bound / 2**20:.0f} are the bound'
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        shutil.rmtree(folder)
        out.write(json.dumps([number, outcomes, peak, found]) + '\n')
        out.flush()
        if peak > bound > 0:
            break  # the memory of a process only grows: the next case begins in another


def run(name: str, numbers: range, kinds: dict[str, Kind]) -> Report:
    """Open the cases of a kind, in as many processes as they end."""
    report = Report()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as root:
        rest = numbers
        while rest:
            done = 0
            for number, outcomes, peak, found in _lines(name, kinds[name], rest, Path(root), report):
                done += 1
                report.peak = max(report.peak, peak)
                report.outcomes.update(outcomes)
                if found:
                    report.findings.append(f'{name} {number}: {found}')
            report.cases += done
            rest = rest[done:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report.seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return report


def _lines(name: str, kind: Kind, numbers: range, root: Path, report: Report) -> Iterator[tuple[int, list, int, str]]:
    """What a child says of its cases; how it ended, of the one that it does not come back from."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile('w+') as errors:
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                with os.fdopen(writing, 'w') as out:
                    _child(name, kind, numbers, root, out, errors)
            finally:
                os._exit(0)
        os.close(writing)
        last = numbers.start - 1
        with os.fdopen(reading) as lines:
            for line in lines:
                given = json.loads(line)
                last = given[0]
                yield tuple(given)
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        if status:
            ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f'code {status >> 8}'
            what = {'SIGPROF': f'more than {SECONDS} s', 'SIGALRM': f'waits for {WALL} s'}.get(ended, ended)
            shutil.rmtree(root / f'{name}_{last + 1}', ignore_errors=True)
            yield last + 1, [], 0, f'{what} {errors.read()[-2000:]}'


if __name__ == '__main__':
    from hostile_cases import KINDS

    print(run(sys.argv[1], range(int(sys.argv[2]), int(sys.argv[3])), KINDS))
