"""The shipped weights do what their cards say: the restorers on the whole held-out set, the bank with classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from conftest import CONFIGS, draw_people, load_tool


@pytest.fixture(scope='module')
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The held-out emoji of the people groups, as `prepare_twemoji` draws them."""
    return draw_people(tmp_path_factory.mktemp('held_out'), {'test': slice(None)})


@pytest.mark.parametrize(
    ('name', 'metrics'),
    [('lightglean_twemoji_4x', ('PSNR', 'SSIM', 'ST-LPIPS-vgg')), ('lightglean_twemoji_8x', ('PSNR', 'SSIM'))],
)
def test_metrics_are_the_card_s(name: str, metrics: tuple[str, ...], held_out: Path, tmp_path: Path) -> None:
    """And 4x beats bicubic in all of them."""
    weights = CONFIGS / 'weights' / f'{name}.safetensors'
    config = Config.fromfile(CONFIGS / f'{name}.py')
    config.work_dir, config.load_from = str(tmp_path), str(weights)
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.test_dataloader.dataset.data_root = str(held_out)
    config.custom_hooks[0].save_predictions = False
    if 'ST-LPIPS-vgg' not in metrics:  # which takes most of the time
        config.test_evaluator.metrics = [each for each in config.test_evaluator.metrics if 'LPIPS' not in each.type]
    config.env_cfg.dist_cfg.backend = 'gloo'
    runner = Runner.from_cfg(config)
    hook = load_tool('test').Metrics()
    runner.register_hook(hook)
    runner.test()
    results = hook.values
    card = json.loads(weights.with_suffix('.json').read_text())
    for metric in metrics:
        for key in (metric, f'bicubic/{metric}'):
            assert results[key] == pytest.approx(card['metrics'][key], rel=2e-3), key
    if name == 'lightglean_twemoji_4x':
        assert results['PSNR'] > results['bicubic/PSNR'] and results['SSIM'] > results['bicubic/SSIM']
        assert results['ST-LPIPS-vgg'] < results['bicubic/ST-LPIPS-vgg']


@torch.no_grad()
def test_class_conditional_bank_draws_its_classes() -> None:
    """As its config builds it: emoji on white, which differ by noise and by class."""
    config = Config.fromfile(CONFIGS / 'biggan_twemoji_64px.py')
    weights = CONFIGS / 'weights' / 'biggan_twemoji_64px.safetensors'
    pretrained = dict(checkpoint=str(weights), prefix='generator_ema')
    bank = MODELS.build(config.model.generator.to_dict() | dict(pretrained=pretrained))
    bank.init_weights()
    bank.freeze()
    discriminator = MODELS.build(
        config.model.discriminator.to_dict() | dict(num_classes=9, pretrained=dict(pretrained, prefix='discriminator'))
    )
    discriminator.init_weights()
    discriminator.eval()

    classes = torch.arange(9).repeat_interleave(16)
    noise = torch.randn(len(classes), bank.noise_size, generator=torch.Generator().manual_seed(0))
    pictures = bank(noise, label=classes)
    assert pictures.shape == (144, 3, 64, 64) and pictures.abs().max() <= 1
    # A white ground, as Twemoji are drawn on here, and something on it.
    corners = torch.stack([pictures[..., 0, 0], pictures[..., 0, -1], pictures[..., -1, 0], pictures[..., -1, -1]])
    assert corners.mean() > 0.8 and pictures[..., 16:48, 16:48].mean() < 0.6
    # Neither one picture for all noises of a class, nor one for all classes of a noise.
    spread = pictures.unflatten(0, (9, 16)).std(dim=1).mean(dim=(1, 2, 3))
    assert spread.min() > 0.1
    same_noise = bank(noise[:1].expand(9, -1), label=torch.arange(9))
    between = (same_noise[:, None] - same_noise[None]).abs().mean(dim=(2, 3, 4))
    assert between[~torch.eye(9, dtype=torch.bool)].mean() > 0.1
    # The discriminator that was trained with it finds the pictures fitter for their own class than for the next.
    own, other = (discriminator(pictures, label).mean() for label in (classes, (classes + 1) % 9))
    assert own > other
