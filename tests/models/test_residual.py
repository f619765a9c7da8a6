"""A decoder that predicts the difference to the enlarged input, and tests of inputs of any size."""

from __future__ import annotations

import pytest
import torch
from mmagic.registry import MODELS
from torch import nn

from glean_plus.accel.speed import at_speed
from glean_plus.models.task import run

BANK = dict(type='StyleGAN2Bank', out_size=32, style_channels=8, channels={4: 8, 8: 8, 16: 8, 32: 8})


def network(start_res: int = 8, **decoder: object) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='GLEAN', in_size=8, bank=dict(BANK, start_res=start_res),
        encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4),
        decoder=dict(type='GLEANDecoder', residual=True, **decoder))).eval()  # fmt: skip


@pytest.mark.parametrize('start_res', [4, 8])
def test_without_a_prediction_the_result_is_the_enlarged_input(start_res: int) -> None:
    model = network(start_res, last_channels=None)
    nn.init.zeros_(model.decoder.last.weight)
    nn.init.zeros_(model.decoder.last.bias)
    lq = torch.rand(2, 3, 8, 8) * 2 - 1
    expected = torch.nn.functional.interpolate(lq, (32, 32), mode='bicubic', align_corners=False)
    with torch.no_grad():
        assert torch.allclose(model(lq), expected, atol=1e-6)


@pytest.mark.parametrize('last_channels', [None, 8])
@pytest.mark.parametrize('speed', ['folded', 'compiled'])
def test_every_speed_adds_it(speed: str, last_channels: int | None) -> None:
    model = network(last_channels=last_channels)
    fast = at_speed(model, speed)
    lq = torch.rand(2, 3, 16, 32) * 2 - 1
    with torch.no_grad():
        exact = model.forward_any(lq)
        assert torch.allclose(fast.forward_any(lq), exact, atol=2e-4)
        plain = network(last_channels=last_channels)
        plain.decoder.wants_input = False
        assert (exact - plain.forward_any(lq)).abs().mean() > 0.1


def test_a_network_without_bank_adds_it_too() -> None:
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='BankFreeGLEAN', in_size=8, out_size=32, channels=BANK['channels'],
        encoder=dict(num_rrdbs=1, rrdb_channels=8, growth_channels=4), decoder=dict(residual=True))).eval()  # fmt: skip
    for parameter in model.decoder.last.parameters():
        nn.init.zeros_(parameter)
    lq = torch.rand(1, 3, 8, 8)
    expected = torch.nn.functional.interpolate(lq, (32, 32), mode='bicubic', align_corners=False)
    assert torch.allclose(model(lq), expected, atol=1e-6)


def test_inputs_of_any_size_are_padded_and_cropped_back() -> None:
    model = network()
    assert model.multiple == 2
    lq = torch.rand(1, 3, 13, 10) * 2 - 1
    with torch.no_grad():
        result = run(model, lq)
        assert result.shape == (1, 3, 52, 40)
        padded = torch.cat([lq, lq[:, :, -1:]], 2)
        assert torch.equal(result, model.forward_any(padded)[:, :, :52])
