"""Do the tests find small faults? A random sample of mutants of the package's heart: banks, fusion, folding, weights.

    pip install cosmic-ray
    python tests/helpers/mutants.py --number 300 --jobs 2 --out work_dirs/mutants

A mutant differs from the package in one place (cosmic-ray's operators) and has a process and a copy of the package of
its own. First the tests run on the package as it is, with coverage, which tells which of them come by a line and how
long they take: a mutant is judged by those of its part that come by its line, the quickest first, and if it survives
them by all of its part, as a value may be kept from one test to the next. It is dead when one fails, or when they take
five times as long as they should. What differs in an annotation alone is no mutant. The same command goes on after an
interruption. OUT/mutants.json has each with its fate and OUT/survivors.diff what lives.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from coverage import Coverage, CoverageData

ROOT = Path(__file__).resolve().parents[2]
# Part -> its files, and the tests that are to find a fault in them, the quickest first.
PARTS = {
    'banks': (
        ['models/banks/*.py'],
        [
            'models/test_stylegan2_bank',
            'models/test_biggan_bank',
            'models/test_stylegan1_bank',
            'accel/test_folded_banks',
            'weights/test_formats',
        ],
    ),
    'fusion': (
        [f'models/{name}.py' for name in ('glean', 'codes', 'encoder', 'decoder', 'ops', 'heads')],
        [
            'models/test_stylegan2_bank',
            'models/test_glean',
            'models/test_colorization',
            'accel/test_folded',
            'models/test_multiclass',
        ],
    ),
    'folding': (
        ['accel/*.py', 'models/folding.py'],
        [
            'accel/test_work_sizes',
            'accel/test_folded',
            'accel/test_folded_banks',
            'accel/test_compiled',
            'accel/test_compiled_training',
        ],
    ),
    'weights': (
        ['weights/**/*.py'],
        [
            'weights/test_torch_files',
            'weights/test_weights',
            'weights/test_formats',
            'weights/test_fetch',
            'weights/test_hostile_files',
        ],
    ),
}  # fmt: skip
# Too slow for each of hundreds; what they see at this size others see at a smaller one.
SLOW = 'not 256 and not benchmark and not mim and not process'

# A process is forked while no other thread does anything but wait, as it would inherit what that one has locked.
ALONE = threading.Lock()

# Of pytest's exit codes: all passed; some failed; none could be collected.
FATES = {0: 'survived', 1: 'killed', 2: 'killed', 4: 'killed'}


class Mutant(NamedTuple):
    """One place of one file, changed by one operator."""

    part: str
    file: str
    operator: str
    occurrence: int

    @property
    def name(self) -> str:
        return f'{self.file}:{self.operator}:{self.occurrence}'


def every_mutant() -> Iterator[Mutant]:
    """All that cosmic-ray's operators without arguments make of the parts."""
    operators = {name: get_operator(name) for name in sorted(operator_names())}
    for part, (patterns, _) in PARTS.items():
        for path in sorted(path for pattern in patterns for path in (ROOT / 'glean_plus').glob(pattern)):
            nodes = [*ast_nodes(get_ast(path.read_text(encoding='utf-8')))]
            for name, operator in operators.items():
                if operator.arguments():
                    continue
                count = sum(1 for node in nodes for _ in operator().mutation_positions(node))
                for occurrence in range(count):
                    yield Mutant(part, str(path.relative_to(ROOT)), name, occurrence)


class WithoutAnnotations(ast.NodeTransformer):
    """What a module does: annotations are never evaluated in this package."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def does(source: str) -> str:
    return ast.dump(WithoutAnnotations().visit(ast.parse(source)))


def mutated(mutant: Mutant) -> str | None:
    """The file's new text; None if it does the same as before, or is no Python."""
    before = (ROOT / mutant.file).read_text(encoding='utf-8')
    after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
    try:
        return None if after is None or does(after) == does(before) else after
    except SyntaxError:  # such as `{+x}` of `{**x}`
        return None


def sample(number: int, seed: int) -> list[Mutant]:
    mutants = [*every_mutant()]
    random.Random(seed).shuffle(mutants)
    chosen: list[Mutant] = []
    for mutant in mutants:
        if len(chosen) == number:
            break
        if mutated(mutant) is not None:
            chosen.append(mutant)
    return chosen


class Watcher:
    """A pytest plugin: the lines and the seconds of each test, its fixtures included."""

    def __init__(self, folder: Path) -> None:
        package = str(folder / 'glean_plus')
        self.coverage = Coverage(data_file=str(folder / 'lines'), source=[package], config_file=False)
        self.seconds: Counter[str] = Counter()
        self.out = folder / 'seconds.json'

    def pytest_sessionstart(self) -> None:
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.test = nodeid
        self.coverage.switch_context(nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Any:
        """What a fixture of several tests does, each of the module may see."""
        if fixturedef.scope == 'function':
            return (yield)
        self.coverage.switch_context(request.node.nodeid.partition('::')[0])
        try:
            return (yield)
        finally:
            self.coverage.switch_context(self.test)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name in (report.nodeid, report.nodeid.partition('::')[0]):
            self.seconds[name] += report.duration

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        self.out.write_text(json.dumps(self.seconds))


def run_tests(folder: Path, tests: Sequence[str], watched: bool) -> None:
    """In a process of its own: these tests on the package in ``folder``. Its exit code is pytest's."""
    os.setsid()
    with (folder / 'log.txt').open('w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ['PYTHONPATH'] = str(folder)
    sys.path.insert(0, str(folder))
    options = ['-x', '-q', '-k', SLOW, '-p', 'no:cacheprovider', '-p', 'no:xdist', '-p', 'no:cov', f'--rootdir={ROOT}']
    plugins = [Watcher(folder)] if watched else []
    code = pytest.main([*options, f'--basetemp={folder}/temporary', *tests], plugins=plugins)
    sys.stdout.flush()
    os._exit(int(code))


def outcome(folder: Path, tests: Sequence[str], limit: float, watched: bool = False) -> tuple[str, float]:
    """Whether these tests pass on the package in ``folder``, and how long they took."""
    began = time.monotonic()
    process = multiprocessing.get_context('fork').Process(target=run_tests, args=(folder, tests, watched))
    with ALONE:
        process.start()
    process.join(limit)
    late = process.is_alive()
    if late:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    fate = 'timeout' if late else FATES.get(process.exitcode, 'crashed')
    return fate, time.monotonic() - began


class Tests:
    """Which tests of a part come by a line of a file, and what they take."""

    def __init__(self, part: str, folder: Path) -> None:
        self.all = [str(ROOT / 'tests' / f'{name}.py') for name in PARTS[part][1]]
        self.fate, self.total = outcome(folder, self.all, 3600, watched=True)
        if self.fate != 'survived':
            raise SystemExit(f'{part}: {self.fate} as it is:\n{(folder / "log.txt").read_text()[-3000:]}')
        with ALONE:
            self.seconds: dict[str, float] = json.loads((folder / 'seconds.json').read_text())
            data = CoverageData(str(folder / 'lines'))
            data.read()
            self.by_line = {
                str(Path(file).relative_to(folder)): data.contexts_by_lineno(file) for file in data.measured_files()
            }

    def of(self, file: str, lines: range) -> tuple[list[str], float]:
        """The tests of a mutant of these lines, the quickest first, and what they take together."""
        by_line = self.by_line.get(file, {})
        contexts = {context for line in lines for context in by_line.get(line, ())}
        if '' in contexts:
            return self.all, self.total
        chosen = sorted(contexts, key=self.seconds.__getitem__)
        return [str(ROOT / name) for name in chosen], sum(map(self.seconds.__getitem__, chosen))


def changed_lines(before: str, after: str) -> range:
    """The lines, from 1 on, of the statement in which a mutant differs; of a block's head, without the block."""
    old, new = before.splitlines(), after.splitlines()
    line = 1 + next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)) - 1)
    spans = []
    for node in ast.walk(ast.parse(before)):
        if isinstance(node, ast.stmt | ast.excepthandler):
            body = getattr(node, 'body', None)
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
            first = min([node.lineno, *(item.lineno for item in getattr(node, 'decorator_list', ()))])
            if first <= line <= last:
                spans.append(range(first, last + 1))
    return min(spans, key=len, default=range(line, line + 1))


def judge(mutant: Mutant, folder: Path, tests: Tests) -> dict[str, Any]:
    """A mutant's fate, in a folder with a whole copy of the package."""
    with ALONE:
        target, new = folder / mutant.file, mutated(mutant)
        before = target.read_text(encoding='utf-8')
        chosen, expected = tests.of(mutant.file, changed_lines(before, new))
        target.write_text(new, encoding='utf-8')
    try:
        fate, seconds = outcome(folder, chosen, 5 * expected + 60) if chosen else ('survived', 0.0)
        if fate == 'survived':
            fate, seconds = outcome(folder, tests.all, 5 * tests.total + 60)
    finally:
        with ALONE:
            target.write_text(before, encoding='utf-8')
    diff = difflib.unified_diff(before.splitlines(), new.splitlines(), mutant.file, mutant.name, n=2, lineterm='')
    return dict(mutant._asdict(), fate=fate, tests=len(chosen), seconds=round(seconds, 1), diff='\n'.join(diff))


def preload() -> None:
    """What takes seconds to import, and is not mutated: each process inherits it."""
    import albumentations  # noqa: F401
    import diffusers  # noqa: F401
    import lpips  # noqa: F401
    import mmengine.runner  # noqa: F401
    import mmpretrain  # noqa: F401
    import torchvision  # noqa: F401


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/mutants'))
    parser.add_argument('--number', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=2)
    args = parser.parse_args(arguments)
    os.environ['OMP_NUM_THREADS'] = '1'
    sys.dont_write_bytecode = True
    preload()
    args.out.mkdir(parents=True, exist_ok=True)
    result = args.out / 'mutants.json'
    done = {(record['file'], record['operator'], record['occurrence']): record
            for record in (json.loads(result.read_text()) if result.is_file() else [])}  # fmt: skip

    folders: SimpleQueue[Path] = SimpleQueue()
    for index in range(args.jobs):
        folder = (args.out / f'copy_{index}').resolve()
        shutil.rmtree(folder, ignore_errors=True)
        for name in ('glean_plus', 'configs', 'tools'):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
        folders.put(folder)

    def as_it_is(part: str) -> Tests:
        folder = folders.get()
        try:
            tests = Tests(part, folder)
        finally:
            folders.put(folder)
        print(f'{part}: passes as it is in {tests.total:.0f} s', flush=True)
        return tests

    with ThreadPoolExecutor(args.jobs) as pool:
        tests = dict(zip(PARTS, pool.map(as_it_is, PARTS)))

    def one(mutant: Mutant) -> dict[str, Any]:
        folder = folders.get()
        try:
            return judge(mutant, folder, tests[mutant.part])
        finally:
            folders.put(folder)

    chosen = sample(args.number, args.seed)
    todo = [mutant for mutant in chosen if mutant[1:] not in done]
    with ThreadPoolExecutor(args.jobs) as pool:
        for record in pool.map(one, todo):
            with ALONE:
                done[record['file'], record['operator'], record['occurrence']] = record
                number = f'[{len(done)}/{len(chosen)}]'
                print(number, record['fate'], record['file'], record['seconds'], 's', flush=True)
                result.write_text(json.dumps([*done.values()], indent=1))
    records = [done[mutant[1:]] for mutant in chosen]
    (args.out / 'survivors.diff').write_text('\n\n'.join(r['diff'] for r in records if r['fate'] == 'survived') + '\n')
    for part in (*PARTS, 'all'):
        fates = Counter(record['fate'] for record in records if part in (record['part'], 'all'))
        dead = sum(fates.values()) - fates['survived']
        print(f'{part}: {dead} of {sum(fates.values())} die ({dead / max(sum(fates.values()), 1):.0%}): {dict(fates)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
