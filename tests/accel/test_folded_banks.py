"""Folding of every bank and decoder against the model that is folded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmagic.registry import MODELS
from mmagic.structures import DataSample
from test_folded import needs_compiler
from torch import Tensor, nn

from glean_plus.accel import FoldedGLEAN
from glean_plus.accel.kernel import CompiledTrunk, KernelConv
from glean_plus.models import GLEAN, BigGANBank, ColorizationHead
from glean_plus.models.folding import convolve

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
    encoder = dict(num_rrdbs=1, rrdb_channels=16, growth_channels=8, in_channels=1 if color else 3)
    config = dict(
        type='GLEAN', in_size=32 if color else 8, given_class=given_class,
        bank=BANKS[bank] | dict(out_size=32, start_res=start_res, rgb=False),
        encoder=dict(type='GLEANEncoder', **encoder),
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
    # In double precision, as the model's own rounding may be larger than the folded one's.
    wanted = copy.deepcopy(model).double()(inputs[0].double(), *inputs[1:])
    for dtype in (torch.float32, torch.bfloat16):
        folded = FoldedGLEAN(model, dtype)
        pictures = folded(*inputs)
        assert pictures.dtype == torch.float32 and torch.equal(folded(*inputs), pictures)
        if dtype == torch.float32:
            assert largest_share(pictures, wanted) < 1e-5
        else:
            assert psnr(pictures, wanted) > 35


@pytest.mark.parametrize(('pixels', 'pieces'), [(2 * 64**2, [2, 2, 1]), (3 * 64**2 - 1, [2, 2, 1]), (1, [1] * 5)])
@torch.no_grad()
def test_pictures_in_pieces(pixels: int, pieces: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many at a time as have so many pixels at 64, at least one."""
    monkeypatch.setattr('glean_plus.accel.folded.PIXELS', pixels)
    model = build('BigGAN', False, False, True)
    inputs = inputs_of(model, 5)
    folded = FoldedGLEAN(model)
    seen: list[int] = []
    folded.encoder.register_forward_pre_hook(lambda encoder, given: seen.append(len(given[0])))
    assert largest_share(folded(*inputs), model(*inputs)) < 1e-5
    assert seen == pieces


@pytest.mark.parametrize('bank', BANKS)
@torch.no_grad()
def test_bank_that_is_trained(bank: str) -> None:
    """Spectral norm is not resolved yet, and must stay as it is, even where the model is in training mode."""
    model = build(bank, False, False, freeze_bank=False)
    (lq,) = inputs_of(model, 1)
    wanted = model(lq)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert largest_share(FoldedGLEAN(model.train())(lq), wanted) < 1e-5
    assert model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('light', [False, True])
@pytest.mark.parametrize('bank', BANKS)
@torch.no_grad()
def test_weights_are_those_of_the_folding(bank: str, light: bool) -> None:
    model = build(bank, light, True)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    (lq,) = inputs_of(model, 1)
    folded = model.fold()
    before = folded(lq)
    for part in (model.bank, model.decoder, model.fusions):
        for name, tensor in part.state_dict().items():
            if tensor.is_floating_point() and 'blur' not in name:
                tensor.mul_(1.5)
        assert torch.equal(folded(lq), before)
        # The bank's share is not too small to be tested.
        assert largest_share(model(lq), before) > 1e-3 or (light and part is model.fusions)
    assert largest_share(model.fold()(lq), before) > 1e-3


@torch.no_grad()
def test_learned_codes_of_a_whole_bank() -> None:
    """The first feature is the same for all images, and the encoder's are fused into it."""
    for bank in BANKS:
        model = build(bank, False, False, codes=dict(type='LearnedCodes'))
        (lq,) = inputs_of(model, 2)
        folded = FoldedGLEAN(model)
        assert folded.bank.constant is not None
        wanted = model(lq)
        assert largest_share(folded(lq), wanted) < 1e-5
        model.codes.codes[0].add_(1)
        assert largest_share(model(lq), wanted) > 1e-3
        assert largest_share(folded(lq), wanted) < 1e-5


@torch.no_grad()
def test_codes_are_taken_where_none_is_constant() -> None:
    """Others than the model's own: predicted ones, and learned ones that follow the given class."""
    for bank, light, given_class in (('StyleGAN1', False, False), ('BigGAN-deep', True, True)):
        model = build(bank, light, False, given_class)
        inputs = inputs_of(model, 2)
        codes = [None if code is None else code + 1 for code in model.encode(*inputs)[1]]
        wanted = model(*inputs, codes=codes)
        assert largest_share(FoldedGLEAN(model)(*inputs, codes=codes), wanted) < 1e-5
        assert largest_share(model(*inputs), wanted) > 1e-3
    model = build('StyleGAN1', True, False)
    (lq,) = inputs_of(model, 1)
    with pytest.raises(ValueError, match='learned codes of this folded model are in its weights: leave codes out'):
        FoldedGLEAN(model)(lq, codes=model.encode(lq)[1])


@torch.no_grad()
def test_bank_ends_where_the_decoder_does_not_take_more() -> None:
    for resolutions, last in (([16], 16), ([], None)):
        model = build('BigGAN', True, False, decoder=dict(type='GLEANDecoder', bank_resolutions=resolutions))
        (lq,) = inputs_of(model, 2)
        folded = model.fold()
        steps = []
        step = folded.bank.step
        folded.bank.step = lambda res, *args, step=step, steps=steps: (steps.append(res), step(res, *args))[1]
        assert largest_share(folded(lq), model(lq)) < 1e-5
        assert max(steps, default=None) == last


@pytest.mark.parametrize('options', [dict(padding_mode='reflect'), dict(padding=2, dilation=2), dict(groups=2)])
@torch.no_grad()
def test_convolutions_of_another_kind_stay_as_they_are(options: dict[str, Any]) -> None:
    """In an encoder and in what predicts codes."""
    model = build('BigGAN', False, False)
    for parent, name, width in ((model.encoder.stages[0][0], 'conv_body', 16), (model.codes.conv, '0', 24)):
        setattr(parent, name, nn.Conv2d(width, width, 3, **dict(padding=1) | options))
    (lq,) = inputs_of(model, 2)
    assert largest_share(model.fold()(lq), model(lq)) < 1e-5


@torch.no_grad()
def test_pictures_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for bank in BANKS:
        for light in (False, True):
            model = build(bank, light, False, 'BigGAN' in bank)
            inputs = inputs_of(model, 5)
            wanted = model(*inputs)
            for together, pixels in ((16, 2 * 16**2), (8, 1), (32, 10**6)):
                monkeypatch.setattr('glean_plus.accel.folded.TOGETHER_UP_TO', together)
                monkeypatch.setattr('glean_plus.accel.folded.PIXELS', pixels)
                assert largest_share(model.fold()(*inputs), wanted) < 1e-5


@needs_compiler
@pytest.mark.parametrize(('bank', 'light', 'color', 'given_class'), CASES)
@torch.no_grad()
def test_every_bank_by_the_kernel(
    bank: str, light: bool, color: bool, given_class: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('glean_plus.accel.compiled.FEWEST_TILES', 4)  # these maps are small
    model = build(bank, light, color, given_class)
    inputs = inputs_of(model, 2)
    wanted = copy.deepcopy(model).double()(inputs[0].double(), *inputs[1:])
    folded = model.fold(compiled=True)
    for _ in range(2):  # the second time, memory is not new
        assert largest_share(folded(*inputs), wanted) < 5e-5
    for kind in (KernelConv, CompiledTrunk):
        assert any(isinstance(part, kind) and part.plain is None for part in folded.modules())
    assert (folded.finish is not None) == (bank == 'StyleGAN2' and not color)
    assert psnr(model.fold(torch.bfloat16, compiled=True)(*inputs), wanted) > 33


def test_convolution_of_few_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('glean_plus.models.folding.MANY', 1)
    weight, bias = torch.randn(5, 6, 3, 3), torch.randn(5)
    for images, height, width, stride in ((1, 4, 4, 1), (2, 5, 7, 2), (3, 8, 6, 2), (1, 17, 16, 1)):
        x = torch.randn(images, 6, height, width)
        ours = convolve(x, weight, bias, stride)
        torch.testing.assert_close(ours, F.conv2d(x, weight, bias, stride, 1), rtol=0, atol=1e-4)


def test_what_cannot_be_folded_is_named() -> None:
    model = build('BigGAN', True, True, given_class=True)
    folded = model.fold()
    lq, label = inputs_of(model, 1)
    for inputs, message in (
        ((lq,), 'needs a label for each image'),
        ((lq, label + 5), r'classes 0 to 4, but is given \[5\]'),
        ((lq[..., :16], label), 'The input is 32x16, but this model restores 32x32'),
        ((lq.expand(-1, 3, -1, -1), label), None),
    ):
        with pytest.raises(ValueError if message else RuntimeError, match=message):
            folded(*inputs)
    with pytest.raises(ValueError, match='takes no label'):
        build('BigGAN', True, True).fold()(lq, label)


@torch.no_grad()
def test_derived_banks_and_heads_are_run_as_they_are() -> None:
    class OwnBank(BigGANBank):
        def conditioned(self, code: Tensor) -> Tensor:
            return code + 1

    class OwnHead(ColorizationHead):
        def forward(self, f_0: Tensor, features: dict[int, Tensor], lightness: Tensor) -> Tensor:
            return super().forward(f_0, features, lightness).flip(3)

    model = build('BigGAN', True, True)
    (lq,) = inputs_of(model, 2)
    before = model(lq)
    model.decoder.__class__, model.bank.__class__ = OwnHead, OwnBank
    assert largest_share(model.fold()(lq), model(lq)) < 1e-5
    assert largest_share(model(lq), before) > 1e-3


def test_restorer_tests_the_folded_network() -> None:
    generator = dict(
        type='GLEAN', in_size=8, given_class=True, bank=BANKS['BigGAN'] | dict(out_size=32, start_res=8, rgb=False),
        encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=16, growth_channels=8),
    )  # fmt: skip
    lq = torch.rand(2, 3, 8, 8)
    samples = DataSample.stack([DataSample().set_gt_label(label) for label in (1, 4)])
    pictures = {}
    for speed, precision in (('exact', 'fp32'), ('folded', 'fp32'), ('folded', 'bf16'), ('exact', 'bf16')):
        torch.manual_seed(0)
        restorer = MODELS.build(dict(
            type='GLEANRestorer', generator=generator, pixel_loss=dict(type='MSELoss'), ema=dict(decay=0.9),
            test_cfg=dict(speed=speed, precision=precision),
        ))  # fmt: skip
        shake(restorer)
        restorer.init_weights()
        restorer.eval()
        with pytest.raises(ValueError, match='given_class=True'):
            restorer.forward_tensor(lq)
        pictures[speed, precision] = restorer.forward_tensor(lq, samples).detach()
    exact = pictures['exact', 'fp32']
    assert largest_share(pictures['folded', 'fp32'], exact) < 1e-5
    for speed in ('exact', 'folded'):
        assert 1e-5 < largest_share(pictures[speed, 'bf16'].float(), exact) < 0.1
    swapped = DataSample.stack([DataSample().set_gt_label(label) for label in (4, 1)])
    assert largest_share(restorer.forward_tensor(lq, swapped).float(), exact) > 1e-3
