"""The words of `speed` and `precision`, what `auto` stands for, and that every speed gives what `exact` gives."""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from test_folded import needs_compiler
from test_folded_banks import build, inputs_of, largest_share

from glean_plus import Restorer
from glean_plus.accel import compiler, openvino, speed
from glean_plus.accel.compiler import CompilerError
from glean_plus.accel.openvino import OpenVINOError, OpenVINOGLEAN
from glean_plus.accel.speed import at_speed, check_words, resolve, take_words
from glean_plus.inference.errors import RestoreError

from small_restorers import generator_config, photo, write_checkpoint, write_checkpoints

try:
    openvino.core()
except OpenVINOError as error:
    needs_openvino = pytest.mark.skip(reason=str(error))
else:
    needs_openvino = pytest.mark.usefixtures()
FAST = ['folded', pytest.param('compiled', marks=needs_compiler), pytest.param('openvino', marks=needs_openvino)]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What has been logged once, is logged again."""
    speed._log_once.cache_clear()
    yield


# ---- every speed gives what exact gives

@needs_openvino
@pytest.mark.parametrize(
    ('bank', 'light', 'color', 'given_class'),
    [('StyleGAN1', True, True, False), ('StyleGAN1 official', False, False, False), ('StyleGAN2', False, False, False),
     ('BigGAN', False, False, True), ('BigGAN-deep', True, True, True)],
)  # fmt: skip
@torch.no_grad()
def test_openvino_is_the_model(bank: str, light: bool, color: bool, given_class: bool) -> None:
    """The other speeds are in test_folded_banks.py."""
    model = build(bank, light, color, given_class)
    inputs = inputs_of(model, 2)
    assert largest_share(OpenVINOGLEAN(model)(*inputs), model(*inputs)) < 1e-4


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('speeds')
    classes = dict(
        type='BigGANBank', out_size=32, noise_size=8, num_classes=3, shared_dim=4, attention=[8], rgb=False,
        channels={4: 16, 8: 16, 16: 8, 32: 8},
    )  # fmt: skip
    network = generator_config(False, bank=classes, given_class=True)
    return write_checkpoints(folder) | dict(classes=write_checkpoint(folder / 'classes.pth', network))


@pytest.mark.parametrize('speed', FAST)
@pytest.mark.parametrize(
    ('name', 'mode'),
    [('light', 'direct'), ('light', 'tiles'), ('whole', 'tiles'), ('whole', 'fit'), ('color', 'fit'),
     ('color', 'tiles'), ('classes', 'tiles')],
)  # fmt: skip
def test_results_are_those_of_exact(name: str, mode: str, speed: str, checkpoints: dict[str, Path]) -> None:
    """Of images of odd sides, in batches, as floats that nothing rounds."""
    images = [(photo('chelsea', 37, 50, top) / 255).astype(np.float32) for top in (0, 60, 90)]
    options = dict(mode=mode, device='cpu', batch=2, label=1 if name == 'classes' else None)
    exact, fast = (Restorer(checkpoints[name], speed=each, **options) for each in ('exact', speed))
    for ours, theirs in zip(fast(images), exact(images)):
        assert ours.dtype == np.float32 and np.ptp(theirs) > 0.1
        assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize('speed', FAST)
@pytest.mark.parametrize('name', ['lightglean_twemoji_blind', 'lightglean_photo_4x', 'glean_twemoji_multiclass_4x'])
def test_shipped_models(name: str, speed: str) -> None:
    """Blind restoration, the default model, and a BigGAN."""
    image = (photo('coffee', 35, 46) / 255).astype(np.float32)
    ours, theirs = (Restorer(name, device='cpu', speed=each)(image) for each in (speed, 'exact'))
    assert np.abs(ours - theirs).max() < 1e-4


# ---- words


def test_former_spellings_are_taken_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    for given, wanted in (('folded-bfloat16', ('folded', 'bf16')), ('compiled-bfloat16', ('compiled', 'bf16'))):
        assert check_words(given, 'fp32') == check_words(given, 'bf16') == wanted
        with pytest.raises(ValueError, match='contradicts'):
            check_words(given, 'fp16')
    settings = dict(fold=True, bicubic=True)
    assert take_words(settings) == ('folded', 'fp32') and settings == dict(bicubic=True)
    assert check_words('torch.compile', 'fp32') == ('torch.compile', 'fp32')
    assert take_words(dict(fold=True)) == ('folded', 'fp32')
    assert take_words(dict(speed='auto', precision='bf16')) == ('auto', 'bf16')
    assert [record.getMessage().split(' is deprecated: take ')[1] for record in caplog.records] == [
        "speed='folded' with precision='bf16'.", "speed='compiled' with precision='bf16'.",
        "test_cfg.speed='folded'.", 'another speed, or torch.compile() itself.',
    ]  # fmt: skip


@pytest.mark.parametrize('options', [dict(speed='openvino'), dict(speed='compiled')])
def test_what_cannot_run_here_is_an_error(
    options: dict[str, str], checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is asked for by name."""
    monkeypatch.setattr('glean_plus.accel.openvino.core', Mock(side_effect=OpenVINOError('OpenVINO is not there.')))
    monkeypatch.setattr('glean_plus.accel.kernel.library', Mock(side_effect=CompilerError('The kernel is not there.')))
    with pytest.raises(RestoreError, match=r"not there\. Or take speed='exact'"):
        Restorer(checkpoints['light'], device='cpu', **options)


def test_openvino_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino.core.cache_clear()
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(OpenVINOError, match=r"needs OpenVINO, .*pip install 'glean_plus\[openvino\]'"):
        at_speed(build('StyleGAN2', True, False), 'openvino')
    openvino.core.cache_clear()


def test_what_openvino_cannot_convert_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('openvino')
    network = at_speed(build('StyleGAN2', True, False), 'openvino')
    level = logging.root.level

    def fails(*args: Any, **options: Any) -> None:
        logging.root.setLevel(level + 10)
        raise RuntimeError('no such operation\nand more.')

    monkeypatch.setattr('openvino.convert_model', fails)
    with pytest.raises(OpenVINOError, match="no such operation and more. Take speed='folded'"):
        network(torch.zeros(1, 3, network.in_size, network.in_size))
    assert logging.root.level == level


# ---- auto

@pytest.mark.parametrize('installed', [False, True])
def test_auto(
    installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel where it is built; else it is built in the background, once, and another speed is taken."""
    model, other = build('StyleGAN2', True, False), 'openvino' if installed else 'folded'
    monkeypatch.setattr(openvino, 'is_installed', lambda: installed)
    monkeypatch.setattr(compiler, 'is_built', lambda: True)
    monkeypatch.setattr(compiler, 'library', lambda: None)
    assert resolve(model) == 'compiled' and resolve(torch.nn.Linear(1, 1)) == 'exact' and not caplog.records
    assert resolve(model.to('meta')) == 'folded'
    model = build('StyleGAN2', True, False)
    started = Mock()
    monkeypatch.setattr(compiler, 'is_built', lambda: False)
    monkeypatch.setattr(compiler, 'build_in_background', started)
    assert resolve(model) == resolve(model) == other and started.call_count == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"The compiled kernel is being built in the background; until then speed is '{other}'."
    ]
    caplog.clear()
    monkeypatch.setattr(compiler, 'is_built', Mock(side_effect=CompilerError('No compiler: install one.')))
    assert resolve(model) == resolve(model) == other
    assert [record.getMessage() for record in caplog.records] == [
        f"speed is '{other}', not 'compiled': No compiler: install one."
    ]


def fake_compiler(path: Path, body: str) -> str:
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(os.name != 'posix', reason='its compiler is a shell script')
def test_the_kernel_is_built_in_the_background(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last argument is where the result goes. A compiler that fails is not tried again until it is asked for."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    works = 'for last; do :; done; echo x >> "$XDG_CACHE_HOME/calls"; echo built > "$last"'
    monkeypatch.setenv('CXX', fake_compiler(tmp_path / 'works', works))
    assert not compiler.is_built()
    before = len(compiler._builds)
    for _ in range(3):  # while it is built, no other is started
        compiler.build_in_background()
    compiler._builds[-1].wait(60)
    compiler.build_in_background()  # nor where it has been built since is_built() was asked
    assert len(compiler._builds) == before + 1
    assert compiler.is_built() and compiler.kernel_path().read_text() == 'built\n'
    assert (tmp_path / 'calls').read_text() == 'x\nx\n'  # compiled and linked
    assert {path.suffix for path in (tmp_path / 'glean_plus').iterdir()} == {'.so'}

    monkeypatch.setenv('CXX', fake_compiler(tmp_path / 'fails', 'echo no space >&2; exit 3'))
    assert not compiler.is_built()
    compiler.build_in_background()
    compiler._builds[-1].wait(60)
    with pytest.raises(CompilerError, match=r'ended with 3:\nno space'):
        compiler.is_built()
    building = compiler.kernel_path().with_suffix('.building')
    assert not building.exists()
    started = len(compiler._builds)
    building.touch()
    compiler.build_in_background()
    assert len(compiler._builds) == started
    os.utime(building, (0, time.time() - compiler.PATIENCE - 1))  # left by one that was stopped
    compiler.build_in_background()
    assert len(compiler._builds) == started + 1
    compiler._builds[-1].wait(60)


def test_a_run_by_auto_says_so(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes on with another speed of auto: their results are alike."""
    restorer = Restorer(checkpoints['light'], device='cpu')
    assert restorer.run_facts()['speed'] == 'auto'
    assert restorer.about_facts()['speed'] == restorer.network.speed != 'auto'
    assert Restorer(checkpoints['light'], device='cpu', speed='folded').run_facts()['speed'] == 'folded'
