"""The shipped restorers on the whole held-out set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
