"""Folded inference against the model that is folded, and the convolutions against PyTorch's."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmagic.registry import MODELS
from torch import Tensor

from glean_plus.accel import FoldedGLEAN
from glean_plus.accel.compiler import CompilerError
from glean_plus.accel.compiler import compiler as find_compiler
from glean_plus.accel.conv import METHODS, Conv3x3, ThinConv, UpConv, choose_method
from glean_plus.accel.epilogue import Epilogue
from glean_plus.accel.maps import with_border
from glean_plus.accel.speed import at_speed
from glean_plus.accel.style import StyleBlock
from glean_plus.accel.winograd import PRODUCTS, Workspace, transform_input, transform_output
from glean_plus.models import GLEAN, GLEANEncoder
from glean_plus.models.ops import fir_kernel, modulated_conv2d

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
    assert images == 1 or wanted.std(dim=0).max() > 1e-3  # the pictures of a batch are not alike
    folded = model.fold()
    assert largest_share(folded(lq), wanted) < 1e-5
    assert torch.equal(folded(lq), folded(lq))
    half = model.fold(torch.bfloat16)(lq)
    assert half.dtype == torch.float32
    error = (half - wanted).square().mean() / (wanted.max() - wanted.min()) ** 2
    assert -10 * error.log10() > 35


@needs_compiler_if_compiled
@pytest.mark.parametrize(('height', 'width', 'origin'), [(24, 40, (0, 0)), (72, 40, (8, 24)), (32, 32, (8, 0))])
@torch.no_grad()
def test_pictures_of_any_size_are_the_models(
    height: int, width: int, origin: tuple[int, int], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a hidden layer at the end and without; parts of a picture have the noise of their place."""
    for parts, whole in (({}, 0), (dict(decoder=dict(type='GLEANDecoder')), 100_000_000)):
        monkeypatch.setattr('glean_plus.accel.folded.BAND_BYTES', 350_000)
        monkeypatch.setattr('glean_plus.accel.folded.WHOLE_BYTES', whole)
        model = build(True, **parts)
        lq = torch.rand(2, 3, height, width) * 2 - 1
        folded = model.fold(compiled=compiled)
        assert largest_share(folded.forward_any(lq, origin=origin), model.forward_any(lq, origin=origin)) < 1e-5
    multiple = 8 if compiled else 4
    assert folded.multiple == multiple
    with pytest.raises(ValueError, match=f'multiples of {multiple}'):
        folded.forward_any(torch.rand(1, 3, 34, 32))
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
    multiple = 16 if compiled else 8
    assert (model.multiple, folded.multiple) == (4, multiple)
    with pytest.raises(ValueError, match=f'multiples of {multiple}'):
        folded.forward_any(torch.rand(1, 3, 68, 64))


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


@torch.no_grad()
def test_bands_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    for light in (False, True):
        model = build(light)
        lq = torch.rand(1, 3, 32, 32)
        wanted = model(lq)
        for band, whole in ((1, 0), (350_000, 1_000_000), (100_000_000, 100_000_000)):
            monkeypatch.setattr('glean_plus.accel.folded.BAND_BYTES', band)
            monkeypatch.setattr('glean_plus.accel.folded.WHOLE_BYTES', whole)
            assert largest_share(model.fold()(lq), wanted) < 1e-5


@pytest.mark.parametrize(('dtype', 'bytes_64'), [(torch.float32, 64 * 64 * 60 * 4), (torch.bfloat16, 64 * 64 * 60 * 2)])
def test_maps_are_whole_up_to_a_size(dtype: torch.dtype, bytes_64: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 64 the decoder's 12 channels and the bank's 48; the last resolution always comes in bands."""
    for limit, banded in ((bytes_64, {128}), (bytes_64 - 1, {64, 128})):
        monkeypatch.setattr('glean_plus.accel.folded.WHOLE_BYTES', limit)
        assert build(True).fold(dtype).banded == banded


@pytest.mark.parametrize(('fit', 'tops'), [(40, [0, 32, 64, 96]), (50, [0, 48, 96]), (127, [0, 64]), (128, [0])])
@torch.no_grad()
def test_bands_are_few_and_like_and_fit(fit: int, tops: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As few as ``fit`` rows allow, all but the last of one height, a multiple of 16."""
    model = build(False, out_size=128)
    row = 128 * 64 * 4  # bytes of the widest map, the hidden layer's
    monkeypatch.setattr('glean_plus.accel.folded.BAND_BYTES', fit * row)
    monkeypatch.setattr('glean_plus.accel.folded.WHOLE_BYTES', 0)
    seen = []
    band = FoldedGLEAN._band
    monkeypatch.setattr(FoldedGLEAN, '_band', lambda self, *given: (seen.append(given[4]), band(self, *given)))
    model.fold()(torch.rand(1, 3, 32, 32))
    assert seen == tops


@torch.no_grad()
def test_each_method_is_used_at_this_size() -> None:
    """What the test above folds has all three methods in it."""
    used = set()
    for light in (False, True):
        folded = build(light).fold()
        convs = [block.layers[1].conv for block in folded.blocks.values()]
        used |= {conv.method for conv in [*convs, *folded.stages.values(), *folded.fusions.values()]}
    assert used == set(METHODS)


@torch.no_grad()
def test_decoders_that_take_fewer_features(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[StyleBlock] = []
    run = StyleBlock.__call__
    monkeypatch.setattr(StyleBlock, '__call__', lambda self, *given: (seen.append(self), run(self, *given))[1])
    for resolutions, computed in (([64], {64}), ([128], {64, 128}), ([], set())):
        decoder = dict(type='GLEANDecoder', bank_resolutions=resolutions)
        model = build(True, decoder=decoder)
        lq = torch.rand(1, 3, 32, 32)
        folded = model.fold()
        assert largest_share(folded(lq), model(lq)) < 1e-5
        # Nothing of the bank that nobody reads.
        assert {res for res in (64, 128) if folded.blocks[res] in seen} == computed


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
    with pytest.raises(ValueError, match=r'dtype must be one of .*float16'):
        build(True).fold(torch.float16)
    with pytest.raises(ValueError, match='The input is 16x32, but this model restores 32x32'):
        build(True).fold()(torch.rand(1, 3, 16, 32))
    bank = dict(type='StyleGAN1Bank', out_size=32, style_channels=8, num_mlps=2, channels=CHANNELS, mapping=False)
    other = MODELS.build(dict(type='GLEAN', in_size=8, bank=bank, encoder=dict(type='GLEANEncoder', num_rrdbs=1)))
    with pytest.raises(TypeError, match='Only a StyleGAN2Bank can be folded, but the model has a StyleGAN1Bank'):
        FoldedGLEAN(other)
    assert not isinstance(other.fold(), FoldedGLEAN)
    model = build(True)
    model.bank.convs['8'].conv.blur.kernel.mul_(2)
    with pytest.raises(ValueError, match='Only the FIR filter'):
        model.fold()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('shuffle', [False, True])
def test_convolutions_are_exact(method: str, shuffle: bool) -> None:
    x, weight, bias = torch.randn(2, 12, 40, 1040), torch.randn(8, 12, 3, 3), torch.randn(8)
    wanted = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    if shuffle:
        wanted = F.pixel_shuffle(wanted, 2)
    wanted = wanted.permute(0, 2, 3, 1)
    wide = torch.full((*wanted.shape[:3], wanted.shape[3] + 3), 7.0)  # a part of a concatenation
    conv = Conv3x3(weight, bias, method=method, shuffle=shuffle)
    conv(with_border(x.permute(0, 2, 3, 1), Workspace(), 'x'), wide[..., :-3], Workspace())
    assert (wide[..., :-3] - wanted).abs().max() < 2e-3 * wanted.std()
    assert (wide[..., -3:] == 7).all()


# Two strips at least for each; the compiled kernel has tests of its own.
@pytest.mark.parametrize('kind', [*METHODS, 'up'])
def test_what_follows_a_convolution(kind: str) -> None:
    x, weight, bias = torch.randn(2, 12, 40, 1040), torch.randn(8, 12, 3, 3), torch.randn(8)
    in_scale, out_scale = torch.rand(2, 1, 1, 12) + 0.5, torch.rand(2, 1, 1, 8) + 0.5
    scaled = x * in_scale.permute(0, 3, 1, 2)
    if kind == 'up':
        conv = UpConv(weight, bias)
        ones, zeros = torch.ones(1, 12), torch.zeros(8)
        wanted = modulated_conv2d(scaled, weight, ones, zeros, demodulate=False, upsample_kernel=fir_kernel(gain=4.0))
    else:
        conv = Conv3x3(weight, bias, method=kind)
        wanted = F.conv2d(scaled, weight, padding=1)
    wanted = wanted.permute(0, 2, 3, 1) * out_scale + bias
    noise, then, more = torch.randn(*wanted.shape[1:3], 1), torch.rand(1, 1, 1, 8), torch.randn(wanted.shape)
    wanted = F.leaky_relu(wanted + noise, 0.2) * then + 0.3 * more + more.flip(0)
    epilogue = Epilogue(out_scale, noise, 0.2, then, [(more, 0.3), (more.flip(0), 1.0)])
    out = torch.empty(wanted.shape)
    conv(with_border(x.permute(0, 2, 3, 1), Workspace(), 'x'), out, Workspace(), epilogue, in_scale)
    assert (out - wanted).abs().max() < 2e-3 * wanted.std()


def test_winograd_is_a_convolution_along_an_axis() -> None:
    """The transforms and the filter matrix in float64, where only the algebra can be wrong."""
    x, weight = torch.randn(1, 6, 6, 5, dtype=torch.float64), torch.randn(4, 5, 3, 3, dtype=torch.float64)
    for method in ('rows', 'tiles'):
        conv = Conv3x3(weight, None, torch.float64, method=method)
        out = torch.empty(1, 4, 4, 4, dtype=torch.float64)
        conv(x, out, Workspace())
        wanted = F.conv2d(x.permute(0, 3, 1, 2), weight).permute(0, 2, 3, 1)
        assert (out - wanted).abs().max() < 1e-12
    # A constant at the point 1 comes out as itself, which is where the bias is added.
    products = [torch.zeros(1) for _ in range(PRODUCTS)]
    products[1].fill_(3)
    out = [torch.empty(1) for _ in range(4)]
    transform_output(products, out, [torch.empty(1) for _ in range(4)])
    assert [float(each) for each in out] == [3, 3, 3, 3]
    transformed = [torch.empty(1) for _ in range(PRODUCTS)]
    transform_input([torch.ones(1)] * 6, transformed, [torch.empty(1) for _ in range(3)])
    assert [float(each) for each in transformed] == [0, 1.5, 0, 0, 0, 0]


def test_up_sampling_and_thin_convolution() -> None:
    x, weight, bias = torch.randn(2, 6, 24, 600), torch.randn(5, 6, 3, 3), torch.randn(5)
    ones, zeros = torch.ones(1, 6), torch.zeros(5)
    wanted = modulated_conv2d(x, weight, ones, zeros, demodulate=False, upsample_kernel=fir_kernel(gain=4.0))
    out = torch.empty(2, 48, 1200, 5)
    UpConv(weight, torch.zeros(5))(with_border(x.permute(0, 2, 3, 1), Workspace(), 'x'), out, Workspace())
    assert (out.permute(0, 3, 1, 2) - wanted).abs().max() < 1e-4
    planes = torch.empty(5, 24, 600)
    ThinConv(weight, bias)(with_border(x.permute(0, 2, 3, 1), Workspace(), 'x')[1], planes, Workspace())
    assert (planes - F.conv2d(x[1], weight, bias, padding=1)).abs().max() < 1e-4


def test_methods_are_chosen_by_size() -> None:
    cpu = torch.device('cpu')
    assert choose_method(128, 256, 64, torch.float32, cpu) == 'tiles'
    assert choose_method(64, 256, 64, torch.float32, cpu) == 'rows'
    assert choose_method(512, 512, 64, torch.bfloat16, cpu) == 'rows'
    assert choose_method(128, 128, 256, torch.float32, cpu) == 'rows'
    assert choose_method(32, 32, 256, torch.float32, cpu) == 'rows'
    assert choose_method(32, 32, 256, torch.bfloat16, cpu) == 'direct'
    for channels, size, device in ((512, 16, cpu), (16, 64, cpu), (512, 34, cpu), (512, 64, torch.device('cuda'))):
        assert choose_method(channels, channels, size, torch.float32, device) == 'direct'
    with pytest.raises(ValueError, match='method must be one of'):
        Conv3x3(torch.randn(4, 4, 3, 3), method='fft')
    with pytest.raises(ValueError, match="6x8 needs method='direct'"):
        Conv3x3(torch.randn(4, 4, 3, 3), method='rows')(torch.zeros(1, 8, 10, 4), torch.empty(1, 6, 8, 4), Workspace())


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
    speeds = {'exact': {}, 'folded': dict(fold=True), 'bfloat16': dict(speed='folded-bfloat16')}
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
    # The last restorer again: what is trained or loaded is folded anew.
    state = {key: value * 2 if 'decoder' in key else value for key, value in restorer.state_dict().items()}
    restorer.load_state_dict(state)
    assert largest_share(restorer.forward_tensor(lq), pictures['bfloat16']) > 1e-2
    for test_cfg, message in (
        (dict(fold='fp16'), "test_cfg.fold must be True or False, but is 'fp16'"),
        (dict(speed='fast'), "test_cfg.speed must be one of .* but is 'fast'"),
        (dict(speed='exact', fold=True), 'both fold and speed'),
    ):
        with pytest.raises(ValueError, match=message):
            MODELS.build(dict(
                type='GLEANRestorer', generator=generator, pixel_loss=dict(type='MSELoss'), test_cfg=test_cfg
            ))  # fmt: skip
    with pytest.raises(TypeError, match="speed='folded' needs a network that can be folded, but this is a Linear"):
        at_speed(torch.nn.Linear(1, 1), 'folded')
