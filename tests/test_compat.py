"""What the package does about the versions around it."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from glean_plus import compat

from conftest import ROOT

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
    """Elsewhere it comes with the first look-up; README's block is one, see test_readme.py."""
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


def test_the_first_look_up_may_be_in_any_registry() -> None:
    """Each registry that has something of ours knows where to import it from."""
    from mmagic import registry
    from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS, Registry

    every = [each for each in vars(registry).values() if isinstance(each, Registry)] + [MODEL_WRAPPERS, OPTIM_WRAPPERS]
    importlib.import_module(compat.MODULES)
    ours = [
        each for each in every
        if any(getattr(found, '__module__', '').startswith('glean_plus.') for found in each.module_dict.values())
    ]  # fmt: skip
    assert len(ours) >= 8
    assert [each.name for each in ours if compat.MODULES not in each._locations] == []
