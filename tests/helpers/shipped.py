"""Tests of the shipped weights as `mim test` runs them, on a few images or on all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from glean_plus.training.launch import Metrics

from conftest import CONFIGS


def run_test(
    name: str,
    data_root: Path,
    work_dir: Path,
    metric: Callable[[str], bool] = lambda kind: True,
    indices: Sequence[int] | None = None,
) -> dict[str, float]:
    """Metrics of a shipped restorer: those whose type ``metric`` takes, on the images of ``indices`` or on all.

    At the fastest speed, whose results are the exact ones up to rounding.
    """
    config = Config.fromfile(CONFIGS / f'{name}.py')
    config.work_dir, config.load_from = str(work_dir), str(CONFIGS / 'weights' / f'{name}.safetensors')
    loader = config.test_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.data_root = str(data_root)
    if indices is not None:
        loader.dataset.indices = [*indices]
    config.test_evaluator.metrics = [each for each in config.test_evaluator.metrics if metric(each.type)]
    config.merge_from_dict({'model.test_cfg.speed': 'auto'})
    config.custom_hooks[0].save_predictions = False
    config.env_cfg.dist_cfg.backend = 'gloo'
    runner = Runner.from_cfg(config)
    hook = Metrics()
    runner.register_hook(hook)
    runner.test()
    return hook.values


def metrics_as_the_card(name: str, data_root: Path, work_dir: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics on the images of a card's samples, which are as the card says, and the card's own of its whole test."""
    card = json.loads((CONFIGS / 'weights' / f'{name}.json').read_text())
    found = run_test(name, data_root, work_dir)
    assert {key: found[key] for key in card['metrics_samples']} == pytest.approx(card['metrics_samples'], rel=2e-3)
    return found, card['metrics']
