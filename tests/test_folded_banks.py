"""Folding of every bank and decoder against the model that is folded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmagic.registry import MODELS
from mmagic.structures import DataSample
from torch import Tensor, nn

from glean_plus.inference import FoldedGLEAN, FoldedModel
from glean_plus.models import GLEAN, BigGANBank, ColorizationHead

from conftest import shake

CHANNELS = {4: 24, 8: 24, 16: 16, 32: 16}
STYLE = dict(style_channels=8, num_mlps=2, channels=CHANNELS, mapping=False)
CLASSES = dict(noise_size=16, num_classes=5, shared_dim=6, channels=CHANNELS, attention=[8, 16])
BANKS: dict[str, dict[str, Any]] = {
    'StyleGAN1': dict(type='StyleGAN1Bank', **STYLE),
    'StyleGAN1 official': dict(type='StyleGAN1Bank', official=True, **STYLE),
    'StyleGAN2': dict(type='StyleGAN2Bank', **STYLE),
    'BigGAN': dict(type='BigGANBank', **CLASSES),
    'BigGAN-deep': dict(type='BigGANDeepBank', **CLASSES),
}


def build(bank: str, light: bool, color: bool, given_class: bool = False, **parts: Any) -> GLEAN:
    """8 to 32 px, or 32 px in colour; every parameter and statistic is moved from where it starts."""
    start_res = 8 if light else 4
    config = dict(
        type='GLEAN', in_size=32 if color else 8, given_class=given_class,
        bank=BANKS[bank] | dict(out_size=32, start_res=start_res, rgb=False),
        encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=16, growth_channels=8, in_channels=1 if color else 3),
        decoder=dict(type='ColorizationHead', mid_channels=8) if color else dict(type='GLEANDecoder'),
    )  # fmt: skip
    model = MODELS.build(config | parts)
    shake(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def inputs_of(model: GLEAN, images: int) -> tuple[Tensor, ...]:
    lq = torch.rand(images, model.in_channels, model.in_size, model.in_size) * 2 - 1
    return (lq, torch.arange(images) % 5) if model.given_class else (lq,)


def largest_share(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a share of the range."""
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))


def psnr(ours: Tensor, theirs: Tensor) -> float:
    error = (ours - theirs).square().mean() / (theirs.max() - theirs.min()) ** 2
    return float(-10 * error.log10())


CASES = [
    (bank, light, color, given_class)
    for bank in BANKS for light in (False, True) for color in (False, True)
    for given_class in ((False, True) if 'BigGAN' in bank else (False,))
]  # fmt: skip


@pytest.mark.parametrize(('bank', 'light', 'color', 'given_class'), CASES)
@torch.no_grad()
def test_pictures_are_the_models(bank: str, light: bool, color: bool, given_class: bool) -> None:
    model = build(bank, light, color, given_class)
    inputs = inputs_of(model, 3)
    wanted = model(*inputs)
    for dtype in (torch.float32, torch.bfloat16):
        folded = FoldedModel(model, dtype)
        pictures = folded(*inputs)
        assert pictures.dtype == torch.float32 and torch.equal(folded(*inputs), pictures)
        print(largest_share(pictures, wanted), psnr(pictures, wanted))
        if dtype == torch.float32:
            assert largest_share(pictures, wanted) < 1e-5
        else:
            assert psnr(pictures, wanted) > 35
