"""The StyleGAN2 bank and the discriminator against MMagic's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmagic.models.editors.stylegan2 import StyleGAN2, StyleGAN2Discriminator, StyleGAN2Generator
from mmcv.ops.upfirdn2d import upfirdn2d
from mmengine import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict

from glean_plus.models import StyleGAN2Bank, StyleGAN2BankDiscriminator
from glean_plus.models.banks.stylegan2 import stylegan2_channels
from glean_plus.models.ops import EqualizedLinear, fir_filter, fir_kernel, modulated_conv2d
from glean_plus.utils.precision import full_precision

from conftest import batch, relative_error, shake

SMALL = {4: 12, 8: 10, 16: 8, 32: 6}


def pair(out_size: int, channel_multiplier: int = 2) -> tuple[StyleGAN2Generator, StyleGAN2Bank]:
    theirs = StyleGAN2Generator(out_size, 64, num_mlps=3, channel_multiplier=channel_multiplier).eval()
    shake(theirs)
    ours = StyleGAN2Bank(out_size, style_channels=64, num_mlps=3, channel_multiplier=channel_multiplier).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


@pytest.mark.parametrize(('out_size', 'multiplier'), [(8, 2), (32, 2), (128, 1), (256, 2)])
@torch.no_grad()
def test_images_equal_mmagic(out_size: int, multiplier: int) -> None:
    theirs, ours = pair(out_size, multiplier)
    z = torch.randn(2, 64)
    assert relative_error(theirs(z, randomize_noise=False), ours(z, randomize_noise=False)) < 1e-5


@torch.no_grad()
def test_every_way_to_ask_for_pictures_equals_mmagic() -> None:
    theirs, ours = pair(16)
    z, other = torch.randn(2, 64), torch.randn(2, 64)
    noises = theirs.make_injected_noise()
    centre = torch.randn(64)
    for given in (
        dict(styles=[z, other], inject_index=3, randomize_noise=False),
        dict(styles=z, injected_noise=noises),
        dict(styles=z, add_noise=False),
        dict(styles=z, randomize_noise=False, truncation=0.5, truncation_latent=centre),
        dict(styles=[torch.randn(2, 6, 64)], input_is_latent=True, randomize_noise=False),
    ):
        assert relative_error(theirs(**given), ours(**given)) < 1e-5, given
    expected = theirs(z, randomize_noise=False, return_latents=True)
    result = ours(z, randomize_noise=False, return_latents=True)
    assert set(result) == set(expected)
    torch.testing.assert_close(result['latent'], expected['latent'])


@pytest.mark.parametrize(('mix_prob', 'training', 'draws'), [(1.0, True, 2), (0.0, True, 1), (1.0, False, 1)])
@torch.no_grad()
def test_styles_are_mixed_in_training_alone(mix_prob: float, training: bool, draws: int) -> None:
    bank = StyleGAN2Bank(16, style_channels=64, num_mlps=3, mix_prob=mix_prob).train(training)
    drawn = []

    def draw(size: tuple[int, ...]) -> torch.Tensor:
        drawn.append(torch.randn(size))
        return drawn[-1]

    for _ in range(30):
        drawn.clear()
        codes = bank(draw, num_batches=2, return_latents=True)['latent']
        assert [tuple(each.shape) for each in drawn] == [(2, 64)] * draws
        assert torch.equal(codes[:, 0], codes[:, -1]) == (draws == 1)  # never all of one


@torch.no_grad()
def test_defaults_are_the_published_networks() -> None:
    theirs, ours = StyleGAN2Generator(8, 512), StyleGAN2Bank(8)
    shapes = [{name: tuple(value.shape) for name, value in net.state_dict().items()} for net in (theirs, ours)]
    assert shapes[0] == shapes[1]
    for name, value in theirs.state_dict().items():
        if value.min() == value.max():  # a bias that starts at 0 or 1, or the strength of noise
            assert torch.equal(ours.state_dict()[name], value), name
    assert fir_kernel().sum() == 1 and (EqualizedLinear(3, 5).bias == 0).all()
    assert torch.equal(ours.sample_codes(8), ours.sample_codes(8, seed=0))


@torch.no_grad()
def test_step_equals_hooks_on_mmagic() -> None:
    theirs, ours = pair(32)
    codes = torch.randn(2, 8, 64)
    seen = []
    for layer in (theirs.conv1, *theirs.convs[1::2]):
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    theirs([codes], input_is_latent=True, randomize_noise=False)
    feature = None
    for res, expected in zip((4, 8, 16, 32), seen):
        feature = ours.step(res, codes.unbind(1), feature)
        assert relative_error(expected, feature) < 1e-5, res


@torch.no_grad()
def test_bank_from_a_resolution_on_is_the_whole_one_there() -> None:
    whole = StyleGAN2Bank(32, style_channels=8, channels=SMALL).eval()
    shake(whole)
    part = StyleGAN2Bank(32, start_res=16, style_channels=8, channels=SMALL, mapping=False, rgb=False).eval()
    part.load(whole.state_dict(), 'a test')
    assert part.resolutions == (16, 32) and part.layers == (3, 4, 5, 6)
    assert not any(key.startswith(('style_mapping', 'to_rgb', 'conv1', 'constant')) for key in part.state_dict())
    feature = torch.randn(2, 10, 8, 8)
    whole_codes = list(torch.randn(2, 8, 8).unbind(1))
    part_codes = [code if layer in part.layers else None for layer, code in enumerate(whole_codes)]
    for res in (16, 32):
        expected, result = whole.step(res, whole_codes, feature), part.step(res, part_codes, feature)
        torch.testing.assert_close(result, expected)
        feature = expected
    # The mapping network is not kept, yet its mean code is known.
    torch.testing.assert_close(part.mean_code(64), whole.mean_code(64))


@torch.no_grad()
def test_one_code_for_all_pictures_is_each_picture_s_code() -> None:
    bank = StyleGAN2Bank(16, style_channels=8, channels=SMALL)
    feature = torch.randn(3, 12, 4, 4)
    code = torch.randn(1, 8)
    shared = bank.step(8, [code] * 8, feature)
    repeated = bank.step(8, [code.expand(3, -1)] * 8, feature)
    torch.testing.assert_close(shared, repeated)


@pytest.mark.parametrize(('size', 'corner'), [((64, 40), (0, 0)), ((16, 32), (24, 8)), ((32, 32), (56, 40))])
def test_noise_beyond_the_bank_s_size_is_repeated(size: tuple[int, int], corner: tuple[int, int]) -> None:
    """Of an image larger than the bank's, or of its part, at every resolution."""
    bank = StyleGAN2Bank(32, style_channels=8, num_mlps=2, channels=SMALL)
    got = bank.tiled_noises(size, corner)
    assert {res: len(noises) for res, noises in got.items()} == {4: 1, 8: 2, 16: 2, 32: 2}
    for res, noises in got.items():
        (top, left), (rows, columns) = ([number * res // 32 for number in pair] for pair in (corner, size))
        for layer, noise in zip(bank.layers_of(res), noises):
            endless = getattr(bank, f'injected_noise_{layer}').repeat(1, 1, 4, 4)
            assert torch.equal(noise, endless[:, :, top:top + rows, left:left + columns])


def test_frozen_bank_stays_in_eval_mode_and_without_gradients() -> None:
    bank = StyleGAN2Bank(8, style_channels=8, channels=SMALL).freeze()
    assert not bank.train().training
    assert not any(parameter.requires_grad for parameter in bank.parameters())


def test_default_channels_are_the_published_ones() -> None:
    theirs = StyleGAN2Generator(1024, 4, num_mlps=1, channel_multiplier=1).channels
    assert stylegan2_channels(1) == theirs


@pytest.mark.parametrize(
    ('given', 'named'),
    [
        (dict(out_size=48), '48'),
        (dict(out_size=40), '40'),
        (dict(out_size=32, start_res=5), '5'),
        (dict(out_size=32, channels={4: 8, 8: 8, 16: 8}), r'\[32\]'),
    ],
)
def test_bad_sizes_are_named(given: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        StyleGAN2Bank(**given)


@pytest.mark.parametrize('styles, options, named', [
    (torch.zeros(2, 7), {}, r'style .* \(N, 8\), but has \(2, 7\)'),
    (torch.zeros(8), {}, r'\(N, 8\), but has \(8,\)'),
    ([torch.zeros(2, 8), torch.zeros(2, 9)], {}, r'\(N, 8\), but has \(2, 9\)'),
    ([torch.zeros(2, 8)] * 3, {}, 'There are 3 styles'),
    (torch.zeros(2, 7), dict(input_is_latent=True), r'code .* \(N, 8\) or \(N, 6, 8\), but has \(2, 7\)'),
    (torch.zeros(2, 5, 8), dict(input_is_latent=True), r'\(N, 6, 8\), but has \(2, 5, 8\)'),
    (lambda shape: torch.zeros(3, 4), dict(num_batches=3), r'\(N, 8\), but has \(3, 4\)'),
])  # fmt: skip
def test_styles_of_another_width_are_named(styles: Any, options: dict, named: str) -> None:
    bank = StyleGAN2Bank(16, style_channels=8, channels=SMALL)
    with pytest.raises(ValueError, match=named):
        bank(styles, **options)


def test_part_of_a_bank_says_what_it_cannot_do() -> None:
    bank = StyleGAN2Bank(16, start_res=8, style_channels=8, channels=SMALL, mapping=False)
    with pytest.raises(RuntimeError, match='starts at 8'):
        bank(torch.randn(1, 8))
    with pytest.raises(RuntimeError, match='mapping=True'):
        bank.mean_code()
    with pytest.raises(ValueError, match='block at 8'):
        bank.step(8, [torch.randn(1, 8)] * 6)
    with pytest.raises(ValueError, match='needs a code'):
        bank.step(8, [None] * 6, torch.randn(1, 8, 4, 4))


@pytest.mark.skipif(torch.__version__ < '2.4', reason='PyTorch has no convolutions in float16 on CPUs')
@pytest.mark.parametrize('upsample', [False, True])
def test_large_codes_stay_in_float16_s_range(upsample: bool) -> None:
    """Scaled features reach 300,000, where float16 ends at 65,504; the results do not."""
    x, weight = 20 * torch.randn(2, 16, 8, 8), torch.randn(8, 16, 3, 3)
    scale, bias = 4000 * torch.randn(2, 16), torch.randn(8)
    weight[0] = 0
    kernel = fir_kernel(gain=4.0) if upsample else None
    expected = modulated_conv2d(x, weight, scale, bias, upsample_kernel=kernel)
    result = modulated_conv2d(x.half(), weight, scale, bias, upsample_kernel=kernel)
    assert result.dtype == torch.float16 and relative_error(expected, result.float()) < 5e-3


@torch.no_grad()
def test_double_precision_is_kept() -> None:
    x, weight, scale, bias = (torch.randn(shape).double() for shape in ((2, 6, 8, 8), (5, 6, 3, 3), (2, 6), (5,)))
    own = weight * scale[:, None, :, None, None]
    own = own / (own.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    expected = torch.cat([F.conv2d(each[None], kernels, bias, padding=1) for each, kernels in zip(x, own)])
    torch.testing.assert_close(modulated_conv2d(x, weight, scale, bias), expected, rtol=0, atol=1e-12)
    bank = StyleGAN2Bank(8, style_channels=8, num_mlps=2, channels=SMALL).double()
    assert bank(torch.randn(1, 8).double(), randomize_noise=False).dtype == torch.float64


@pytest.mark.skipif(not hasattr(torch.amp, 'is_autocast_available'), reason='PyTorch 2.4 tells where autocast is')
def test_full_precision_wherever_there_is_autocast() -> None:
    for kind in ('cpu', 'cuda', 'mps', 'xpu', 'meta'):
        off = full_precision(torch.device(kind))
        assert isinstance(off, torch.autocast) == torch.amp.is_autocast_available(kind), kind


@pytest.mark.parametrize(('padding', 'up', 'down'), [((1, 1), 1, 1), ((2, 1), 2, 1), ((2, 2), 1, 1), ((1, 1), 1, 2)])
def test_fir_filter_equals_mmcv(padding: tuple[int, int], up: int, down: int) -> None:
    kernel = fir_kernel((1, 2, 5, 3), gain=4)  # asymmetric: a flip would show
    for size in ((9, 13), (140, 131)):
        x = torch.randn(2, 3, *size)
        expected = upfirdn2d(x, kernel, up=up, down=down, padding=[*padding, *padding])
        torch.testing.assert_close(fir_filter(x, kernel, padding, up, down), expected)


@pytest.mark.parametrize('in_size', [8, 64])
@torch.no_grad()
def test_discriminator_equals_mmagic(in_size: int) -> None:
    theirs = StyleGAN2Discriminator(in_size).eval()
    shake(theirs)
    ours = StyleGAN2BankDiscriminator(in_size).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(8, 3, in_size, in_size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_discriminator_names_a_batch_it_cannot_group() -> None:
    with pytest.raises(ValueError, match='batch of 6'):
        StyleGAN2BankDiscriminator(8, channels=SMALL)(torch.randn(6, 3, 8, 8))


def test_bank_trains_in_mmagic_s_own_trainer() -> None:
    """MMagic's StyleGAN2, with path length regularisation and R1, steps on our bank and discriminator."""
    model = StyleGAN2(
        generator=dict(type='StyleGAN2Bank', out_size=16, style_channels=8, num_mlps=2, channels=SMALL),
        discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=16, channels=SMALL),
        data_preprocessor=dict(type='DataPreprocessor'),
        ema_config=dict(type='ExponentialMovingAverage', momentum=0.1),
        loss_config=dict(r1_interval=1, g_reg_interval=1),
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizers = OptimWrapperDict(
        generator=OptimWrapper(torch.optim.Adam(model.generator.parameters(), 1e-2)),
        discriminator=OptimWrapper(torch.optim.Adam(model.discriminator.parameters(), 1e-2)),
    )
    MessageHub.get_current_instance().update_info('iter', 0)
    log = model.train_step(dict(inputs={}, data_samples=batch(4, out_size=16)['data_samples']), optimizers)
    assert log['loss_path_regular'].item() > 0 and log['loss_r1_gp'].item() >= 0
    trained = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and torch.equal(parameter, before[name])
    ]
    # Untouched may be only what noise strength zero hides; everything else has moved.
    assert trained == []
