"""GLEAN against MMagic's GLEANStyleGANv2, and LightGLEAN against its definition."""

from __future__ import annotations

import pytest
import torch
from mmagic.models.editors.glean import GLEANStyleGANv2
from mmagic.registry import MODELS

from glean_plus.models import GLEAN, GLEANDecoder, LearnedCodes, PredictedCodes, StyleGAN2Bank
from glean_plus.weights.mmagic_glean import from_mmagic

from conftest import relative_error, shake

SMALL = {4: 12, 8: 10, 16: 8, 32: 6}


def glean(in_size: int = 8, start_res: int = 4, **options: object) -> GLEAN:
    bank = dict(
        type='StyleGAN2Bank',
        out_size=32,
        start_res=start_res,
        style_channels=8,
        channels=SMALL,
        mapping=False,
        rgb=False,
    )
    encoder = dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4)
    return GLEAN(in_size, bank, encoder=encoder, **options)


@pytest.mark.parametrize(
    ('in_size', 'out_size', 'channels'), [(8, 32, 3), (16, 64, 3), (16, 256, 3), (32, 256, 3), (16, 64, 1)]
)
@torch.no_grad()
def test_output_equals_mmagic(in_size: int, out_size: int, channels: int) -> None:
    theirs = GLEANStyleGANv2(in_size, out_size, img_channels=channels, num_rrdbs=2).eval()
    shake(theirs)
    ours = GLEAN(
        in_size,
        dict(type='StyleGAN2Bank', out_size=out_size, mapping=False, rgb=False),
        encoder=dict(type='GLEANEncoder', in_channels=channels, num_rrdbs=2),
        decoder=dict(type='GLEANDecoder', out_channels=channels),
    ).eval()
    state, dropped = from_mmagic(theirs.state_dict())
    ours.load_state_dict(state, strict=True)
    x = torch.randn(1 if out_size == 256 else 2, channels, in_size, in_size)
    pictures = ours(x)
    assert relative_error(theirs(x), pictures) < 1e-5
    # Only what cannot reach the output is dropped, each with its reason.
    assert len(state) + len(dropped) == len(theirs.state_dict())
    for key in dropped:
        theirs.get_parameter(key).zero_() if 'kernel' not in key else theirs.get_buffer(key).zero_()
    assert relative_error(theirs(x), pictures) < 1e-5


def test_lightglean_is_equation_10() -> None:
    """The encoder's last feature enters the block of the input's resolution; each code is a parameter; nothing else."""
    model = glean(
        in_size=16, start_res=16, decoder=dict(type='GLEANDecoder', width_ratio=0.25, last_channels=None)
    ).eval()
    shake(model)
    assert isinstance(model.codes, LearnedCodes) and len(model.fusions) == 0
    assert model.encoder.resolutions == (16, 8)
    x = torch.randn(2, 3, 16, 16)
    features = model.encoder(x)
    g_16 = model.bank.step(16, model.codes(features[8]), features[8])
    g_32 = model.bank.step(32, model.codes(features[8]), g_16)
    d_1 = model.decoder.stages[0](features[16])
    assert d_1.shape[1] == round(SMALL[32] / 4)
    expected = model.decoder.last(torch.cat([d_1, g_32], dim=1))
    torch.testing.assert_close(model(x), expected)
    # Every learned code matters, and all trainable parameters get gradients.
    model(x).square().mean().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert not any(parameter.requires_grad for parameter in model.bank.parameters())


def test_glean_is_equation_3() -> None:
    model = glean().eval()
    shake(model)
    assert isinstance(model.codes, PredictedCodes) and set(model.fusions) == {'4', '8'}
    x = torch.randn(2, 3, 8, 8)
    features = model.encoder(x)
    codes = model.codes(features[4])
    g = model.fusions['4'](torch.cat([model.bank.step(4, codes), features[4]], 1))
    g = model.fusions['8'](torch.cat([model.bank.step(8, codes, g), features[8]], 1))
    g_16 = model.bank.step(16, codes, g)
    g_32 = model.bank.step(32, codes, g_16)
    torch.testing.assert_close(model(x), model.decoder(features[8], {16: g_16, 32: g_32}))


def test_bank_may_start_at_twice_the_input() -> None:
    """Its first block is given f_0 itself, and the encoder has no further stage."""
    model = glean(8, 16)
    x = torch.randn(2, 3, 8, 8)
    features = model.encoder(x)
    assert list(features) == [8] and len(model.fusions) == 0
    codes = model.codes(features[8])
    g_16 = model.bank.step(16, codes, features[8])
    g_32 = model.bank.step(32, codes, g_16)
    torch.testing.assert_close(model(x), model.decoder(features[8], {16: g_16, 32: g_32}))


def test_bank_ends_where_the_decoder_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither computed nor trained: DistributedDataParallel waits for the gradient of each parameter."""
    learned, decoder = dict(type='LearnedCodes'), dict(type='GLEANDecoder', bank_resolutions=[16])
    model = glean(codes=learned, decoder=decoder)
    steps: list[int] = []
    step = model.bank.step
    monkeypatch.setattr(model.bank, 'step', lambda res, *given: (steps.append(res), step(res, *given))[1])
    x = torch.randn(2, 3, 8, 8)
    model(x).square().mean().backward()
    assert steps == [4, 8, 16]
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert [code.requires_grad for code in model.codes.codes] == [True] * 5 + [False] * 2
    assert model.codes.state_dict().keys() == glean(codes=learned).codes.state_dict().keys()
    steps.clear()
    assert {*model.retrieve(*model.encode(x), wanted=[8])} == {8} and steps == [4, 8]


@pytest.mark.parametrize(('in_size', 'start_res'), [(8, 4), (16, 16)])
def test_bank_can_be_fine_tuned(in_size: int, start_res: int) -> None:
    model = glean(in_size, start_res, freeze_bank=False)
    model(torch.randn(1, 3, in_size, in_size)).square().mean().backward()
    assert all(p.grad is not None for p in model.bank.convs.parameters())
    assert model.train().bank.training


def test_options_of_the_parts() -> None:
    assert len(glean(fuse=False).fusions) == 0
    learned = glean(codes=dict(type='LearnedCodes'))
    assert isinstance(learned.codes, LearnedCodes)
    assert learned(torch.randn(2, 3, 8, 8)).shape == (2, 3, 32, 32)
    assert learned(torch.randn(2, 3, 8, 8)).shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match='nothing of the image reaches'):
        glean(codes=dict(type='LearnedCodes'), fuse=False)
    gray = GLEAN(
        8, StyleGAN2Bank(16, style_channels=8, channels=SMALL),
        encoder=dict(type='GLEANEncoder', in_channels=1, num_rrdbs=1),
        decoder=dict(type='GLEANDecoder', out_channels=2),
    )  # fmt: skip
    assert gray(torch.randn(1, 1, 8, 8)).shape == (1, 2, 16, 16)


def test_another_size_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r'9x7.*8x8 to 32x32.*resize or crop'):
        glean()(torch.randn(1, 3, 9, 7))


@pytest.mark.parametrize(('in_size', 'start_res'), [(8, 32), (64, 4), (12, 4)])
def test_sizes_that_do_not_fit_are_refused(in_size: int, start_res: int) -> None:
    with pytest.raises(ValueError, match=f'in_size {in_size} does not fit'):
        glean(in_size, start_res)
    with pytest.raises(ValueError, match='take ColorizationHead'):
        glean(in_size=32)
    with pytest.raises(ValueError, match='larger than in_size, but they are 16 and 32'):
        GLEANDecoder(32, 16, SMALL)


def test_config_is_not_edited_by_building() -> None:
    bank = dict(type='StyleGAN2Bank', out_size=16, style_channels=8, channels=dict(SMALL))
    config = dict(type='GLEAN', in_size=8, bank=bank,
                  encoder=dict(type='GLEANEncoder', num_rrdbs=1))  # fmt: skip
    text = repr(config)
    MODELS.build(config)
    MODELS.build(config)
    config.pop('type')
    assert text == repr(dict(type='GLEAN') | config)
