"""The shipped model of text does what its card says, on four held-out images of `glean-plus text`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import CONFIGS, ROOT
from shipped import run_test

NAME = 'lightglean_text_4x'


def test_metrics_are_the_card_s_and_beat_bicubic(tmp_path: Path) -> None:
    card = json.loads((CONFIGS / 'weights' / f'{NAME}.json').read_text())
    found = run_test(NAME, ROOT / 'tests' / 'data' / 'text', tmp_path)
    assert {key: found[key] for key in card['metrics_samples']} == pytest.approx(card['metrics_samples'], rel=2e-3)
    for metrics in (found, card['metrics']):
        assert metrics['PSNR'] > metrics['bicubic/PSNR'] + 3
        assert metrics['ST-LPIPS-vgg'] < metrics['bicubic/ST-LPIPS-vgg'] / 2
    assert (CONFIGS / 'weights' / f'{NAME}.safetensors').stat().st_size < 16_000_000
