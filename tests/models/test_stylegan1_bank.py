"""The StyleGAN bank against MMagic's generator, and in GLEAN, LightGLEAN and the trainers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmagic.models.editors.stylegan1 import StyleGAN1, StyleGAN1Discriminator, StyleGAN1Generator
from mmagic.registry import MODELS
from mmengine import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict

from glean_plus.models import GLEAN, LearnedCodes, PredictedCodes, StyleGAN1Bank
from glean_plus.models.banks.stylegan1 import adaptive_instance_norm, upsample_conv2d
from glean_plus.weights import WeightsError, write_safetensors

from conftest import batch, relative_error, shake

SMALL = {4: 12, 8: 10, 16: 8, 32: 6}
TINY = dict(style_channels=8, num_mlps=2, channels=SMALL)


def pair(out_size: int) -> tuple[StyleGAN1Generator, StyleGAN1Bank]:
    theirs = StyleGAN1Generator(out_size, 64, num_mlps=3).eval()
    shake(theirs)
    ours = StyleGAN1Bank(out_size, style_channels=64, num_mlps=3).eval()
    ours.load(theirs.state_dict(), 'MMagic')
    return theirs, ours


def tiny_bank(out_size: int = 32, **options: object) -> StyleGAN1Bank:
    bank = StyleGAN1Bank(out_size, **TINY | options).eval()
    shake(bank)
    return bank


@pytest.fixture(scope='module')
def pair_16() -> tuple[StyleGAN1Generator, StyleGAN1Bank]:
    return pair(16)


@pytest.mark.parametrize('out_size', [8, 32, 128])
@torch.no_grad()
def test_images_equal_mmagic(out_size: int) -> None:
    theirs, ours = pair(out_size)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    z = torch.randn(2, 64)
    expected = theirs(z, randomize_noise=False)
    assert expected.shape == (2, 3, out_size, out_size)
    assert relative_error(expected, ours(z, randomize_noise=False)) < 1e-5


Z, OTHER, CENTRE = torch.randn(3, 2, 64, generator=torch.Generator().manual_seed(1))
CODES = torch.randn(2, 6, 64, generator=torch.Generator().manual_seed(2))
NOISES = [torch.randn(1, 1, side, side) for side in (4, 4, 8, 8, 16, 16)]


@pytest.mark.parametrize(
    'given',
    [
        dict(styles=[Z, OTHER], inject_index=3, randomize_noise=False),
        dict(styles=Z, injected_noise=NOISES),
        dict(styles=Z, randomize_noise=False, truncation=0.5, truncation_latent=CENTRE[0]),
        dict(styles=[Z], input_is_latent=True, randomize_noise=False),
        dict(styles=[CODES], input_is_latent=True, randomize_noise=False),
        dict(styles=lambda shape: Z, num_batches=2, randomize_noise=False),
        dict(styles=Z, randomize_noise=False, curr_scale=4),
        dict(styles=Z, randomize_noise=False, curr_scale=8, transition_weight=0.3),
        dict(styles=Z, randomize_noise=False, transition_weight=torch.tensor(0.0)),
    ],
    ids=lambda given: '-'.join(given),
)
@torch.no_grad()
def test_every_way_to_ask_for_pictures_equals_mmagic(
    given: dict, pair_16: tuple[StyleGAN1Generator, StyleGAN1Bank]
) -> None:
    theirs, ours = pair_16
    assert relative_error(theirs(**given), ours(**given)) < 1e-5


@torch.no_grad()
def test_result_holds_what_mmagic_s_does(pair_16: tuple[StyleGAN1Generator, StyleGAN1Bank]) -> None:
    theirs, ours = pair_16
    expected = theirs([Z, OTHER], inject_index=2, randomize_noise=False, return_latents=True)
    result = ours([Z, OTHER], inject_index=2, randomize_noise=False, return_latents=True)
    assert set(result) == set(expected) and result['inject_index'] == 2
    torch.testing.assert_close(result['latent'], expected['latent'])


@torch.no_grad()
def test_pictures_from_random_noise_differ_and_without_noise_do_not() -> None:
    bank, z = tiny_bank(8), torch.randn(2, 8)
    assert not torch.equal(bank(z), bank(z))
    silent = bank(z, add_noise=False)
    assert torch.equal(silent, bank(z, add_noise=False))
    torch.testing.assert_close(silent, bank(z, injected_noise=[torch.zeros(1)] * 4))


@torch.no_grad()
def test_step_equals_hooks_on_mmagic(pair_16: tuple[StyleGAN1Generator, StyleGAN1Bank]) -> None:
    theirs, ours = pair_16
    seen: list[torch.Tensor] = []
    hooks = [block.register_forward_hook(lambda m, i, output: seen.append(output)) for block in theirs.convs]
    theirs([CODES], input_is_latent=True, randomize_noise=False)
    for hook in hooks:
        hook.remove()
    feature = None
    for res, expected in zip((4, 8, 16), seen):
        feature = ours.step(res, CODES.unbind(1), feature)
        assert relative_error(expected, feature) < 1e-5, res


@torch.no_grad()
def test_bank_from_a_resolution_on_is_the_whole_one_there() -> None:
    whole = tiny_bank()
    part = StyleGAN1Bank(32, start_res=16, mapping=False, rgb=False, **TINY).eval()
    part.load(whole.state_dict(), 'a test')
    assert part.resolutions == (16, 32) and part.layers == (4, 5, 6, 7)
    assert {key.split('.')[0] for key in part.state_dict()} == {'convs', *(f'injected_noise_{i}' for i in part.layers)}
    feature = torch.randn(2, 10, 8, 8)
    whole_codes = list(torch.randn(2, 8, 8).unbind(1))
    part_codes = [code if layer in part.layers else None for layer, code in enumerate(whole_codes)]
    for res in (16, 32):
        expected, result = whole.step(res, whole_codes, feature), part.step(res, part_codes, feature)
        torch.testing.assert_close(result, expected)
        feature = expected
    # The mapping network is not kept, yet its mean code is known.
    torch.testing.assert_close(part.mean_code(64), whole.mean_code(64))


@pytest.mark.parametrize('res', [4, 8])
@torch.no_grad()
def test_one_code_for_all_pictures_is_each_picture_s_code(res: int) -> None:
    bank, code, feature = tiny_bank(8), torch.randn(1, 8), torch.randn(3, 12, 4, 4)
    shared = bank.step(res, [code] * 4, feature)
    repeated = bank.step(res, [code.expand(3, -1)] * 4, feature)
    torch.testing.assert_close(shared, repeated)
    # And one feature for all codes is each code's feature.
    codes = [torch.randn(1, 8), torch.randn(3, 8)] * 2
    one = bank.step(res, codes, feature[:1])
    each = bank.step(res, [code.expand(3, -1) for code in codes], feature[:1].expand(3, -1, -1, -1))
    torch.testing.assert_close(one, each)


# ---- Arithmetic


@pytest.mark.parametrize('side', [5, 64])
def test_upsampling_convolution_equals_its_two_parts(side: int) -> None:
    x, weight, bias = torch.randn(2, 3, side, side), torch.randn(5, 3, 3, 3), torch.randn(5)
    expected = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, bias, padding=1)
    torch.testing.assert_close(upsample_conv2d(x, weight, bias), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 4e-3)]
)
def test_instance_norm_keeps_its_statistics_in_full_precision(dtype: torch.dtype, tolerance: float) -> None:
    """On features far from zero, where statistics in half precision would be of no use."""
    x = (torch.randn(2, 3, 32, 32, dtype=torch.float64) * 0.1 + 1).to(dtype)
    scale, shift = torch.randn(2, 2, 3, dtype=torch.float64).to(dtype)
    wide = x.double()
    normal = (wide - wide.mean((2, 3), keepdim=True)) / (wide.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    expected = normal * scale.double()[:, :, None, None] + shift.double()[:, :, None, None]
    with torch.autocast('cpu', torch.bfloat16, enabled=dtype == torch.bfloat16):
        result = adaptive_instance_norm(x, scale, shift)
    assert result.dtype == dtype
    assert relative_error(expected, result.double()) < tolerance


@torch.no_grad()
def test_other_float_types_and_autocast() -> None:
    bank, z = tiny_bank(16), torch.randn(4, 8)
    expected = bank(z, randomize_noise=False)
    with torch.autocast('cpu', torch.bfloat16):
        result = bank(z, randomize_noise=False)
    assert result.dtype == torch.float32 and relative_error(expected, result) < 0.05
    double = bank.double()(z.double(), randomize_noise=False)
    assert double.dtype == torch.float64 and relative_error(expected, double) < 1e-5
    half = bank.bfloat16()(z.bfloat16(), randomize_noise=False)
    assert half.dtype == torch.float32 and relative_error(expected, half) < 0.05
    assert bank(num_batches=2).isfinite().all()


# ---- Errors


def test_default_channels_are_the_published_ones() -> None:
    bank = StyleGAN1Bank(1024, start_res=1024, style_channels=1, num_mlps=1)
    assert bank.channels == StyleGAN1Generator(4, 4, num_mlps=1).channels


@pytest.mark.parametrize(
    ('given', 'named'),
    [
        (dict(out_size=48), '48'),
        (dict(out_size=32, start_res=5), '5'),
        (dict(out_size=32, channels={4: 8, 8: 8, 16: 8}), r'\[32\]'),
    ],
)
def test_bad_sizes_are_named(given: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        StyleGAN1Bank(**given)


def test_part_of_a_bank_says_what_it_cannot_do() -> None:
    part = tiny_bank(16, start_res=8, mapping=False)
    with pytest.raises(RuntimeError, match='starts at 8'):
        part(torch.randn(1, 8))
    with pytest.raises(RuntimeError, match='mapping=True'):
        part.mean_code()
    with pytest.raises(ValueError, match='block at 8'):
        part.step(8, [torch.randn(1, 8)] * 6)
    with pytest.raises(RuntimeError, match='rgb=True'):
        tiny_bank(8, rgb=False)(torch.randn(1, 8))
    with pytest.raises(ValueError, match='curr_scale.*but is 32'):
        tiny_bank(16)(torch.randn(1, 8), curr_scale=32)


def remove(state: dict) -> None:
    del state['convs.0.conv1.input']  # a key that the light bank does not keep


def add(state: dict) -> None:
    state['convs.3.adain1.affine.bias'] = torch.zeros(1)


def transpose(state: dict) -> None:
    state['convs.1.conv1.0.conv.weight_orig'] = state['convs.1.conv1.0.conv.weight_orig'].transpose(0, 1)


def reshape(state: dict) -> None:
    state['convs.2.adain2.affine.bias'] = state['convs.2.adain2.affine.bias'][:8]


@pytest.mark.parametrize(
    ('damage', 'named'),
    [
        (remove, r'Missing from the file: convs\.0\.conv1\.input'),
        (add, r'Not in the model: convs\.3\.adain1\.affine\.bias'),
        (transpose, r'Other shape: convs\.1\.conv1\.0\.conv\.weight_orig is \(12, 10, 3, 3\).*\(10, 12, 3, 3\)'),
        (reshape, r'Other shape: convs\.2\.adain2\.affine\.bias is \(8,\) in the file and \(16,\)'),
    ],
)
def test_damaged_checkpoint_is_refused_by_key(damage: object, named: str, tmp_path: Path) -> None:
    state = tiny_bank(16).state_dict()
    write_safetensors({f'generator_ema.{key}': value for key, value in state.items()}, tmp_path / 'whole.safetensors')
    damage(state)
    write_safetensors({f'generator_ema.{key}': value for key, value in state.items()}, tmp_path / 'bad.safetensors')
    bank = tiny_bank(16, start_res=8, mapping=False, rgb=False)
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    bank.pretrained = dict(checkpoint=str(tmp_path / 'bad.safetensors'), prefix='generator_ema')
    with pytest.raises(WeightsError, match=named):
        bank.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in bank.state_dict().items()), 'half loaded'
    bank.pretrained = dict(checkpoint=str(tmp_path / 'whole.safetensors'), prefix='generator_ema')
    bank.init_weights()
    assert any(not torch.equal(value, before[key]) for key, value in bank.state_dict().items())


# ---- GLEAN, LightGLEAN and the trainers


@pytest.mark.parametrize(('in_size', 'start_res'), [(8, 4), (16, 16)])
def test_glean_and_lightglean_by_config(in_size: int, start_res: int, tmp_path: Path) -> None:
    source = tiny_bank()
    write_safetensors(source.state_dict(), tmp_path / 'bank.safetensors')
    model = MODELS.build(
        dict(
            type='GLEAN',
            in_size=in_size,
            bank=dict(type='StyleGAN1Bank', out_size=32, start_res=start_res, mapping=False, rgb=False,
                      pretrained=dict(checkpoint=str(tmp_path / 'bank.safetensors')), **TINY),
            encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4),
        )
    )  # fmt: skip
    assert isinstance(model, GLEAN)
    assert isinstance(model.codes, PredictedCodes if start_res == 4 else LearnedCodes)
    assert set(model.fusions) == ({'4', '8'} if start_res == 4 else set())
    model.init_weights()
    for key, value in model.bank.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key
    if start_res > 4:
        torch.testing.assert_close(model.codes.codes[0][0], source.mean_code())

    x = torch.randn(2, 3, in_size, in_size)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-2)
    model.train()
    output = model(x)
    assert output.shape == (2, 3, 32, 32)
    output.square().mean().backward()
    for name, parameter in model.named_parameters():
        if name.startswith('bank.'):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    optimizer.step()
    assert not torch.equal(model(x), output)
    assert not model.bank.training
    for key, value in model.bank.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


@torch.no_grad()
def test_lightglean_is_bound_to_its_size() -> None:
    """Instance norm has the statistics of the whole map, so a part is not what it is in the whole."""
    model = GLEAN(
        16, dict(type='StyleGAN1Bank', out_size=32, start_res=16, mapping=False, rgb=False, **TINY),
        encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4),
    ).eval()  # fmt: skip
    shake(model)
    assert not model.any_size
    with pytest.raises(ValueError, match='bound to inputs of 16x16.* or normalises over it'):
        model.forward_any(torch.randn(1, 3, 16, 16))
    # One pixel in a corner changes the image everywhere.
    x = torch.randn(1, 3, 16, 16)
    other = x.clone()
    other[..., 0, 0] += 1000
    assert relative_error(model(x)[..., 28:, 28:], model(other)[..., 28:, 28:]) > 1e-3


def step(model: torch.nn.Module, suffix: str = '') -> dict:
    """One training step; every parameter must move but those that only smaller images of a growing network use."""
    unused = ('generator.to_rgbs.0.', 'discriminator.from_rgb.1.')
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizers = OptimWrapperDict(
        **{
            f'{part}{suffix}': OptimWrapper(torch.optim.Adam(getattr(model, part).parameters(), 1e-2))
            for part in ('generator', 'discriminator')
        }
    )
    MessageHub.get_current_instance().update_info('iter', 0)
    log = model.train_step(dict(inputs={}, data_samples=batch(4, out_size=8)['data_samples']), optimizers)
    assert all(torch.as_tensor(value).isfinite() for value in log.values())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith(unused), name
    return log


def test_bank_trains_in_mmagic_s_own_trainer() -> None:
    """Progressive growing and R1, with MMagic's discriminator, which needs no compiled op."""
    model = StyleGAN1(
        generator=dict(type='StyleGAN1Bank', out_size=8, **TINY),
        discriminator=dict(type='StyleGAN1Discriminator', in_size=8),
        data_preprocessor=dict(type='DataPreprocessor'),
        style_channels=8,
        nkimgs_per_scale={'8': 1},
    )
    assert isinstance(model.discriminator, StyleGAN1Discriminator)
    assert 'loss_r1_gp' in step(model, '_8')


def test_bank_trains_in_the_trainer_of_stylegan2() -> None:
    """Without growing, with a slim discriminator and path length regularisation."""
    model = MODELS.build(
        dict(
            type='StyleGAN2BankTrainer',
            generator=dict(type='StyleGAN1Bank', out_size=8, **TINY),
            discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=8, channels=SMALL),
            data_preprocessor=dict(type='DataPreprocessor'),
            loss_config=dict(r1_interval=1, g_reg_interval=1),
        )
    )
    assert step(model)['loss_path_regular'].item() > 0
