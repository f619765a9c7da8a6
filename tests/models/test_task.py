"""What networks say that they are for, and the pixel values that they take and give."""

from __future__ import annotations

from typing import Any

import kornia.color
import pytest
import torch

from glean_plus import Restorer
from glean_plus.models import GLEAN, BankFreeGLEAN, ESRGANPlus
from glean_plus.models.task import TaskSpec, task_of

BANK = dict(type='StyleGAN2Bank', out_size=32, style_channels=8, num_mlps=1, channels={4: 8, 8: 8, 16: 8, 32: 8})
CLASSES = dict(type='BigGANBank', out_size=32, noise_size=8, num_classes=5, shared_dim=4,
               channels={4: 8, 8: 8, 16: 8, 32: 8}, attention=[])  # fmt: skip
SMALL = dict(type='GLEANEncoder', rrdb_channels=8, num_rrdbs=1, growth_channels=4)


@pytest.mark.parametrize(('network', 'spec'), [
    (lambda: GLEAN(8, BANK, SMALL), TaskSpec('restoration', 8, 4, 3, 3, multiple=2)),
    (lambda: GLEAN(8, BANK | dict(start_res=8), SMALL),
     TaskSpec('restoration', 8, 4, 3, 3, any_size=True, multiple=2)),
    (lambda: GLEAN(8, CLASSES, SMALL, given_class=True), TaskSpec('restoration', 8, 4, 3, 3, multiple=2, classes=5)),
    (lambda: GLEAN(32, BANK, SMALL | dict(in_channels=1), decoder=dict(type='ColorizationHead')),
     TaskSpec('colorization', 32, 1, 1, 3, multiple=8)),
    (lambda: GLEAN(8, BANK, SMALL | dict(in_channels=1), decoder=dict(type='GLEANDecoder', out_channels=1)),
     TaskSpec('restoration', 8, 4, 1, 1, multiple=2)),
    (lambda: ESRGANPlus(8, 32, mid_channels=8, num_blocks=1, growth_channels=4),
     TaskSpec('restoration', 8, 4, 3, 3, any_size=True)),
    (lambda: BankFreeGLEAN(8, 32, SMALL, channels={8: 8, 16: 8, 32: 8}),
     TaskSpec('restoration', 8, 4, 3, 3, any_size=True)),
])  # fmt: skip
def test_a_network_says_what_it_is_for(network: Any, spec: TaskSpec) -> None:
    assert task_of(network()) == spec


@pytest.mark.parametrize(('name', 'task', 'size', 'scale', 'any_size'), [
    ('lightglean_photo_4x', 'restoration', 16, 4, True),
    ('lightglean_twemoji_8x', 'restoration', 8, 8, True),
    ('lightglean_twemoji_color', 'colorization', 64, 1, False),
    ('glean_twemoji_multiclass_4x', 'restoration', 16, 4, False),
])  # fmt: skip
def test_shipped_models_say_what_they_are_for(name: str, task: str, size: int, scale: int, any_size: bool) -> None:
    spec = Restorer(name, device='cpu').network.spec
    assert (spec.task, spec.in_size, spec.scale, spec.any_size) == (task, size, scale, any_size)


def test_pixel_values_go_in_and_out() -> None:
    images = torch.rand(2, 3, 5, 6)
    spec = TaskSpec('restoration', 8, 2, 3, 3, mean=100, std=50)
    assert torch.allclose(spec.normalize(images), images * 5.1 - 2, atol=1e-6)
    flipped = TaskSpec('restoration', 8, 2, 3, 3, mean=100, std=50, bgr=True)
    assert torch.equal(flipped.normalize(images), spec.normalize(images)[:, [2, 1, 0]])
    for each in (spec, flipped):
        assert torch.allclose(each.denormalize(each.normalize(images)), images, atol=1e-6)
    gray = TaskSpec('restoration', 8, 2, 1, 1)
    four = torch.rand(2, 4, 5, 6)  # with opacity
    assert torch.allclose(gray.normalize(four), 2 * four.reshape(8, 1, 5, 6) - 1, atol=1e-6)
    assert torch.allclose(gray.denormalize(gray.normalize(four), 4), four, atol=1e-6)
    color = TaskSpec('colorization', 8, 1, 1, 3)
    assert torch.allclose(50 * (color.normalize(images) + 1), kornia.color.rgb_to_lab(images)[:, :1], atol=1e-4)
