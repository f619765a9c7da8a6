"""The shipped model of text does what its card says, on four held-out images of `glean-plus text`."""

from __future__ import annotations

from pathlib import Path

from conftest import CONFIGS, ROOT
from shipped import metrics_as_the_card

NAME = 'lightglean_text_4x'


def test_metrics_are_the_card_s_and_beat_bicubic(tmp_path: Path) -> None:
    for metrics in metrics_as_the_card(NAME, ROOT / 'tests' / 'data' / 'text', tmp_path):
        assert metrics['PSNR'] > metrics['bicubic/PSNR'] + 3
        assert metrics['ST-LPIPS-vgg'] < metrics['bicubic/ST-LPIPS-vgg'] / 2
    assert (CONFIGS / 'weights' / f'{NAME}.safetensors').stat().st_size < 16_000_000
