"""Imports point one way, and only what trains or measures imports MMagic: read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import glean_plus
from glean_plus.compat import TRAINING_PACKAGES

PACKAGE = Path(glean_plus.__file__).parent
# From the lowest; folders of one line do not import each other.
LAYERS = (
    ('utils',),
    ('weights', 'prepare'),
    ('models', 'pretrained'),
    ('accel',),
    ('datasets', 'losses', 'metrics', 'inference'),
    ('training', 'export'),
    ('analysis', 'web'),
    ('cli',),
)
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}
LOOSE = {'__init__', '__main__', 'compat', 'registry', 'version'}
# Where MMagic and its packages are imported; in functions alone, where so marked.
TRAINING_FOLDERS = {'training', 'datasets', 'losses', 'metrics'}
MMAGIC_S_OWN_MODELS = {'analysis/benchmark/contenders.py', 'analysis/benchmark/training.py'}
IN_FUNCTIONS = {
    'pretrained/features.py', 'pretrained/identity.py', 'pretrained/inception.py', 'pretrained/perceptual.py',
    'prepare/decode.py', 'prepare/readers/lsun.py',
}


def imports() -> Iterator[tuple[str, str, bool]]:
    """File below the package, full name of what it imports, and whether that is in a function."""
    for path in sorted(PACKAGE.rglob('*.py')):
        if '.mim' in path.parts:
            continue
        tree = ast.parse(path.read_text())
        inner = {
            id(node) for function in ast.walk(tree) if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
            for node in ast.walk(function)
        }  # fmt: skip
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f'{path}: a relative import'
                names = [f'{node.module}.{each.name}' for each in node.names]
            for name in names:
                yield path.relative_to(PACKAGE).as_posix(), name, id(node) in inner


def test_every_folder_has_its_layer_and_few_modules_are_loose() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob('*.py'))}
    assert folders == RANK.keys()
    loose = {path.stem for path in PACKAGE.glob('*.py')}
    assert loose <= LOOSE | {'errors'} and len(loose) <= 6


def test_imports_point_down() -> None:
    """So there are no cycles between folders either; imports in functions count, too."""
    wrong = []
    for file, name, _ in imports():
        own, (package, _, below) = file.split('/')[0], name.partition('.')
        target = below.split('.')[0]
        if package == 'glean_plus' and own in RANK and target in RANK and own != target and RANK[target] >= RANK[own]:
            wrong.append(f'{file} imports {name}')
    assert wrong == []


def test_mmagic_is_imported_where_it_is_needed_alone() -> None:
    wrong = []
    for file, name, in_function in imports():
        if name.partition('.')[0] in (*TRAINING_PACKAGES, 'diffusers', 'mmdet'):
            allowed = file.split('/')[0] in TRAINING_FOLDERS or file in MMAGIC_S_OWN_MODELS
            if not (allowed or (in_function and file in IN_FUNCTIONS)):
                wrong.append(f'{file} imports {name}')
    assert wrong == []
