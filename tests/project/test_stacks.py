"""The stacks: pins within the bounds that the package asks for, CI's targets, and warnings of ours as errors."""

from __future__ import annotations

import configparser
import importlib.util
import re
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from glean_plus.compat import WANTED

from conftest import ROOT, launch

MAKEFILE = (ROOT / 'Makefile').read_text()


def asked() -> list[Requirement]:
    """What setup.cfg asks for, extras included."""
    config = configparser.RawConfigParser()
    config.read(ROOT / 'setup.cfg')
    texts = [config['options']['install_requires'], *config['options.extras_require'].values()]
    lines = [line for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def pins(*names: str) -> dict[str, Version]:
    """What requirements/NAME.txt pin."""
    lines = [line for name in names for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()]
    found = {}
    for line in lines:
        if line and not line.startswith('#') and line != 'setuptools<81':
            wanted = Requirement(line)
            (pin,) = wanted.specifier
            assert pin.operator == '==' and wanted.name.lower() not in found, line
            found[wanted.name.lower()] = Version(pin.version)
    return found


@pytest.mark.parametrize('stack', ['default', 'classic'])
def test_pins_are_within_the_bounds(stack: str) -> None:
    found = pins(stack, 'demo', 'demo-nodeps', 'dev')
    met = [(wanted, found[wanted.name.lower()]) for wanted in asked() if wanted.name.lower() in found]
    assert {'torch', 'mmagic', 'kornia', 'safetensors', 'onnx', 'fastapi'} <= {wanted.name for wanted, _ in met}
    for wanted, pin in met:
        assert pin in wanted.specifier, (wanted, pin)


def test_what_is_installed_is_within_the_bounds() -> None:
    """Also of what comes with the pinned packages, such as Pillow. Ray, which is large, is no part of the stacks."""
    for wanted in asked():
        if wanted.name == 'ray' and importlib.util.find_spec('ray') is None:
            continue
        assert wanted.specifier.contains(metadata.version(wanted.name)), (wanted, metadata.version(wanted.name))


def test_stacks_differ_in_torch_and_mmcv_alone() -> None:
    default, classic = pins('default'), pins('classic')
    assert default.keys() - classic.keys() == {'mmcv-lite'} and classic.keys() <= default.keys()
    assert {name for name, pin in classic.items() if pin != default[name]} == {'torch', 'torchvision'}
    (compiled,) = re.findall(r'mmcv==([\d.]+)', MAKEFILE)
    assert Version(compiled) == default['mmcv-lite']


def test_import_refuses_what_installation_refuses() -> None:
    bounds = {wanted.name: wanted.specifier for wanted in asked()}
    pinned = pins('default')
    for name, (lowest, too_high) in WANTED.items():
        range_ = SpecifierSet(f'>={lowest}' + (f',<{too_high}' if too_high else ''))
        assert pinned[f'{name}-lite' if name == 'mmcv' else name] in range_, name
        if name != 'mmcv':  # setup.cfg leaves the choice between mmcv and mmcv-lite
            assert {(each.operator, Version(each.version)) for each in bounds[name]} == {
                (each.operator, Version(each.version)) for each in range_
            }, name


def test_public_ci_runs_targets_that_there_are() -> None:
    workflow = yaml.safe_load((ROOT / '.github' / 'workflows' / 'ci.yml').read_text())
    assert {'push', 'pull_request'} <= workflow[True].keys()  # YAML 1.1 reads `on` so
    (job,) = workflow['jobs'].values()
    for step in job['steps']:
        assert ('run' in step) != bool(re.fullmatch(r'actions/[\w-]+@v\d+', step.get('uses', ''))), step
    commands = [step['run'] for step in job['steps'] if 'run' in step]
    targets = []
    for row in job['strategy']['matrix']['include']:
        filled = [re.sub(r'\$\{\{ matrix\.(\w+) \}\}', lambda found, row=row: row[found[1]], each) for each in commands]
        assert not any('${{' in each for each in filled)
        targets += [target for each in filled if each.startswith('bash .ci/run ') for target in each.split()[2:]]
    assert {*targets} == {'lint', 'test', 'test-classic'}
    dry = subprocess.run(['make', '-n', *targets], cwd=ROOT, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    (python,) = re.findall(r'^PYTHON \?= python([\d.]+)$', MAKEFILE, re.MULTILINE)
    assert job['container'].startswith(f'python:{python}-')


KINDS = [DeprecationWarning, PendingDeprecationWarning, FutureWarning, UserWarning]
TESTS = [path.stem for path in ROOT.glob('tests/**/*.py')]
OURS = ['glean_plus', 'glean_plus.models.glean', 'tools_train', '__main__', *TESTS]


@pytest.mark.parametrize('kind', KINDS)
def test_warnings_of_ours_are_errors(kind: type[Warning]) -> None:
    for module in OURS:
        with pytest.raises(kind, match='going away'):
            warnings.warn_explicit('going away', kind, 'file.py', 1, module)
    for module in ('torch.nn', 'mmengine.runner', 'not_glean_plus', 'glean_plus_of_others'):
        warnings.warn_explicit('going away', kind, 'file.py', 1, module)


def test_pytorch_s_warnings_about_our_lines_are_errors() -> None:
    for _ in range(2):  # each time, not once a process
        with pytest.raises(UserWarning, match='clone'):
            torch.tensor(torch.ones(2))


@pytest.mark.parametrize(
    ('path', 'ours'),
    [
        (ROOT / 'glean_plus' / 'models' / 'glean.py', True),
        (ROOT / 'tools' / 'train.py', True),
        (ROOT / '.venv' / 'lib' / 'site-packages' / 'glean_plus' / 'cli.py', True),
        (ROOT / '.venv' / 'lib' / 'site-packages' / 'torch' / 'tools' / 'x.py', False),
    ],
)
def test_so_are_those_of_other_processes(path: Path, ours: bool, tmp_path: Path) -> None:
    code = f'import warnings; warnings.warn_explicit("going away", DeprecationWarning, {str(path)!r}, 7)'
    command: list[Any] = [sys.executable, '-c', code]
    if not ours:
        assert 'x.py:7: DeprecationWarning: going away' in launch(command, tmp_path)
        return
    with pytest.raises(AssertionError, match=r'\.py:7: DeprecationWarning: going away'):
        launch(command, tmp_path)
