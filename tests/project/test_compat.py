"""What the package does about the versions around it."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.config import Config

from glean_plus import compat, registry
from glean_plus.weights.resources import ConfigError, read_config

from conftest import CONFIGS, ROOT

RUN = [sys.executable, '-c']


def test_import_is_quick_quiet_and_offline() -> None:
    """No line printed, MMagic's models not imported, no socket opened."""
    code = (
        'import socket, sys\n'
        'def refuse(*a, **k): raise AssertionError("network")\n'
        'socket.socket.connect = refuse\n'
        'import glean_plus\n'
        'assert "mmagic.models" not in sys.modules and "diffusers" not in sys.modules, "slow import"\n'
    )
    result = subprocess.run([*RUN, code], capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')


def test_registration_is_at_once_where_mmagic_s_models_are_there() -> None:
    """Elsewhere it comes with the first look-up; the block of docs/training/mmagic.md is one, see test_documents.py."""
    late = (
        'from mmagic.registry import MODELS; MODELS.get("SRGAN"); import glean_plus; '
        'print(MODELS.module_dict["GLEANRestorer"].__name__)'
    )
    stand_in = 'import glean_plus.compat as c; c.stand_in_for_mmcv_ops(); '
    result = subprocess.run([*RUN, stand_in + late], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip().endswith('GLEANRestorer'), result.stderr


def test_stand_in_can_be_looked_at_but_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    compat.stand_in_for_mmcv_ops()
    module = sys.modules['mmcv._ext']
    assert isinstance(module, ModuleType) and module.__spec__.name == 'mmcv._ext'
    op = module.nms
    with pytest.raises(NotImplementedError, match='mmcv op `nms` is not compiled'):
        op(1, 2)
    with pytest.raises(AttributeError):
        _ = module.__path__


def test_compiled_ops_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType('mmcv._ext')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', real)
    compat.stand_in_for_mmcv_ops()
    assert sys.modules['mmcv._ext'] is real


@pytest.mark.parametrize(
    ('found', 'named'),
    [
        (dict(mmcv='2.2.0'), r'mmcv 2\.2\.0 is installed; >= 2\.0\.0 and < 2\.2\.0 is wanted'),
        (dict(mmcv=None), 'mmcv is not installed'),
        (dict(torch='1.13.1'), r'torch 1\.13\.1 is installed; >= 2\.1 is wanted'),
        (dict(mmagic='1.0.1', mmengine='1.0.0'), r'mmengine 1\.0\.0 .*mmagic 1\.0\.1'),
    ],
)
def test_stack_that_cannot_work_is_refused(found: dict, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = dict(torch='2.14.1+cpu', mmengine='0.10.7', mmcv='2.1.0', mmagic='1.2.0')
    monkeypatch.setattr(compat, '_version', (good | found).get)
    with pytest.raises(compat.StackError, match=named) as caught:
        compat.check_versions()
    assert 'requirements/default.txt' in str(caught.value)
    monkeypatch.setattr(compat, '_version', good.get)
    compat.check_versions()


@pytest.mark.parametrize(('found', 'wanted', 'enough'), [
    ('2.10.0', '2.4', True), ('2.10.0+cu128', '2.9.1', True), ('2.4', '2.4.0', True), ('2.4.0', '2.4', True),
    ('2.6.0a0+df5bbc09d1.nv24.11', '2.6', True), ('2.0.1.post1', '2.0.1', True),
    ('2.1.2', '2.4', False), ('2.3.1+cpu', '2.10', False), ('0.9.9', '0.10', False),
])  # fmt: skip
def test_versions_are_compared_as_numbers(
    found: str, wanted: str, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2.10 is later than 2.9 and 2.4, and a vendor's build of 2.6 is 2.6."""
    monkeypatch.setattr(torch, '__version__', found)
    assert compat.torch_at_least(wanted) is enough


# ---- `_base_ = 'glean_plus::...'`


@pytest.mark.parametrize('base', [
    'glean_plus::lightglean_twemoji_4x.py', 'glean_plus::lightglean_twemoji_4x',
    'glean_plus::studies/../lightglean_twemoji_4x.py',
])  # fmt: skip
def test_a_config_stands_on_one_of_ours(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder, and what it says is what a path says."""
    folder = tmp_path / "my [1] 100% Ü's"
    folder.mkdir()
    (folder / 'lightglean_twemoji_4x.py').write_text('model = 1\n')  # the package's is meant
    (folder / 'mine.py').write_text(f"_base_ = ['{base}']\ntrain_cfg = dict(max_iters=7)\n")
    monkeypatch.chdir(folder)
    ours, theirs = (Config.fromfile(path).to_dict() for path in ('mine.py', CONFIGS / 'lightglean_twemoji_4x.py'))
    assert ours['train_cfg'].pop('max_iters') == 7 and theirs['train_cfg'].pop('max_iters') == 1000
    assert ours == theirs


def test_a_base_that_is_not_ours_is_named_and_mmagic_s_still_works(tmp_path: Path) -> None:
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = 'glean_plus::lightglean_twemoji_4.py'")
    with pytest.raises(FileNotFoundError, match="'lightglean_twemoji_4.py' in glean_plus; try lightglean_twemoji"):
        Config.fromfile(path)
    with pytest.raises(ConfigError, match='mine.py cannot be read: .*no config .* in glean_plus; try'):
        read_config(path)
    path.write_text("_base_ = 'mmagic::glean/glean_x16_2xb8_cat.py'")
    assert Config.fromfile(path).model.type == 'SRGAN'


def test_a_tool_takes_the_same_name(tmp_path: Path) -> None:
    assert read_config('glean_plus::lightglean_twemoji_4x.py').model.type == 'GLEANRestorer'


def test_the_first_look_up_may_be_in_any_registry() -> None:
    """Each registry that has something of ours knows where to import it from."""
    from mmagic import registry as theirs
    from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS, Registry

    every = [each for each in vars(theirs).values() if isinstance(each, Registry)] + [MODEL_WRAPPERS, OPTIM_WRAPPERS]
    importlib.import_module(registry.EVERYTHING)
    ours = [
        each for each in every
        if any(getattr(found, '__module__', '').startswith('glean_plus.') for found in each.module_dict.values())
    ]  # fmt: skip
    assert len(ours) >= 8
    assert [each.name for each in ours if registry.EVERYTHING not in each._locations] == []
