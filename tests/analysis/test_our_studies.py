"""The studies of configs/studies: every row can be carried out, from the sources and from an installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mim.utils import recursively_find
from mmagic.registry import MODELS

import glean_plus
from glean_plus.analysis.study.definition import read_study, study_file
from glean_plus.analysis.study.runs import plan

from conftest import CONFIGS, ROOT, Valueless, cost_of, load_tool

STUDIES = CONFIGS / 'studies'


# Side of the inputs, and where LightGLEAN's bank starts in rows that do not say.
OURS = {
    'twemoji_4x': (16, 16), 'twemoji_8x': (8, 8), 'twemoji_8x_rates': (8, 16), 'twemoji_multiclass_4x': (16, 16),
    'twemoji_color': (64, 8),
}  # fmt: skip


@pytest.mark.parametrize('name', OURS)
def test_our_studies_can_be_carried_out(name: str, tmp_path: Path) -> None:
    """Every row builds; all have one discriminator, data and losses; the random banks are those that should be."""
    in_size, light_start = OURS[name]
    whole = read_study(STUDIES / f'{name}.py')
    runs = [run for run in plan(whole, tmp_path) if run.seed == 0]
    assert [run.row.label for run in runs] == list(whole.rows)
    sizes = {}
    for run in runs:
        model = run.config['model']
        with torch.device('meta'), Valueless():
            generator = MODELS.build(model['generator'])
        cost = cost_of(model['generator'])  # a test's last step: it must not fail behind a long training
        sizes[run.row.label] = sum(cost.kept.values())
        assert cost.trained == sum(p.numel() for p in generator.parameters() if p.requires_grad), run.name
        assert (generator.in_size, generator.out_size) == (in_size, 64)
        critic = model['discriminator'].get('pretrained')
        assert critic is None if name == 'twemoji_color' else Path(critic['checkpoint']).is_file()
        bank = model['generator'].get('bank', {})
        if bank:
            assert (bank['pretrained'] is None) == ('random' in run.row.label), run.name
            assert generator.bank.frozen == ('fine-tuned' not in run.row.label), run.name
            light = run.row.label.startswith('LightGLEAN')
            start = re.search(r'from (\d+)', run.row.label)
            expected = int(start.group(1)) if start else light_start if light else 4
            assert generator.bank.start_res == expected, run.name
    assert {run.seed for run in plan(whole, tmp_path)} == {0, 1, 2}
    if name == 'twemoji_8x_rates':
        assert 0.19 < sizes['LightGLEAN, a fifth, 3e-3'] / sizes['GLEAN, 2e-3'] < 0.22
    else:
        assert sizes.get('LightGLEAN, 1 RRDB', 0) < sizes['LightGLEAN'] < sizes['GLEAN']
    groups = whole.groups or {}
    assert groups['1f477-1f3fb'] == groups['1f477'] != groups['1f46a']


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed, with what mim reads inside."""
    library = tmp_path_factory.mktemp('installed')
    command = [sys.executable, '-W', 'ignore', 'setup.py', '-q', 'build_py', '--build-lib', str(library)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return library / 'glean_plus'


@pytest.mark.parametrize('name', ['twemoji_4x', 'twemoji_8x'])
def test_installed_study_finds_its_files(
    name: str, installed: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glean_plus, '__file__', str(installed / '__init__.py'))
    tool = load_tool('study', installed / '.mim' / 'tools')
    assert tool.main([name, '--out', str(tmp_path), '--dry-run']) == 0
    assert 'GLEAN, seed 2: to do: train and test' in capsys.readouterr().out
    study = read_study(study_file(name))
    assert (study.groups or {})['1f477-1f3fb'] == '1f477'
    for run in plan(study, tmp_path):
        weights = Path(run.config['model']['discriminator']['pretrained']['checkpoint'])
        for path in (run.row.config, weights):
            assert path.is_file() and installed in path.parents, path


def test_mim_finds_one_file_of_each_name(installed: Path) -> None:
    """It looks for a config by its base name in the whole package, and for a tool in tools/."""
    for path in (*CONFIGS.glob('*.py'), *STUDIES.glob('*_*.py')):
        found = recursively_find(str(installed), path.name, followlinks=True)
        assert [Path(each).read_text() for each in found] == [path.read_text()], found
    for path in (ROOT / 'tools').glob('*.py'):
        assert len(recursively_find(str(installed / '.mim' / 'tools'), path.name)) == 1, path.name
