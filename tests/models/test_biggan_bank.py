"""The BigGAN banks against MMagic's, and what is made of them."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from mmagic.models.editors.biggan import BigGANDeepGenerator, BigGANDiscriminator, BigGANGenerator
from mmagic.models.editors.biggan.biggan_modules import SelfAttentionBlock
from mmagic.registry import MODELS
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from glean_plus.models import GLEAN, BigGANBank, BigGANBankDiscriminator, BigGANDeepBank, GLEANRestorer
from glean_plus.models.banks.base import LatentBank
from glean_plus.models.banks.biggan import WIDTHS, biggan_channels
from glean_plus.weights import WeightsError, write_safetensors

from conftest import batch, relative_error

KINDS = {'BigGANBank': (BigGANBank, BigGANGenerator), 'BigGANDeepBank': (BigGANDeepBank, BigGANDeepGenerator)}
STYLES = ['ajbrock', 'torch']
CLASSES = 5
SMALL: dict[str, Any] = dict(
    out_size=16, noise_size=12, num_classes=CLASSES, shared_dim=6, channels={4: 16, 8: 12, 16: 8}, attention=[8]
)

both_kinds = pytest.mark.parametrize('kind', KINDS)
both_styles = pytest.mark.parametrize('style', STYLES)


def trained_biases(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.ndim < 2:
            parameter.data += torch.randn_like(parameter) * 0.3


def trained(model: nn.Module) -> nn.Module:
    """With statistics of batches, singular vectors and attention as after training, not as at its start."""
    trained_biases(model)
    with torch.no_grad():
        for _ in range(2):
            model.train()(None, num_batches=8)
    return model.eval()


def pair(kind: str, out_size: int, style: str, base: int = 8) -> tuple[nn.Module, LatentBank]:
    ours_class, theirs_class = KINDS[kind]
    options = dict(noise_size=40, num_classes=CLASSES, shared_dim=6, sn_style=style)
    theirs = trained(theirs_class(out_size, base_channels=base, **options))
    ours = ours_class(out_size, base_channels=base, **options).eval()
    ours.load(theirs.state_dict(), 'a test')
    return theirs, ours


def small(kind: str, **options: Any) -> LatentBank:
    return KINDS[kind][0](**{**SMALL, **options})


@both_kinds
@pytest.mark.parametrize(
    ('out_size', 'base', 'style'), [(32, 8, 'ajbrock'), (32, 8, 'torch'), (64, 4, 'ajbrock'), (128, 4, 'torch')]
)
@torch.no_grad()
def test_images_equal_mmagic(kind: str, out_size: int, base: int, style: str) -> None:
    theirs, ours = pair(kind, out_size, style, base)
    noise, label = torch.randn(2, ours.noise_size), torch.tensor([0, 3])
    expected = theirs(noise, label)
    assert float(expected.std()) > 0.1
    assert relative_error(expected, ours(noise, label)) < 1e-5
    # Frozen after loading, and frozen before it as GLEAN does, it is the same without spectral normalisation.
    for frozen in (copy.deepcopy(ours).freeze(), ours.whole().freeze()):
        frozen.load(theirs.state_dict(), 'a test')
        assert not any(name.endswith(('_orig', '_u', '_v', 'u0', 'sv0')) for name in frozen.state_dict())
        assert relative_error(expected, frozen(noise, label)) < 1e-5


@both_kinds
@torch.no_grad()
def test_every_way_to_ask_for_pictures_equals_mmagic(kind: str) -> None:
    # In double precision: far from what it was trained on, the network is ill-conditioned.
    theirs, ours = (model.double() for model in pair(kind, 32, 'ajbrock'))
    noise, label = torch.randn(2, ours.noise_size).double() * 2, torch.tensor([4, 1])
    for given in (
        dict(noise=noise, label=label, truncation=0.4),
        dict(noise=noise, label=torch.randn(2, 6).double(), use_outside_embedding=True),
        dict(noise=lambda size: noise, label=lambda size: label, num_batches=2, return_noise=True),
    ):
        expected, result = theirs(**given), ours(**given)
        if isinstance(expected, dict):
            assert set(result) == set(expected) and torch.equal(result['label'], expected['label'])
            torch.testing.assert_close(result['noise_batch'], expected['noise_batch'])
            expected, result = expected['fake_img'], result['fake_img']
        assert relative_error(expected, result) < 1e-9, given
    drawn = ours(None, num_batches=3, return_noise=True)
    assert drawn['fake_img'].shape == (3, 3, 32, 32) and drawn['label'].shape == (3,)


@both_kinds
@torch.no_grad()
def test_step_equals_hooks_on_mmagic(kind: str) -> None:
    theirs, ours = pair(kind, 64, 'torch', base=4)
    seen: dict[int, torch.Tensor] = {}

    def remember(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if output.shape[-1] > inputs[0].shape[-1] or isinstance(module, SelfAttentionBlock):
            seen[output.shape[-1]] = output

    # The first block takes the linear layer's result.
    theirs.conv_blocks[0].register_forward_pre_hook(lambda module, inputs: seen.update({0: inputs[0]}))
    for block in theirs.conv_blocks:
        block.register_forward_hook(remember)
    assert isinstance(theirs.conv_blocks[-1], SelfAttentionBlock)
    noise, label = torch.randn(2, ours.noise_size), torch.tensor([0, 3])
    theirs(noise, label)
    seen[4] = seen.pop(0)
    codes = ours.codes(noise, ours.class_embedding(label))
    feature = None
    for res in (4, 8, 16, 32, 64):
        feature = ours.step(res, codes, feature)
        assert feature.shape[1] == ours.channels[res]
        assert relative_error(seen[res], feature) < 1e-5, res


@both_kinds
def test_default_widths_and_attention_are_mmagic_s(kind: str) -> None:
    attention = inspect.signature(KINDS[kind][0]).parameters['attention'].default
    for out_size in WIDTHS:
        arch = KINDS[kind][1]._get_default_arch_cfg(None, out_size, 96)
        widths = [arch['in_channels'][0], *arch['out_channels']]
        assert biggan_channels(out_size, 96) == dict(zip([4, *arch['resolution']], widths))
        assert [res in attention for res in arch['resolution']] == arch['attention']


def test_layers_and_codes_are_the_contract_s() -> None:
    with torch.device('meta'):
        bank = BigGANBank(256, base_channels=16, num_classes=2)
        deep = BigGANDeepBank(256, start_res=64, base_channels=16, num_classes=2)
    assert bank.noise_size == 119 and bank.code_dims == (17, *[145] * 6) and bank.class_dims == (0, *[128] * 6)
    assert bank.layers == tuple(range(7))
    assert deep.noise_size == 128 and deep.code_dims == (256,) * 13 and deep.class_dims == (128,) * 13
    assert deep.layers == (7, 8, 9, 10, 11, 12) and deep.resolutions == (64, 128, 256)


@both_kinds
@both_styles
@torch.no_grad()
def test_bank_from_a_resolution_on_is_the_whole_one_there(kind: str, style: str) -> None:
    whole = trained(small(kind, sn_style=style))
    part = small(kind, sn_style=style, start_res=8, rgb=False, embedding=False).freeze()
    part.load(whole.state_dict(), 'a test')
    assert not any(key.startswith(('noise2feat', 'shared', 'output')) for key in part.state_dict())
    label, feature = torch.tensor([1, 4]), torch.randn(2, 16, 4, 4)
    codes = whole.codes(torch.randn(2, 12), whole.class_embedding(label))
    held = [code if layer in part.layers else None for layer, code in enumerate(codes)]
    for res in part.resolutions:
        expected, result = whole.step(res, codes, feature), part.step(res, held, feature)
        torch.testing.assert_close(result, expected)
        feature = expected
    # The embedding is not kept, yet its mean is known.
    for expected, code, dims in zip(whole.mean_codes(), part.mean_codes(), whole.class_dims):
        torch.testing.assert_close(code, expected)
        mean = whole.shared_embedding.weight.mean(dim=0)[:dims]
        torch.testing.assert_close(code, torch.cat([mean, torch.zeros(len(code) - dims)]))


@both_kinds
def test_frozen_bank_has_no_gradients_and_keeps_its_statistics(kind: str) -> None:
    bank = small(kind).freeze().freeze()
    assert not any(parameter.requires_grad for parameter in bank.parameters())
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    bank.train()(None, num_batches=4)
    assert not any(module.training for module in bank.modules())
    assert all(torch.equal(value, before[key]) for key, value in bank.state_dict().items())


@both_kinds
@both_styles
def test_bank_that_is_not_frozen_trains_with_spectral_norm(kind: str, style: str) -> None:
    bank = small(kind, sn_style=style).train()
    nn.init.ones_(next(p for name, p in bank.named_parameters() if name.endswith('gamma')))
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    bank(None, num_batches=4).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in bank.parameters())
    moved = [key for key, value in bank.state_dict().items() if not torch.equal(value, before[key])]
    assert any(key.endswith(('u0', 'weight_u')) for key in moved) and any(key.endswith('running_var') for key in moved)
    # The gradient knows that sigma depends on the weight: growing the weight changes nothing.
    layer = bank.noise2feat
    weight = layer.weight if style == 'ajbrock' else layer.weight_orig
    assert abs((weight.grad * weight).sum().item()) < 1e-4 * (weight.grad.norm() * weight.norm()).item()


@both_kinds
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
@torch.no_grad()
def test_other_precisions(kind: str, dtype: torch.dtype) -> None:
    bank = trained(small(kind)).freeze()
    noise, label = torch.randn(2, 12), torch.tensor([0, 3])
    expected = bank(noise, label)
    with torch.autocast('cpu', torch.bfloat16):
        assert float((bank(noise, label) - expected).abs().mean()) < 0.05
    result = bank.to(dtype)(noise.to(dtype), label)
    assert float((result - expected).abs().mean()) < (1e-6 if dtype == torch.float64 else 0.05)


@both_kinds
@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize(
    ('damage', 'named'),
    [
        (lambda s: s.pop('conv_blocks.0.conv1.conv.u0'), r'Missing from the file: conv_blocks\.0\.conv1\.conv\.u0'),
        (lambda s: s.pop('output_layer.bn.running_mean'), r'Missing .*output_layer\.bn\.running_mean'),
        (lambda s: s.update(extra=torch.ones(1)), 'Not in the model: extra'),
        (lambda s: s.update({'noise2feat.bias': torch.ones(3)}), r'Other shape: noise2feat\.bias'),
        (
            lambda s: s.update({'noise2feat.weight': s['noise2feat.weight'].t()}),
            r'Other shape: noise2feat\.weight is \(\d+, 256\) in the file and \(256, \d+\) in the model',
        ),
    ],
)
def test_damaged_checkpoint_is_refused_by_name(kind: str, frozen: bool, damage: Any, named: str) -> None:
    state = small(kind, sn_style='ajbrock').state_dict()
    damage(state)
    bank = small(kind, sn_style='ajbrock')
    if frozen:
        bank.freeze()
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    with pytest.raises(WeightsError, match=named):
        bank.load(state, 'a file')
    assert all(torch.equal(value, before[key]) for key, value in bank.state_dict().items())


@both_kinds
def test_other_form_of_spectral_norm_is_refused_and_a_missing_count_is_not(kind: str) -> None:
    state = small(kind, sn_style='torch').state_dict()
    with pytest.raises(WeightsError, match=r'Missing .*weight.*Not in the model: .*weight_orig'):
        small(kind, sn_style='ajbrock').load(state, 'a file')
    counts = [key for key in state if key.endswith('num_batches_tracked')]
    small(kind, sn_style='torch').load({key: value for key, value in state.items() if key not in counts}, 'a file')


@pytest.mark.parametrize(
    ('given', 'named'),
    [
        (dict(out_size=48), '48'),
        (dict(start_res=5), '5'),
        (dict(channels={4: 8, 16: 8}), r'\[8\]'),
        (dict(out_size=1024, channels=None), '1024'),
        (dict(num_classes=0), 'num_classes'),
        (dict(noise_size=2), 'noise_size 2'),
        (dict(sn_style='other'), 'other'),
        (dict(channels={4: 16, 8: 4, 16: 4}), 'Self-attention'),
    ],
)
def test_bad_sizes_are_named(given: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        small('BigGANBank', **given)


def test_what_a_bank_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match='cannot widen'):
        small('BigGANDeepBank', channels={4: 16, 8: 24, 16: 8})
    bank = small('BigGANBank')
    with pytest.raises(ValueError, match=r'classes 0 to 4, but is given \[5, -1\]'):
        bank.class_embedding(torch.tensor([0, 5, -1]))
    with pytest.raises(ValueError, match=r'\(N, 12\), but has \(2, 7\)'):
        bank(torch.randn(2, 7), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r'embedding .* \(2, \d+\), but has \(2, 3\)'):
        bank(torch.randn(2, 12), torch.zeros(2, 3), use_outside_embedding=True)
    with pytest.raises(ValueError, match=r'classes of this noise must have the shape \(2,\), but has \(3,\)'):
        bank(torch.randn(2, 12), torch.tensor([0, 1, 0]))
    with pytest.raises(ValueError, match='num_batches'):
        bank(None, torch.tensor([0]))
    part = small('BigGANBank', start_res=8, embedding=False)
    with pytest.raises(RuntimeError, match='starts at 8'):
        part(torch.randn(2, 12), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match='block at 8'):
        part.step(8, [torch.randn(1, 10)] * 3)
    with pytest.raises(RuntimeError, match='embedding=True'):
        part.class_embedding(torch.tensor([0]))
    with pytest.raises(RuntimeError, match='load a checkpoint'):
        part.mean_codes()


@pytest.mark.parametrize(
    ('in_size', 'base', 'style', 'classes'), [(64, 2, 'ajbrock', 4), (64, 2, 'torch', 4), (128, 8, 'ajbrock', 0)]
)
@torch.no_grad()
def test_discriminator_equals_mmagic(in_size: int, base: int, style: str, classes: int) -> None:
    theirs = BigGANDiscriminator(in_size, num_classes=classes, base_channels=base, sn_style=style)
    trained_biases(theirs)
    images, label = torch.randn(3, 3, in_size, in_size), torch.tensor([0, 3, 1]) if classes else None
    theirs.train()(images, label)
    ours = BigGANBankDiscriminator(in_size, classes, base_channels=base, sn_style=style).eval()
    ours.load_state_dict(theirs.eval().state_dict(), strict=True)
    torch.testing.assert_close(ours(images, label), theirs(images, label), rtol=1e-4, atol=1e-4)
    # One training step of spectral normalisation moves the vectors alike.
    theirs.train()(images, label), ours.train()(images, label)
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_discriminator_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match='3 blocks.* from 16 px to 4; in_size is 32'):
        BigGANBankDiscriminator(32, widths=[4, 4, 4])
    with pytest.raises(ValueError, match='not 32; give `widths`'):
        BigGANBankDiscriminator(32)
    with pytest.raises(ValueError, match='num_classes=3 and is given no labels'):
        BigGANBankDiscriminator(8, 3, widths=[4, 4])(torch.randn(1, 3, 8, 8))


# ---- GLEAN on them


def glean(kind: str, light: bool, given_class: bool, **options: Any) -> dict[str, Any]:
    bank = dict(type=kind, **SMALL, start_res=8 if light else 4, rgb=False, **options)
    encoder = dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4)
    return dict(type='GLEAN', in_size=8, bank=bank, encoder=encoder, given_class=given_class)


@both_kinds
@pytest.mark.parametrize('light', [False, True], ids=['glean', 'light'])
@pytest.mark.parametrize('given_class', [False, True], ids=['no class', 'class'])
def test_glean_forward_and_backward(kind: str, light: bool, given_class: bool, tmp_path: Path) -> None:
    whole = trained(small(kind))
    write_safetensors({f'generator_ema.{k}': v for k, v in whole.state_dict().items()}, tmp_path / 'bank.safetensors')
    pretrained = dict(checkpoint=str(tmp_path / 'bank.safetensors'), prefix='generator_ema')
    model: GLEAN = MODELS.build(glean(kind, light, given_class, embedding=given_class, pretrained=pretrained))
    model.init_weights()
    if light:
        given = model.bank.class_dims if given_class else [0] * len(model.bank.class_dims)
        for layer, code in zip(model.codes.layers, model.codes.codes):
            torch.testing.assert_close(code[0], whole.mean_codes()[layer][given[layer] :])
    before = {key: value.clone() for key, value in model.bank.state_dict().items()}
    label = torch.tensor([0, 4]) if given_class else None
    lq = torch.randn(1, 3, 8, 8).expand(2, -1, -1, -1)
    output = model.train()(lq, label)
    assert output.shape == (2, 3, 16, 16)
    # The input is the same twice, so only the class can make a difference.
    assert torch.allclose(output[0], output[1], atol=1e-6) != given_class
    output.square().mean().backward()
    assert all(p.grad is not None for p in model.codes.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.bank.state_dict().items())
    assert not any(p.requires_grad for p in model.bank.parameters())


def restorer(**options: Any) -> GLEANRestorer:
    return MODELS.build(
        dict(
            type='GLEANRestorer',
            pixel_loss=dict(type='MSELoss', loss_weight=1.0, reduction='mean'),
            data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
            **options,
        )
    )


def labelled(n: int = 2) -> dict[str, Any]:
    """A batch with the class of each image, as a conditional data set packs it."""
    data = batch(n, 8, 16)
    for index, sample in enumerate(data['data_samples']):
        sample.set_gt_label(index + 1)
    return data


@both_kinds
def test_restorer_hands_the_data_s_labels_to_the_generator(kind: str) -> None:
    model = restorer(generator=glean(kind, True, True), ema=dict(decay=0.5))
    seen: list[list[int]] = []
    model.generator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1].tolist()))
    model.generator_ema.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1].tolist()))
    wrapper = OptimWrapperDict(generator=OptimWrapper(torch.optim.SGD(model.generator.parameters(), 0.1)))
    assert set(model.train_step(labelled(), wrapper)) == {'loss_pix'}
    samples = model.eval().test_step(labelled(3))
    assert seen == [[1, 2], [1, 2, 3]] and len(samples) == 3
    assert samples[1].output.pred_img.shape == (3, 16, 16)
    for step in (lambda: model.train_step(batch(2, 8, 16), wrapper), lambda: model.test_step(batch(2, 8, 16))):
        with pytest.raises(ValueError, match='no `gt_label`'):
            step()
    # Without given_class, labels are simply not used.
    assert len(restorer(generator=glean(kind, True, False)).eval().test_step(labelled())) == 2


@both_kinds
def test_bank_is_fine_tuned_where_that_is_asked_for(kind: str) -> None:
    model = restorer(generator=glean(kind, False, True) | dict(freeze_bank=False), ema=dict(decay=0.5))
    wrapper = OptimWrapperDict(generator=OptimWrapper(torch.optim.SGD(model.generator.parameters(), 0.1)))
    before = copy.deepcopy(model.generator.bank.state_dict())
    model.train_step(labelled(), wrapper)
    after = model.generator.bank.state_dict()
    assert any(key.endswith(('.u0', '.weight_u')) and not torch.equal(after[key], before[key]) for key in after)
    assert not torch.equal(after['noise2feat.bias'], before['noise2feat.bias'])
    assert len(model.eval().test_step(labelled())) == 2
