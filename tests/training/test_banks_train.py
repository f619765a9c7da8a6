"""GLEAN and LightGLEAN on each bank, from a config: trained, with the bank loaded and left alone, and tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmagic.registry import MODELS
from mmengine.config import Config

from glean_plus.weights.formats.layout import published_networks
from glean_plus.weights.torch_files import load_plain

from conftest import CONFIGS, run_tool, shake

CHANNELS = {4: 24, 8: 24, 16: 16, 32: 16, 64: 8}
STYLE = dict(out_size=64, style_channels=16, num_mlps=2, channels=CHANNELS)
CLASSES = dict(out_size=64, num_classes=3, shared_dim=8, channels=CHANNELS, attention=(32,))
SMALL: dict[str, dict[str, Any]] = {
    'StyleGAN1': STYLE, 'StyleGAN2': STYLE, 'BigGAN': CLASSES | dict(noise_size=20),
    'BigGAN-deep': CLASSES | dict(noise_size=8),
}  # fmt: skip


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-trained bank of each kind, as MMagic's trainers save it."""
    folder = tmp_path_factory.mktemp('banks')
    for name, sizes in SMALL.items():
        bank = published_networks()[name](**sizes)
        shake(bank)
        torch.save({f'generator_ema.{key}': value for key, value in bank.state_dict().items()}, folder / f'{name}.pth')
    return {name: folder / f'{name}.pth' for name in SMALL}


def config_on(model: str, name: str, checkpoint: Path, data: Path) -> Config:
    """A Twemoji config with another bank: what a user's config would say."""
    config = Config.fromfile(CONFIGS / f'{model}_twemoji_4x.py')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        config[loader].update(num_workers=0, persistent_workers=False)
        config[loader].dataset.data_root = str(data)
    config.train_dataloader.batch_size = 4
    config.train_cfg.max_iters = 3
    config.default_hooks.checkpoint.interval = 3
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config.pop(key)
    config.test_evaluator.metrics = [dict(type='PSNR')]
    generator = config.model.generator
    generator.bank = dict(
        SMALL[name], type=published_networks()[name].__name__, rgb=False, start_res=generator.bank.get('start_res', 4),
        pretrained=dict(checkpoint=str(checkpoint)))  # fmt: skip
    generator.encoder.num_rrdbs = 1
    config.experiment_name = f'{model}-{name}'
    config.model.perceptual_loss = None  # another test's matter, and most of the time
    config.model.discriminator = dict(type='StyleGAN2BankDiscriminator', in_size=64, channels=CHANNELS)
    return config


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('model', ['glean', 'lightglean'])
def test_a_bank_is_trained_on_for_three_steps_and_tested(
    model: str, name: str, checkpoints: dict[str, Path], tiny_data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = config_on(model, name, checkpoints[name], tiny_data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    config.dump('mine.py')
    run_tool('train', ['mine.py', '--work-dir', 'w'], monkeypatch)
    log = next(Path('w').glob('*/*.log')).read_text()
    assert f'{published_networks()[name].__name__}: all' in log

    trained = load_plain('w/iter_3.pth')
    fresh = MODELS.build(config.model.generator.to_dict())
    fresh.init_weights()
    for key, value in fresh.bank.state_dict().items():
        assert torch.equal(trained['state_dict'][f'generator.bank.{key}'], value), key
    assert int(trained['state_dict']['step_counter']) == 3

    run_tool('test', ['mine.py', 'w/iter_3.pth', '--work-dir', 't', '--out', 'metrics.json'], monkeypatch)
    assert 0 < json.loads(Path('metrics.json').read_text())['PSNR'] < 60
    assert len(list(Path('t/pictures').iterdir())) == 4
