"""Folded inference of a StyleGAN2 bank, and what the compiled kernel does in bands, against the model."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from mmagic.registry import MODELS
from torch import Tensor

from glean_plus.accel import FoldedGLEAN
from glean_plus.accel.bands import Bands, Block
from glean_plus.accel.compiler import CompilerError
from glean_plus.accel.compiler import compiler as find_compiler
from glean_plus.accel.speed import at_speed
from glean_plus.models import GLEAN, GLEANEncoder, StyleGAN2Bank

from conftest import shake

try:
    find_compiler()
except CompilerError as error:
    compiled = pytest.param(True, marks=pytest.mark.skip(reason=str(error)))
    needs_compiler = pytest.mark.skip(reason=str(error))
else:
    compiled, needs_compiler = pytest.param(True), pytest.mark.usefixtures()
needs_compiler_if_compiled = pytest.mark.parametrize('compiled', [False, compiled])

CHANNELS = {4: 24, 8: 24, 16: 128, 32: 96, 64: 48, 128: 16}


def build(light: bool, in_size: int = 32, out_size: int = 128, **parts: Any) -> GLEAN:
    bank = dict(type='StyleGAN2Bank', out_size=out_size, style_channels=8, num_mlps=2, channels=CHANNELS)
    decoder = dict(type='GLEANDecoder', **(dict(width_ratio=0.25, last_channels=None) if light else {}))
    model = MODELS.build(dict(
        type='GLEAN', in_size=in_size, bank=bank | dict(start_res=in_size if light else 4, rgb=False, mapping=False),
        encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=16, growth_channels=8), decoder=decoder,
    ) | parts)  # fmt: skip
    shake(model)
    return model.eval()


def largest_share(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a share of the range."""
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))


@pytest.mark.parametrize('light', [False, True])
@pytest.mark.parametrize(('in_size', 'out_size', 'images'), [(32, 128, 2), (8, 32, 3), (16, 128, 1)])
@torch.no_grad()
def test_pictures_are_the_models(light: bool, in_size: int, out_size: int, images: int) -> None:
    model = build(light, in_size, out_size)
    lq = torch.rand(images, 3, in_size, in_size) * 2 - 1
    wanted = model(lq)
    assert images == 1 or wanted.std(dim=0).max() > 1e-3  # the images of a batch are not alike
    folded = model.fold()
    assert largest_share(folded(lq), wanted) < 1e-5
    assert torch.equal(folded(lq), folded(lq))
    half = model.fold(torch.bfloat16)(lq)
    assert half.dtype == torch.float32
    error = (half - wanted).square().mean() / (wanted.max() - wanted.min()) ** 2
    assert -10 * error.log10() > 35


@needs_compiler_if_compiled
@pytest.mark.parametrize(
    ('height', 'width', 'origin'),
    [(24, 40, (0, 0)), (72, 40, (8, 24)), (32, 32, (8, 0)), (34, 50, (2, 6)), (66, 40, (0, 2))],
)
@torch.no_grad()
def test_pictures_of_any_size_are_the_models(
    height: int, width: int, origin: tuple[int, int], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a hidden layer at the end and without; parts of an image have the noise of their place."""
    for parts, whole in (({}, 0), (dict(decoder=dict(type='GLEANDecoder')), 100_000_000)):
        monkeypatch.setattr('glean_plus.accel.bands.BAND_BYTES', 350_000)
        monkeypatch.setattr('glean_plus.accel.bands.WHOLE_BYTES', whole)
        model = build(True, **parts)
        lq = torch.rand(2, 3, height, width) * 2 - 1
        folded = model.fold(compiled=compiled)
        assert largest_share(folded.forward_any(lq, origin=origin), model.forward_any(lq, origin=origin)) < 1e-5
    assert folded.multiple == model.multiple == 2
    with pytest.raises(ValueError, match='multiples of 2'):
        folded.forward_any(torch.rand(1, 3, 33, 32))
    with pytest.raises(ValueError, match='bound to inputs of 32x32'):
        build(False).fold().forward_any(torch.rand(1, 3, 32, 36))


@needs_compiler_if_compiled
@torch.no_grad()
def test_sides_fit_a_bank_that_starts_below_the_input(compiled: bool) -> None:
    """At its start, the map has half of the rows, and tiles as well."""
    bank = dict(type='StyleGAN2Bank', out_size=128, start_res=32, style_channels=8, channels=CHANNELS, rgb=False)
    model = build(True, in_size=64, bank=bank | dict(mapping=False))
    folded = model.fold(compiled=compiled)
    lq = torch.rand(1, 3, 80, 64) * 2 - 1
    assert largest_share(folded.forward_any(lq), model.forward_any(lq)) < 1e-5
    assert model.multiple == folded.multiple == 4
    with pytest.raises(ValueError, match='multiples of 4'):
        folded.forward_any(torch.rand(1, 3, 66, 64))


@needs_compiler_if_compiled
@pytest.mark.parametrize('light', [False, True])
@torch.no_grad()
def test_a_decoder_without_the_banks_features(light: bool, compiled: bool) -> None:
    model = build(light, decoder=dict(type='GLEANDecoder', bank_resolutions=()))
    lq = torch.rand(2, 3, 32, 32) * 2 - 1
    assert largest_share(model.fold(compiled=compiled)(lq), model(lq)) < 1e-5


class OwnEncoder(GLEANEncoder):
    """An encoder that is not what its parts say."""

    def forward(self, lq: Tensor) -> dict[int, Tensor]:
        return super().forward(lq.flip(2))


@needs_compiler_if_compiled
@torch.no_grad()
def test_another_encoder_stays_as_it_is(compiled: bool) -> None:
    encoder = OwnEncoder(32, 16, CHANNELS, num_rrdbs=1, rrdb_channels=16, growth_channels=8)
    model, lq = build(True, encoder=encoder), torch.rand(1, 3, 32, 32) * 2 - 1
    assert largest_share(model.fold(compiled=compiled)(lq), model(lq)) < 1e-5


@torch.no_grad()
def test_codes_of_another_picture_are_taken() -> None:
    model, (lq, whole) = build(False), torch.rand(2, 1, 3, 32, 32)
    model.codes.linear.weight.mul_(30)  # codes hardly differ at the start
    _, codes = model.encode(whole)
    assert largest_share(model.fold()(lq, codes=codes), model(lq, codes=codes)) < 1e-5
    assert largest_share(model(lq), model(lq, codes=codes)) > 1e-3
    both = torch.cat([lq, whole])
    assert largest_share(model.fold()(both, codes=codes), model(both, codes=codes)) < 1e-5  # one code for all


@torch.no_grad()
def test_it_is_called_as_the_model() -> None:
    for light in (False, True):
        model, lq = build(light), torch.rand(1, 3, 32, 32)
        folded = model.fold()
        for name in ('forward', 'forward_any'):
            ours, theirs = (inspect.signature(getattr(part, name)).parameters for part in (folded, model))
            assert [*ours] == [*theirs]
        label = torch.zeros(1, dtype=torch.long)
        with pytest.raises(ValueError, match='takes no label'):
            folded(lq, label)
    with pytest.raises(ValueError, match='takes no label'):
        folded.forward_any(lq, label)
    assert largest_share(folded.forward_any(lq, None, (8, 0)), model.forward_any(lq, None, (8, 0))) < 1e-5
    with pytest.raises(ValueError, match='learned codes of this folded model are in its weights: leave codes out'):
        folded(lq, codes=model.encode(lq)[1])


@needs_compiler
@torch.no_grad()
def test_bands_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    for light in (False, True):
        model = build(light)
        lq = torch.rand(1, 3, 32, 32)
        wanted = model(lq)
        for band, whole in ((1, 0), (350_000, 1_000_000), (100_000_000, 100_000_000)):
            monkeypatch.setattr('glean_plus.accel.bands.BAND_BYTES', band)
            monkeypatch.setattr('glean_plus.accel.bands.WHOLE_BYTES', whole)
            folded = model.fold(compiled=True)
            assert folded.finish is not None and largest_share(folded(lq), wanted) < 1e-5


@needs_compiler
@pytest.mark.parametrize(('dtype', 'bytes_64'), [(torch.float32, 64 * 64 * 60 * 4), (torch.bfloat16, 64 * 64 * 60 * 2)])
def test_maps_are_whole_up_to_a_size(dtype: torch.dtype, bytes_64: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 64 the decoder's 12 channels and the bank's 48; the last resolution always comes in bands."""
    for limit, banded in ((bytes_64, {128}), (bytes_64 - 1, {64, 128})):
        monkeypatch.setattr('glean_plus.accel.bands.WHOLE_BYTES', limit)
        assert build(True).fold(dtype, compiled=True).finish.banded == banded


@needs_compiler
@pytest.mark.parametrize(('fit', 'tops'), [(40, [0, 32, 64, 96]), (50, [0, 48, 96]), (127, [0, 64]), (128, [0])])
@torch.no_grad()
def test_bands_are_few_and_like_and_fit(fit: int, tops: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As few as ``fit`` rows allow, all but the last of one height, a multiple of 16."""
    model = build(False, out_size=128)
    row = 128 * 64 * 4  # bytes of the widest map, the hidden layer's
    monkeypatch.setattr('glean_plus.accel.bands.BAND_BYTES', fit * row)
    monkeypatch.setattr('glean_plus.accel.bands.WHOLE_BYTES', 0)
    seen = []
    band = Bands._band
    monkeypatch.setattr(Bands, '_band', lambda self, *given: (seen.append(given[4]), band(self, *given)))
    model.fold(compiled=True)(torch.rand(1, 3, 32, 32))
    assert seen == tops


@needs_compiler
@torch.no_grad()
def test_decoders_that_take_fewer_features(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Block] = []
    run = Block.__call__
    monkeypatch.setattr(Block, '__call__', lambda self, *given: (seen.append(self), run(self, *given))[1])
    for resolutions, computed in (([64], {64}), ([128], {64, 128}), ([], set())):
        decoder = dict(type='GLEANDecoder', bank_resolutions=resolutions)
        model = build(True, decoder=decoder)
        lq = torch.rand(1, 3, 32, 32)
        folded = model.fold(compiled=True)
        assert largest_share(folded(lq), model(lq)) < 1e-5
        # Nothing of the bank that nobody reads.
        assert {res for res, block in folded.finish.blocks.items() if block in seen} == computed


@torch.no_grad()
def test_weights_are_those_of_the_folding() -> None:
    model = build(True)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    lq = torch.rand(1, 3, 32, 32)
    folded = model.fold()
    before = folded(lq)
    for part in (model.decoder, model.bank):
        for parameter in part.parameters():
            parameter.mul_(1.5)
    assert torch.equal(folded(lq), before)
    assert largest_share(model.fold()(lq), before) > 1e-3
    before += 1  # an ordinary tensor


def test_what_cannot_be_folded_is_named() -> None:
    with pytest.raises(ValueError, match='dtype must be one of .*, but is torch.float64'):
        build(True).fold(torch.float64)
    with pytest.raises(ValueError, match='The input is 16x32, but this model restores 32x32'):
        build(True).fold()(torch.rand(1, 3, 16, 32))


@needs_compiler_if_compiled
@torch.no_grad()
def test_any_fir_filter(compiled: bool) -> None:
    """The kernel has code for StyleGAN2's alone."""
    for light in (False, True):
        model, lq = build(light), torch.rand(1, 3, 32, 32)
        before = model(lq)
        model.bank.convs['8'].conv.blur.kernel[0] += 0.5
        assert largest_share(model.fold(compiled=compiled)(lq), model(lq)) < 1e-5
        assert largest_share(model(lq), before) > 1e-3


class OwnBank(StyleGAN2Bank):
    """A bank that is not what it is derived from."""

    def step(self, resolution: int, *given: Any, **named: Any) -> Tensor:
        return super().step(resolution, *given, **named).flip(2)


@needs_compiler_if_compiled
@torch.no_grad()
def test_a_derived_bank_is_run_as_it_is(compiled: bool) -> None:
    """It does not inherit how the bank is folded that it is derived from."""
    for light in (False, True):
        bank = OwnBank(128, 32 if light else 4, 8, channels=CHANNELS, rgb=False, mapping=False)
        model, lq = build(light, bank=bank), torch.rand(2, 3, 32, 32)
        assert largest_share(model.fold(compiled=compiled)(lq), model(lq)) < 1e-5
        if light:
            lq = torch.rand(1, 3, 32, 40)
            folded = model.fold(compiled=compiled).forward_any(lq, origin=(0, 8))
            assert largest_share(folded, model.forward_any(lq, origin=(0, 8))) < 1e-5


def test_restorer_tests_the_folded_network(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = FoldedGLEAN.forward
    monkeypatch.setattr(FoldedGLEAN, 'forward', lambda self, lq: (calls.append(self), forward(self, lq))[1])
    generator = dict(
        type='GLEAN', in_size=8, bank=dict(type='StyleGAN2Bank', out_size=32, style_channels=8, num_mlps=2,
                                           start_res=8, channels=CHANNELS, rgb=False, mapping=False),
        encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=16, growth_channels=8),
    )  # fmt: skip
    lq = torch.rand(1, 3, 8, 8)
    pictures = {}
    speeds = {'exact': {}, 'folded': dict(fold=True), 'bfloat16': dict(speed='folded', precision='bf16')}
    for name, test_cfg in speeds.items():
        torch.manual_seed(0)
        restorer = MODELS.build(dict(
            type='GLEANRestorer', generator=generator, pixel_loss=dict(type='MSELoss'), ema=dict(decay=0.9),
            test_cfg=test_cfg,
        ))  # fmt: skip
        state = restorer.state_dict()
        restorer.eval()
        pictures[name] = restorer.forward_tensor(lq).detach()
        restorer.forward_tensor(lq)
        assert restorer.state_dict().keys() == state.keys()
        assert not [key for key in state if 'fast' in key]
    assert len(calls) == 4 and len({*calls}) == 2
    assert 0 < largest_share(pictures['folded'], pictures['exact']) < 1e-5
    assert 1e-5 < largest_share(pictures['bfloat16'], pictures['exact']) < 0.1
    # The last restorer again: what is trained or loaded is folded again.
    state = {key: value * 2 if 'decoder' in key else value for key, value in restorer.state_dict().items()}
    restorer.load_state_dict(state)
    assert largest_share(restorer.forward_tensor(lq), pictures['bfloat16']) > 1e-2
    for test_cfg, message in (
        (dict(fold='fp16'), "test_cfg.fold must be True or False, but is 'fp16'"),
        (dict(speed='fast'), "test_cfg.speed must be one of exact, .* but is 'fast'"),
        (dict(speed='exact', fold=True), 'both fold and speed'),
        (dict(precision='fp8'), "test_cfg.precision must be one of fp32, bf16, fp16, but is 'fp8'"),
    ):
        with pytest.raises(ValueError, match=message):
            MODELS.build(dict(
                type='GLEANRestorer', generator=generator, pixel_loss=dict(type='MSELoss'), test_cfg=test_cfg
            ))  # fmt: skip
    with pytest.raises(TypeError, match="speed='folded' needs a network that can be folded, but this is a Linear"):
        at_speed(torch.nn.Linear(1, 1), 'folded')
