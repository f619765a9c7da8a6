"""What a model is used with: no MMagic, and what stands in its place gives the same numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kornia.color
import mmagic.registry
import numpy as np
import pytest
import torch
from mmagic.datasets.transforms import MATLABLikeResize
from mmagic.models.archs import PixelShufflePack
from mmagic.models.editors.esrgan.rrdb_net import RRDB as MMagicRRDB
from mmengine.registry import DefaultScope
from PIL import Image
from test_video import make_clip
from torch import nn

from glean_plus import Restorer, compat, registry
from glean_plus.cli.main import main
from glean_plus.models.blocks import RRDB, PixelShuffleUp
from glean_plus.models.loading import generator_states
from glean_plus.utils.color import lab_to_rgb, rgb_to_lab
from glean_plus.utils.imresize import matlab_bicubic
from glean_plus.weights import WeightsError

from conftest import ROOT
from small_restorers import photo

# What an environment to use models in has not.
BLOCKED = ('mmagic', 'mmcv', 'mmpretrain', 'diffusers', 'kornia', 'albumentations', 'lpips', 'lmdb')
# Runs what follows without these, as where they are not installed; then no module of them may be there.
WITHOUT = f'''
import importlib.abc, importlib.metadata, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocked())
version = importlib.metadata.version
def installed(name):
    if name.partition('-')[0] in {BLOCKED!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = installed
'''


def without_mmagic(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-W', 'ignore', '-c', WITHOUT + program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize('seed', [0, 1])
def test_blocks_are_mmagic_s(seed: int) -> None:
    """Keys, the weights that a seed starts them with, and what they compute, to the last bit."""
    for ours, theirs, channels in (
        (lambda: RRDB(16, 8), lambda: MMagicRRDB(16, 8), 16),
        (lambda: PixelShuffleUp(6, 5), lambda: PixelShufflePack(6, 5, 2, upsample_kernel=3), 6),
    ):
        torch.manual_seed(seed)
        mine = ours()
        torch.manual_seed(seed)
        other = theirs()
        x = torch.randn(2, channels, 9, 11)
        assert mine.state_dict().keys() == other.state_dict().keys()
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in mine.state_dict().items())
        assert torch.equal(mine(x), other(x))


def test_color_is_kornia_s() -> None:
    """In both directions, near both ends of the straight parts too; gradients are finite at the corners."""
    levels = torch.tensor([0, 0.001, 0.0031, 0.04, 0.0405, 0.2, 0.5, 0.999, 1])
    rgb = torch.cartesian_prod(levels, levels, levels).T.reshape(3, 27, 27)
    lab = rgb_to_lab(rgb)
    assert torch.equal(lab, kornia.color.rgb_to_lab(rgb))
    back = kornia.color.lab_to_rgb(lab, clip=False)
    assert (lab_to_rgb(lab, into_gamut=False) - back).abs().max() < 1e-5
    rgb.requires_grad_()
    rgb_to_lab(rgb).sum().backward()
    assert bool(rgb.grad.isfinite().all())


@pytest.mark.parametrize('scale', [1 / 2, 1 / 4, 1 / 8, 2, 4])
@pytest.mark.parametrize('size', [(64, 48), (37, 53)])
def test_bicubic_of_powers_of_two_is_mmagic_s(scale: float, size: tuple[int, int]) -> None:
    """To the last bit, as data sets are made with it and rounded."""
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    assert torch.equal(matlab_bicubic(image, scale), mmagic_bicubic(image, scale))


@pytest.mark.parametrize('scale', [1 / 3, 0.37, 1.5, 3])
def test_bicubic_of_any_scale_is_mmagic_s(scale: float) -> None:
    """Up to its single precision, sides rounded up."""
    image = torch.randint(0, 256, (3, 37, 53), dtype=torch.uint8)
    ours, theirs = matlab_bicubic(image, scale), mmagic_bicubic(image, scale)
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 2e-2


def mmagic_bicubic(image: torch.Tensor, scale: float) -> torch.Tensor:
    array = MATLABLikeResize(keys=['img'], scale=scale)({'img': image.permute(1, 2, 0).double().numpy()})['img']
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).float().clamp(0, 255)


# ---- without MMagic


def test_commands_give_the_same_without_mmagic(tmp_path: Path) -> None:
    """Images, faces and a video to the last byte, and an exported program."""
    Image.fromarray(photo('chelsea', 33, 26)).save(tmp_path / 'in.png')
    Image.fromarray(photo('astronaut', 160, 160, 30, 150)).save(tmp_path / 'face.png')
    make_clip(tmp_path / 'clip.mp4', frames=3)
    calls = [
        ['restore', 'in.png', 'photo.png', '--model', 'lightglean_photo_4x'],
        ['restore', 'in.png', 'color.png', '--model', 'lightglean_twemoji_color'],
        ['restore', 'in.png', 'class.png', '--model', 'glean_twemoji_multiclass_4x', '--consistent'],
        ['restore', 'face.png', 'faces.png', '--model', 'lightglean_twemoji_4x', '--faces', '--detector', 'mtcnn'],
        ['restore', 'clip.mp4', 'video.mp4', '--model', 'lightglean_twemoji_4x'],
        ['export', 'lightglean_twemoji_4x', 'model.ts', '--size', '16x16'],
    ]  # fmt: skip
    program = f'''
from glean_plus.cli.main import main
for call in {calls!r}:
    try:
        code = main(call)
    except SystemExit as ended:
        code = ended.code
    assert not code, call
assert not [name for name in sys.modules if name.partition('.')[0] in {BLOCKED!r}]
'''
    done = without_mmagic(program, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for call in calls[:-1]:
        assert main([*call[:1], str(tmp_path / call[1]), str(tmp_path / f'with_{call[2]}'), *call[3:]]) == 0
        assert (tmp_path / call[2]).read_bytes() == (tmp_path / f'with_{call[2]}').read_bytes(), call
    given = torch.from_numpy(photo('chelsea', 16, 16)).permute(2, 0, 1)[None] / 255
    exported = torch.jit.load(str(tmp_path / 'model.ts'))(given)
    wanted = Restorer('lightglean_twemoji_4x', device='cpu')(given)
    assert (exported - wanted).abs().max() < 1e-4


def test_what_needs_mmagic_says_what_to_install(tmp_path: Path) -> None:
    """One sentence, whether a tool, a command or a look-up is the first to need it."""
    program = f'''
import runpy
from glean_plus import registry
from glean_plus.cli.main import main
def said(run):
    try:
        print(repr(str(run())))
    except (SystemExit, ImportError) as error:
        print(repr(str(error)))
sys.argv = ['train.py', 'lightglean_twemoji_4x.py']
said(lambda: runpy.run_path({str(ROOT / 'tools' / 'train.py')!r}, run_name='__main__'))
sys.argv = ['test.py', 'lightglean_twemoji_4x.py', 'x.pth']
said(lambda: runpy.run_path({str(ROOT / 'tools' / 'test.py')!r}, run_name='__main__'))
said(lambda: registry.MODELS.get('SRGAN'))
said(lambda: registry.MODELS.get('GLEAN').__name__)
said(lambda: main(['fidelity', 'model', '.', '.']))
'''
    done = without_mmagic(program, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    train, test, look_up, there, command = map(eval, done.stdout.splitlines())
    wanted = ', not installed here: pip install "glean_plus[train]" mmcv-lite'
    needed = 'Training, testing and measuring need mmagic and mmcv'
    assert train.startswith(f'train: {needed}') and test.startswith(f'test: {needed}')
    assert all(wanted in text and '\n' not in text for text in (train, test, look_up))
    assert look_up.startswith("'SRGAN' is none of") and there == 'GLEAN'
    assert command == '2' and wanted in done.stderr and 'Traceback' not in done.stderr


def test_a_restorer_imports_no_mmagic_where_it_is_installed() -> None:
    program = '''
import sys
from glean_plus import Restorer
Restorer('lightglean_photo_4x', device='cpu')
slow = ('mmagic', 'mmcv', 'torchvision', 'kornia', 'scipy', 'mmengine.runner', 'mmengine.model')
print([name for name in slow if name in sys.modules])
'''
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == '[]', done.stderr[-3000:]


# ---- registries


@pytest.mark.parametrize('name', ['MODELS', 'METRICS', 'DATASETS', 'DATA_SAMPLERS', 'TRANSFORMS', 'HOOKS'])
def test_registries_are_one_with_mmagic_s(name: str) -> None:
    """What is registered in either is found in both, by the config's scope, by none and by ours."""
    ours, theirs = getattr(registry, name), getattr(mmagic.registry, name)
    made: dict[str, Any] = {}
    for index, each in enumerate((ours, theirs)):
        made[f'Made{index}'] = type(f'Made{index}', (), {})
        each.register_module(module=made[f'Made{index}'])
    try:
        for key, kind in made.items():
            for look_up in (ours, theirs):
                assert look_up.get(key) is kind
                for scope in ('mmagic', 'glean_plus'):
                    with DefaultScope.overwrite_default_scope(scope):
                        assert type(look_up.build(dict(type=key))) is kind
    finally:
        for key in made:
            del ours.module_dict[key]
    assert [key for key in made if key in theirs.module_dict] == []


def test_mmagic_s_classes_are_found_by_our_registry() -> None:
    assert registry.METRICS.get('PSNR').__module__.startswith('mmagic.')
    assert registry.MODELS.get('glean_plus.GLEANRestorer') is registry.MODELS.get('GLEANRestorer')
    with pytest.raises(KeyError, match='NoSuchModel is not in the'):
        registry.MODELS.build(dict(type='NoSuchModel'))


def test_a_version_of_mmagic_that_cannot_work_does_not_stop_a_restorer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused when MMagic is to be used."""
    found = dict(torch='2.14.1', mmengine='0.10.7', mmcv='2.2.0', mmagic='1.2.0')
    monkeypatch.setattr(compat, '_version', found.get)
    compat.install()
    with pytest.raises(compat.StackError, match=r'mmcv 2\.2\.0 is installed'):
        compat.check_training_stack()
    monkeypatch.setattr(compat, '_version', (found | dict(torch='2.0.0')).get)
    with pytest.raises(compat.StackError, match=r'torch 2\.0\.0 is installed'):
        compat.install()


# ---- tensors of a generator


def test_generator_states_are_those_of_both_networks() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bank, self.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
            self.bank.frozen = True

    network = Network()
    plain = {f'generator.{key}': value for key, value in network.state_dict().items()}
    averages = {'generator_ema.last.weight': torch.ones(1, 2)}
    given, averaged = generator_states(plain | averages, network, 'x.pth', averaged=True)
    assert given.keys() == network.state_dict().keys() and averaged == {'last.weight': averages[next(iter(averages))]}
    # The bank's own average, which MMagic keeps, is left out; and all of it where none is asked for.
    more = averages | {'generator_ema.bank.weight': torch.zeros(2, 2)}
    assert generator_states(plain | more, network, 'x.pth', averaged=True)[1].keys() == {'last.weight'}
    assert generator_states(plain | more, network, 'x.pth', averaged=False)[1] == {}
    network.bank.frozen = False
    with pytest.raises(WeightsError, match=r"x\.pth does not fit this config's moving average: 1 of 2 .* bank\.weight"):
        generator_states(plain | averages, network, 'x.pth', averaged=True)
    with pytest.raises(WeightsError, match="does not fit this config's generator"):
        generator_states({'generator.last.weight': torch.ones(1, 2)}, network, 'x.pth', averaged=False)
