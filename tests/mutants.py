"""Do the tests find small faults? A random sample of mutants of the package's heart: banks, fusion, folding, weights.

    pip install cosmic-ray
    python tests/mutants.py --number 300 --jobs 2 --out work_dirs/mutants

A mutant differs from the package in one place (cosmic-ray's operators) and has a process and a copy of the package of
its own; it is dead when one of its part's tests fails, or when they take five times as long as they should. What
differs in an annotation alone is no mutant. The same command goes on after an interruption. OUT/mutants.json has each
with its fate and OUT/survivors.diff what lives.
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
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[1]
# Part -> its files, and the tests that are to find a fault in them, the quickest first.
PARTS = {
    'banks': (
        ['models/banks/*.py'],
        ['test_bank', 'test_bank_biggan', 'test_bank_stylegan1', 'test_folded_banks', 'test_formats'],
    ),
    'fusion': (
        [f'models/{name}.py' for name in ('glean', 'codes', 'encoder', 'decoder', 'ops', 'heads')],
        ['test_bank', 'test_glean', 'test_colorization', 'test_folded', 'test_multiclass'],
    ),
    'folding': (['inference/*.py'], ['test_folded', 'test_folded_banks', 'test_compiled', 'test_trained']),
    'weights': (['weights/**/*.py'], ['test_weights', 'test_formats', 'test_fetch']),
}  # fmt: skip
# Too slow for each of hundreds; what they see at this size others see at a smaller one.
SLOW = 'not 256 and not benchmark and not mim'

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
    """The file's new text; None if it does the same as before."""
    before = (ROOT / mutant.file).read_text(encoding='utf-8')
    after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
    return None if after is None or does(after) == does(before) else after


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


def run_tests(folder: Path, part: str, log: Path) -> None:
    """In a process of its own: the part's tests on the package in ``folder``. Its exit code is pytest's."""
    os.setsid()
    with log.open('w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ['PYTHONPATH'] = str(folder)
    sys.path.insert(0, str(folder))
    import pytest

    tests = [str(ROOT / 'tests' / f'{name}.py') for name in PARTS[part][1]]
    options = ['-x', '-q', '-k', SLOW, '-p', 'no:cacheprovider', '-p', 'no:xdist', f'--rootdir={ROOT}']
    code = pytest.main([*options, f'--basetemp={folder}/temporary', *tests])
    sys.stdout.flush()
    os._exit(int(code))


def outcome(folder: Path, part: str, limit: float) -> tuple[str, float]:
    """Whether the part's tests pass on the package in ``folder``, and how long they took."""
    began = time.monotonic()
    process = multiprocessing.get_context('fork').Process(target=run_tests, args=(folder, part, folder / 'log.txt'))
    process.start()
    process.join(limit)
    late = process.is_alive()
    if late:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    fate = 'timeout' if late else FATES.get(process.exitcode, 'crashed')
    return fate, time.monotonic() - began


def judge(mutant: Mutant, folder: Path, limit: float) -> dict[str, Any]:
    """A mutant's fate, in a folder with a whole copy of the package."""
    target, new = folder / mutant.file, mutated(mutant)
    before = target.read_text(encoding='utf-8')
    try:
        target.write_text(new, encoding='utf-8')
        fate, seconds = outcome(folder, mutant.part, limit)
    finally:
        target.write_text(before, encoding='utf-8')
    diff = difflib.unified_diff(before.splitlines(), new.splitlines(), mutant.file, mutant.name, n=2, lineterm='')
    return dict(mutant._asdict(), fate=fate, seconds=round(seconds, 1), diff='\n'.join(diff))


def preload() -> None:
    """What takes seconds to import, and is not mutated: each process inherits it."""
    import albumentations  # noqa: F401
    import diffusers  # noqa: F401
    import lpips  # noqa: F401
    import mmengine.runner  # noqa: F401
    import mmpretrain  # noqa: F401
    import pytest  # noqa: F401
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
    limits = {}
    first = folders.get()
    for part in PARTS:
        fate, seconds = outcome(first, part, 3600)
        print(f'{part}: {fate} as it is, {seconds:.0f} s', flush=True)
        if fate != 'survived':
            print((first / 'log.txt').read_text()[-3000:])
            return 1
        limits[part] = 5 * seconds + 60
    folders.put(first)

    def one(mutant: Mutant) -> dict[str, Any]:
        folder = folders.get()
        try:
            return judge(mutant, folder, limits[mutant.part])
        finally:
            folders.put(folder)

    chosen = sample(args.number, args.seed)
    todo = [mutant for mutant in chosen if mutant[1:] not in done]
    with ThreadPoolExecutor(args.jobs) as pool:
        for record in pool.map(one, todo):
            done[record['file'], record['operator'], record['occurrence']] = record
            print(f'[{len(done)}/{len(chosen)}] {record["fate"]} {record["file"]} {record["seconds"]} s', flush=True)
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
