"""Banks take the arguments of MMagic's generators, or refuse them by name, and can be sampled in the same ways."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from mmagic.models.editors.biggan import BigGANDeepGenerator, BigGANGenerator
from mmagic.models.editors.stylegan1 import StyleGAN1Generator
from mmagic.models.editors.stylegan2 import StyleGAN2Generator
from mmagic.registry import MODELS
from test_biggan_bank import trained
from torch import nn

from glean_plus.models import BigGANBank, BigGANDeepBank, StyleGAN1Bank, StyleGAN2Bank

from conftest import relative_error, shake

STYLES = {'StyleGAN1Bank': (StyleGAN1Bank, StyleGAN1Generator), 'StyleGAN2Bank': (StyleGAN2Bank, StyleGAN2Generator)}
KINDS = {
    **STYLES, 'BigGANBank': (BigGANBank, BigGANGenerator), 'BigGANDeepBank': (BigGANDeepBank, BigGANDeepGenerator),
}  # fmt: skip
both_styles = pytest.mark.parametrize('kind', STYLES)
every_kind = pytest.mark.parametrize('kind', KINDS)


def needed(kind: str) -> dict[str, Any]:
    """Arguments of a small generator of MMagic's."""
    if kind in STYLES:
        return dict(out_size=16, style_channels=32, num_mlps=2)
    # BigGAN-deep is published in PyTorch's style, which is the bank's default, too.
    style = 'torch' if kind == 'BigGANDeepBank' else 'ajbrock'
    return dict(output_scale=32, noise_size=20, num_classes=3, base_channels=8, shared_dim=6, sn_style=style)


def pair(kind: str, **options: Any) -> tuple[nn.Module, nn.Module]:
    """MMagic's generator and our bank, of the same arguments and weights, in evaluation."""
    ours_class, theirs_class = KINDS[kind]
    given = needed(kind) | options
    theirs = theirs_class(**given).eval()
    if kind in STYLES:
        shake(theirs)
    else:
        theirs = trained(theirs)
    ours = ours_class(**given).eval()
    ours.load(theirs.state_dict(), 'a test')
    return theirs, ours


# ---- arguments

# Defaults of MMagic's that a bank cannot have: no classes, and batch norm that synchronizes itself.
REFUSED_DEFAULTS = {'num_classes', 'auto_sync_bn'}


@every_kind
def test_every_argument_of_mmagic_s_is_taken_or_refused_by_name(kind: str) -> None:
    ours, theirs = KINDS[kind]
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(theirs).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }  # fmt: skip
    assert len(defaults) > 5
    ours(**{name: value for name, value in defaults.items() if name not in REFUSED_DEFAULTS} | needed(kind))
    for name in REFUSED_DEFAULTS & defaults.keys():
        with pytest.raises(ValueError, match=name):
            ours(**needed(kind) | {name: defaults[name]})
    for name in ours.mmagic.only:
        assert name in defaults
        with pytest.raises(ValueError, match=f"{name}='nothing like it', an argument of MMagic's {theirs.__name__}: "):
            ours(**needed(kind) | {name: 'nothing like it'})
    with pytest.raises(TypeError, match='no_such_argument'):
        ours(**needed(kind), no_such_argument=1)


@pytest.mark.parametrize(
    ('kind', 'given', 'words'),
    [
        ('StyleGAN2Bank', dict(cond_size=4), r"cond_size=4, an argument of MMagic's StyleGAN2Generator: it has no cl"),
        ('StyleGAN2Bank', dict(blur_kernel=[1, 2, 1]), r'blur_kernel=\[1, 2, 1\].*its filter is \[1, 3, 3, 1\]'),
        ('StyleGAN2Bank', dict(fp16_enabled=True), 'fp16_enabled=True.*--amp'),
        ('StyleGAN2Bank', dict(num_fp16_scales=4), 'num_fp16_scales=4.*torch.autocast'),
        ('StyleGAN2Bank', dict(update_mean_latent_with_ema=True), 'update_mean_latent_with_ema=True.*mean_code'),
        ('StyleGAN2Bank', dict(fixed_noise=True), 'fixed_noise=True.*randomize_noise=False'),
        ('StyleGAN2Bank', dict(default_style_mode='mixed'), "mix, single, but is 'mixed'"),
        ('StyleGAN2Bank', dict(bgr2rgb=True, flip_channels=True), 'both flip_channels'),
        ('StyleGAN2Bank', dict(pretrained=dict(ckpt_path='x.pth', strict=False)), 'strict=False'),
        ('StyleGAN1Bank', dict(blur_kernel=[1, 3, 3, 1]), 'StyleGAN1Bank cannot be built with blur_kernel'),
        ('BigGANBank', dict(with_spectral_norm=False), 'with_spectral_norm=False.*freeze'),
        ('BigGANBank', dict(split_noise=False), 'split_noise=False.*BigGANDeepBank'),
        ('BigGANBank', dict(arch_cfg=dict(in_channels=[8])), 'arch_cfg=.*give channels'),
        ('BigGANBank', dict(init_cfg=dict(type='N02')), 'init_cfg=.*start orthogonal'),
        ('BigGANBank', dict(with_shared_embedding=False), 'with_shared_embedding=False'),
        ('BigGANBank', dict(out_size=32), 'both out_size'),
        ('BigGANBank', dict(auto_sync_bn=True), "auto_sync_bn=True.*sync_bn='torch'"),
        ('BigGANDeepBank', dict(concat_noise=False), "MMagic's BigGANDeepGenerator: its codes are"),
        ('BigGANDeepBank', dict(block_depth=1), 'block_depth=1.*two blocks'),
        ('BigGANDeepBank', dict(act_cfg=dict(type='LeakyReLU')), 'act_cfg=.*ReLU'),
    ],
)
def test_what_a_bank_cannot_have_is_refused_by_name(kind: str, given: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KINDS[kind][0](**needed(kind) | given)


CONFIGS = {
    'StyleGAN2Bank': dict(
        out_size=16, style_channels=32, num_mlps=3, channel_multiplier=1, lr_mlp=0.02, blur_kernel=[1, 3, 3, 1],
        bgr2rgb=True, norm_eps=1e-6, cond_size=None, noise_size=24, fp16_enabled=False,
    ),
    'StyleGAN1Bank': dict(out_size=16, style_channels=32, num_mlps=3, lr_mlp=0.02, blur_kernel=[1, 2, 1]),
    'BigGANBank': dict(
        output_scale=32, noise_size=21, num_classes=3, base_channels=8, shared_dim=6, with_shared_embedding=True,
        sn_eps=1e-5, sn_style='torch', split_noise=True, act_cfg=dict(type='ReLU', inplace=True), input_scale=4,
        upsample_cfg=dict(type='nearest', scale_factor=2), with_spectral_norm=True, auto_sync_bn=False,
        blocks_cfg=dict(type='BigGANGenResBlock'), out_norm_cfg=dict(type='BN'), rgb2bgr=True,
        init_cfg=dict(type='ortho'),
    ),
    'BigGANDeepBank': dict(
        output_scale=32, noise_size=20, num_classes=3, base_channels=16, shared_dim=6, concat_noise=True, rgb2bgr=True,
        sn_style='torch', block_depth=2, init_type='ortho', act_cfg=dict(type='ReLU', inplace=False),
        blocks_cfg=dict(type='BigGANDeepGenResBlock'), auto_sync_bn=False, with_spectral_norm=True,
    ),
}  # fmt: skip


@every_kind
@torch.no_grad()
def test_a_config_of_mmagic_s_gives_its_images(kind: str) -> None:
    """Its arguments, but for the type: with the same weights, the same images, in the order of channels asked for."""
    _, theirs_class = KINDS[kind]
    theirs = theirs_class(**CONFIGS[kind])
    if kind in STYLES:
        shake(theirs)
    else:
        theirs = trained(theirs)
    theirs.eval()
    ours = MODELS.build(dict(type=kind, **CONFIGS[kind])).eval()
    ours.load(theirs.state_dict(), 'a test')
    given = dict(randomize_noise=False) if kind in STYLES else dict(label=torch.tensor([2, 0]))
    noise = torch.randn(2, ours.noise_size)
    expected = theirs(noise, **given)
    assert float(expected.std()) > 1e-3
    assert relative_error(expected, ours(noise, **given)) < 1e-5


@pytest.mark.parametrize('kind', ['StyleGAN2Bank', 'BigGANBank', 'BigGANDeepBank'])
def test_pretrained_as_mmagic_has_it(kind: str, tmp_path: Path) -> None:
    theirs, _ = pair(kind)
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict={f'generator_ema.{key}': value for key, value in theirs.state_dict().items()}), path)
    given = dict(pretrained=dict(ckpt_path=path, prefix='generator_ema', map_location='cpu'))
    ways = [given, dict(pretrained=dict(ckpt_path=path, prefix=''))]
    if kind == 'BigGANBank':
        ways.append(dict(init_cfg=dict(type='Pretrained', checkpoint=path, prefix='generator_ema')))
    if kind == 'BigGANDeepBank':
        ways.append(dict(pretrained=path))
    for way in ways:
        bank = KINDS[kind][0](**needed(kind), **way)
        bank.init_weights()
        for name, value in theirs.state_dict().items():
            assert torch.equal(bank.state_dict()[name], value), name
    assert given['pretrained'] == dict(ckpt_path=path, prefix='generator_ema', map_location='cpu')  # not edited


# ---- sampling

def both(models: tuple[nn.Module, nn.Module], call: Any) -> tuple[Any, Any]:
    """The same call of both, from the same seed."""
    results = []
    for model in models:
        torch.manual_seed(3)
        results.append(call(model))
    return results[0], results[1]


@both_styles
@torch.no_grad()
def test_mean_latent_and_new_noise_are_mmagic_s(kind: str) -> None:
    models = pair(kind)
    theirs, ours = both(models, lambda model: model.get_mean_latent(64, bs_per_repeat=16))
    assert theirs.shape == ours.shape == (1, 32)
    assert relative_error(theirs, ours) < 1e-5
    assert relative_error(models[1].mean_code(4096)[None], models[1].get_mean_latent()) < 0.2
    theirs, ours = both(models, lambda model: model.make_injected_noise())
    assert [each.shape for each in theirs] == [each.shape for each in ours]
    for a, b in zip(theirs, ours):
        torch.testing.assert_close(a, b)
    z = torch.randn(2, 32)
    assert relative_error(models[0](z, injected_noise=theirs), models[1](z, injected_noise=ours)) < 1e-5
    with pytest.raises(ValueError, match='a multiple of bs_per_repeat 1024, but is 100'):
        models[1].get_mean_latent(100)


@both_styles
@torch.no_grad()
def test_style_mixing_is_mmagic_s(kind: str) -> None:
    models = pair(kind)
    center = torch.randn(1, 32)
    theirs, ours = both(models, lambda model: model.style_mixing(3, 2, inject_index=4, truncation_latent=center))
    assert ours.shape == (12, 3, 16, 16) and (ours[0] == -1).all()
    assert relative_error(theirs, ours) < 1e-5
    if kind == 'StyleGAN1Bank':
        theirs, ours = both(models, lambda model: model.style_mixing(
            2, 1, truncation_latent=center, curr_scale=8, transition_weight=0.4
        ))  # fmt: skip
        assert ours.shape == (6, 3, 8, 8) and relative_error(theirs, ours) < 1e-5


@torch.no_grad()
def test_features_and_codes_are_mmagic_s() -> None:
    models = pair('StyleGAN2Bank')
    z = torch.randn(2, 32)
    for index in (0, 1, 2, -1):
        given = dict(randomize_noise=False, return_latents=True, return_features=True, feat_idx=index)
        theirs, ours = both(models, lambda model, given=given: model(z, **given))
        assert theirs.keys() == ours.keys()
        for name in ('fake_img', 'latent', 'feats'):
            assert relative_error(theirs[name], ours[name]) < 1e-5, name
    # Alone, it changes nothing.
    given = dict(randomize_noise=False, return_features=True)
    assert relative_error(*both(models, lambda model: model(z, **given))) < 1e-5
    theirs, ours = both(models, lambda model: model(z, return_latent_only=True, truncation=0.5, truncation_latent=z[0]))
    assert ours.shape == (2, 6, 32) and relative_error(theirs, ours) < 1e-5
    with pytest.raises(ValueError, match=r'feat_idx 5 is no index of the features, which are of \[4, 8, 16\] px'):
        models[1](z, return_latents=True, return_features=True)
    for given in (dict(label=torch.tensor([0, 1])), dict(update_ws=True)):
        with pytest.raises(ValueError, match='leave label and update_ws out'):
            models[1](z, **given)


@torch.no_grad()
def test_stylegan1_gives_its_features_and_codes_alike() -> None:
    bank = pair('StyleGAN1Bank')[1]
    z = torch.randn(2, 32)
    result = bank(z, return_noise=True, return_features=True, feat_idx=1, randomize_noise=False)
    expected = bank.step(8, result['latent'].unbind(1), bank.step(4, result['latent'].unbind(1)))
    torch.testing.assert_close(result['feats'], expected)
    assert torch.equal(bank(z, return_latent_only=True), result['latent'])


@both_styles
@pytest.mark.parametrize('train_mode', ['mix', 'single'])
@pytest.mark.parametrize('eval_mode', ['mix', 'single'])
@torch.no_grad()
def test_style_modes_are_mmagic_s(kind: str, train_mode: str, eval_mode: str) -> None:
    models = pair(kind, default_style_mode=train_mode, eval_style_mode=eval_mode, mix_prob=1.0)
    for training, mode in ((False, eval_mode), (True, train_mode)):
        for model in models:
            model.train(training)
            assert model.default_style_mode == mode
            assert len(model(None, num_batches=2, return_noise=True)['noise_batch']) == 1 + (mode == 'mix')
            model.default_style_mode = 'single'  # until the mode is switched again
            assert len(model(None, num_batches=2, return_noise=True)['noise_batch']) == 1
