"""GLEAN and LightGLEAN on each bank, from a config: trained, with the bank loaded and left alone, and tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from glean_plus.models.banks import BANKS

from conftest import CONFIGS, shake

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
        bank = BANKS[name](**sizes)
        shake(bank)
        torch.save({f'generator_ema.{key}': value for key, value in bank.state_dict().items()}, folder / f'{name}.pth')
    return {name: folder / f'{name}.pth' for name in SMALL}


def config_on(base: Config, name: str, checkpoint: Path) -> Config:
    """A Twemoji config with another bank: what a user's config would say."""
    sizes = dict(SMALL[name], type=BANKS[name].__name__, rgb=False, pretrained=dict(checkpoint=str(checkpoint)))
    generator = base.model.generator
    generator.bank = dict(sizes, start_res=generator.bank.get('start_res', 4))
    generator.encoder.num_rrdbs = 1
    base.model.perceptual_loss = None  # another test's matter, and most of the time
    base.model.discriminator = dict(type='StyleGAN2BankDiscriminator', in_size=64, channels=CHANNELS)
    return base


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('model', ['glean', 'lightglean'])
def test_trains_three_steps_and_tests(
    model: str, name: str, checkpoints: dict[str, Path], tiny_config: Any, tmp_path: Path
) -> None:
    base = tiny_config(f'{model}_twemoji_4x', **{'train_cfg.max_iters': 3, 'default_hooks.checkpoint.interval': 3})
    base.test_evaluator.metrics = [dict(type='PSNR')]
    config = config_on(base, name, checkpoints[name])
    config.experiment_name = f'{model}-{name}'
    runner = Runner.from_cfg(config)
    runner.train()
    bank = runner.model.generator.bank
    fresh = MODELS.build(config.model.generator.to_dict()).bank
    fresh.init_weights()
    for key, value in fresh.state_dict().items():
        assert torch.equal(bank.state_dict()[key], value), key
    runner.test()
    assert len(list((tmp_path / 'work' / 'pictures').iterdir())) == 4


def test_mim_trains_and_tests_on_a_bank_of_a_user_s_config(
    checkpoints: dict[str, Path], tiny_data: Path, tmp_path: Path
) -> None:
    from test_training import BIN, SHORT, launch

    config = config_on(Config.fromfile(CONFIGS / 'lightglean_twemoji_4x.py'), 'BigGAN-deep', checkpoints['BigGAN-deep'])
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        config[loader].dataset.data_root = str(tiny_data)
    config.test_evaluator.metrics = [dict(type='PSNR')]
    config.dump(tmp_path / 'my_lightglean.py')
    output = launch([str(BIN / 'mim'), 'train', 'glean_plus', 'my_lightglean.py', '--work-dir', 'w', *SHORT], tmp_path)
    assert 'Training finished successfully' in output and 'BigGANDeepBank: all' in output
    command = [str(BIN / 'mim'), 'test', 'glean_plus', 'my_lightglean.py', '--checkpoint', 'w/iter_4.pth']
    assert 'PSNR' in launch([*command, '--work-dir', 't'], tmp_path)
