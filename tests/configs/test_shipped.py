"""The shipped weights do what their cards say: the restorers on the whole held-out set, the bank with classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS
from mmengine.config import Config

from glean_plus.prepare import twemoji

from conftest import CONFIGS, draw_emoji
from shipped import run_test

# Name -> what it is to beat.
SHIPPED = {
    'lightglean_twemoji_4x': ['bicubic'],
    'lightglean_twemoji_8x': ['bicubic'],
    'lightglean_twemoji_multiclass_4x': ['bicubic'],
    'glean_twemoji_multiclass_4x': ['bicubic'],
    'lightglean_twemoji_blind': ['bicubic', 'median', 'bilateral'],
    'lightglean_twemoji_color': ['gray', 'mean'],
}


@pytest.fixture(scope='module')
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The held-out emoji of all groups, as `prepare_twemoji` draws them, and the lists of all and of people."""
    return draw_emoji(tmp_path_factory.mktemp('twemoji'), {'test': slice(None)}, every_group=True)


def perceptual(kind: str) -> bool:
    """Whether a metric compares features of a network, which takes long."""
    return 'LPIPS' in kind


def test_every_shipped_restorer_is_tested() -> None:
    weights = {path.stem for path in (CONFIGS / 'weights').glob('*glean*.safetensors')}
    others = {name for name in weights if name.startswith(('lightglean_photo_', 'lightglean_text_'))}
    assert weights - others == {*SHIPPED}  # those: test_shipped_photos.py, test_shipped_text.py


@pytest.mark.parametrize('name', SHIPPED)
def test_metrics_are_the_card_s(name: str, held_out: Path, tmp_path: Path) -> None:
    card = json.loads((CONFIGS / 'weights' / f'{name}.json').read_text())['metrics']
    results = run_test(name, held_out, tmp_path, lambda kind: not perceptual(kind))
    assert results
    for key, value in results.items():
        assert value == pytest.approx(card[key], rel=2e-3), key


@pytest.mark.parametrize('name', SHIPPED)
def test_restorers_beat_what_they_are_to_beat(name: str, held_out: Path, tmp_path: Path) -> None:
    """On the whole held-out set, as the card has it, and in ST-LPIPS on a part, which takes long."""
    card = json.loads((CONFIGS / 'weights' / f'{name}.json').read_text())['metrics']
    results = run_test(name, held_out, tmp_path, perceptual, range(0, 235, 8))
    for reference in SHIPPED[name]:
        assert results['ST-LPIPS-vgg'] < results[f'{reference}/ST-LPIPS-vgg']
        assert card['ST-LPIPS-vgg'] < card[f'{reference}/ST-LPIPS-vgg']
        assert card['PSNR'] > card[f'{reference}/PSNR']


def held_out_of_each_group() -> list[torch.Tensor]:
    """Up to 24 held-out emoji of each Unicode group, (N, 3, 64, 64), -1 to 1."""
    groups = []
    for group in twemoji.GROUPS:
        names = [name for name, _, its_group, side in twemoji.read_split() if its_group == group and side == 'test']
        names = names[:: max(1, len(names) // 24)][:24]
        pictures = np.stack([twemoji.draw(name, 64) for name in names])
        groups.append(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1)
    return groups


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

    noise = torch.randn(64, bank.noise_size, generator=torch.Generator().manual_seed(0))
    pictures = torch.stack([bank(noise, label=torch.full((64,), label)) for label in range(9)])
    assert pictures.shape == (9, 64, 3, 64, 64) and pictures.abs().max() <= 1
    # A white ground, as Twemoji are drawn on here, and something on it.
    corners = torch.stack([pictures[..., y, x] for y in (0, -1) for x in (0, -1)])
    assert corners.mean() > 0.5 and pictures[..., 16:48, 16:48].mean() < 0.4
    # Neither one image for all noises of a class, nor one for all classes of a noise.
    assert pictures.std(dim=1).mean(dim=(1, 2, 3)).min() > 0.1
    assert pictures.std(dim=0).mean(dim=(1, 2, 3)).min() > 0.1

    # Groups that differ as a whole: the mean of what is drawn is nearest to the mean of that group's held-out emoji.
    real = held_out_of_each_group()
    mean_real = torch.stack([group.mean(dim=0).flatten() for group in real])
    nearest = torch.cdist(pictures.mean(dim=1).flatten(1), mean_real).argmin(dim=1)
    for label in (0, 1, 7, 8):  # smileys, people, symbols, flags
        assert nearest[label] == label
    # Held-out emoji fit their own group better than the others, to the discriminator.
    fit = torch.stack([
        torch.stack([discriminator(group, torch.full((len(group),), label)).mean() for label in range(9)])
        for group in real
    ])  # fmt: skip
    assert fit.diag().mean() > fit.mean() + 0.3
