"""The train and test step: against MMagic's SRGAN, and what it gets wrong."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmagic.models.editors.glean import GLEANStyleGANv2
from mmagic.registry import MODELS
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn
from torch.nn import functional as F

from glean_plus.training import BF16OptimWrapper
from glean_plus.training.restorer import GLEANRestorer
from glean_plus.weights import WeightsError, write_safetensors
from glean_plus.weights.mmagic_glean import from_mmagic

from conftest import batch, random_vgg16, shake

SMALL = {4: 12, 8: 10, 16: 8}
GENERATOR = dict(
    type='GLEAN', in_size=8,
    bank=dict(type='StyleGAN2Bank', out_size=16, style_channels=8, channels=SMALL, mapping=False, rgb=False),
    encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4),
)  # fmt: skip
COMMON = dict(
    discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=16, channels=SMALL),
    pixel_loss=dict(type='MSELoss', loss_weight=1.0, reduction='mean'),
    gan_loss=dict(type='GANLoss', gan_type='vanilla', loss_weight=1e-2, real_label_val=1.0, fake_label_val=0),
    data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
)


def restorer(**options: Any) -> GLEANRestorer:
    return MODELS.build({**dict(type='GLEANRestorer', generator=GENERATOR), **COMMON, **options})


def optimizers(model: nn.Module, kind: type[OptimWrapper] = OptimWrapper, **options: Any) -> OptimWrapperDict:
    return OptimWrapperDict(
        generator=kind(optimizer=torch.optim.SGD(model.generator.parameters(), 0.1), **options),
        discriminator=kind(optimizer=torch.optim.SGD(model.discriminator.parameters(), 0.1), **options),
    )


def small(n: int = 4, seed: int = 0) -> dict:
    return batch(n, 8, 16, seed)


@pytest.fixture
def random_vgg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """MMagic downloads VGG16 when its loss is built; here both get the same random one."""
    from mmagic.models.losses import perceptual_loss

    network = random_vgg16()
    torch.save(network.state_dict(), tmp_path / 'vgg16.pth')
    monkeypatch.setattr(perceptual_loss.vgg, 'vgg16', lambda pretrained: copy.deepcopy(network))
    return str(tmp_path / 'vgg16.pth')


def test_one_step_s_losses_equal_srgan_s(random_vgg: str) -> None:
    """Two steps, so that the first update counts too; MMagic's own networks on its side, ours on ours."""
    theirs = MODELS.build(
        dict(
            type='SRGAN',
            generator=dict(type='GLEANStyleGANv2', in_size=8, out_size=16, num_rrdbs=1),
            discriminator=dict(type='StyleGANv2Discriminator', in_size=16),
            perceptual_loss=dict(
                type='PerceptualLoss', layer_weights={'21': 1.0}, vgg_type='vgg16', perceptual_weight=1e-2,
                style_weight=0, norm_img=False, criterion='mse', pretrained='torchvision://vgg16'),
            **{key: COMMON[key] for key in ('pixel_loss', 'gan_loss', 'data_preprocessor')},
        )
    )  # fmt: skip
    shake(theirs.generator)
    ours = MODELS.build(
        dict(
            type='GLEANRestorer',
            generator=dict(
                type='GLEAN', in_size=8, encoder=dict(type='GLEANEncoder', num_rrdbs=1),
                bank=dict(type='StyleGAN2Bank', out_size=16, mapping=False, rgb=False)),
            discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=16),
            perceptual_loss=dict(
                type='VGGFeatureLoss', layer_weights={'21': 1.0}, loss_weight=1e-2, weights=random_vgg),
            **{key: COMMON[key] for key in ('pixel_loss', 'gan_loss', 'data_preprocessor')},
        )
    )  # fmt: skip
    ours.generator.load_state_dict(from_mmagic(theirs.generator.state_dict())[0])
    ours.discriminator.load_state_dict(theirs.discriminator.state_dict())
    # Above the bank, nothing of MMagic's generator trains; ours is frozen all the same.
    sgd, their_sgd = optimizers(ours), optimizers(theirs)
    for step in range(2):
        log, expected = ours.train_step(small(seed=step), sgd), theirs.train_step(small(seed=step), their_sgd)
        assert set(log) == set(expected) == {'loss_pix', 'loss_perceptual', 'loss_gan', 'loss_d_real', 'loss_d_fake'}
        for key, value in expected.items():
            torch.testing.assert_close(log[key], value, rtol=1e-4, atol=1e-6, msg=f'{key} of step {step}')


def test_bank_stays_and_everything_else_moves_over_ten_steps() -> None:
    model = restorer(ema=dict(decay=0.9))
    shake(model.generator)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sgd = optimizers(model)
    for step in range(10):
        model.train_step(small(seed=step), sgd)
    for key, value in model.state_dict().items():
        same = torch.equal(value, before[key])
        frozen = key.startswith('generator.bank.') or key.endswith('.kernel')
        assert same == frozen, key


def test_bank_trains_where_that_is_asked_for() -> None:
    model = restorer(generator=GENERATOR | dict(freeze_bank=False), ema=dict(decay=0.9))
    before = copy.deepcopy(model.generator.bank.state_dict())
    model.train_step(small(), optimizers(model))
    assert not torch.equal(model.generator.bank.conv1.conv.weight_orig, before['conv1.conv.weight_orig'])
    assert any(key.startswith('generator_ema.bank.') for key in model.state_dict()), 'a trained bank is averaged'


def test_average_shares_the_frozen_bank_and_follows_the_rule() -> None:
    model = restorer(ema=dict(decay=0.5, start=2))
    assert model.generator_ema.bank is model.generator.bank
    keys = model.state_dict().keys()
    assert any(key.startswith('generator.bank.') for key in keys)
    assert not any(key.startswith('generator_ema.bank.') for key in keys)
    weight = lambda net: net.decoder.last[0].weight.detach().clone()  # noqa: E731
    sgd = optimizers(model)
    for step in range(4):
        old = weight(model.generator_ema)
        model.train_step(small(seed=step), sgd)
        new, average = weight(model.generator), weight(model.generator_ema)
        decay = 0 if step < 2 else min(0.5, (1 + step - 2) / (10 + step - 2))
        torch.testing.assert_close(average, decay * old + (1 - decay) * new)


def test_tests_use_the_average() -> None:
    model = restorer(ema=dict(decay=0.5)).eval()
    with torch.no_grad():
        for parameter in model.generator_ema.parameters():
            parameter.mul_(1.5)
    lq = torch.randn(1, 3, 8, 8)
    assert torch.equal(model.forward_tensor(lq), model.generator_ema(lq))
    assert not torch.equal(model.forward_tensor(lq), model.generator(lq))
    assert torch.equal(model.forward_tensor(lq, training=True), model.generator(lq))


@pytest.mark.parametrize('bad', [dict(decay=1.0), dict(decay=-0.1), dict(momentum=0.1)])
def test_bad_ema_config_is_named(bad: dict) -> None:
    with pytest.raises(ValueError, match='ema'):
        restorer(ema=bad)


def test_unknown_train_cfg_is_named() -> None:
    with pytest.raises(ValueError, match=r"\['channel_last', 'fp16'\] in `train_cfg`; known are channels_last, compi"):
        restorer(train_cfg=dict(channel_last=True, fp16=True, disc_steps=1))
    known = dict(disc_steps=2, disc_repeat=3, disc_init_steps=4, channels_last=True, compiled=False, recompute=True)
    model = restorer(train_cfg=known)
    assert (model.disc_steps, model.disc_repeat, model.disc_init_steps) == (2, 3, 4)


class Forbidden(BaseModule):
    built = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).built += 1
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, pred: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        return (self.weight * (pred - gt)).abs().mean()


def test_perceptual_network_is_built_only_for_training_and_never_saved() -> None:
    MODELS.register_module(module=Forbidden, name='ForbiddenLoss', force=True)
    Forbidden.built = 0
    model = restorer(perceptual_loss=dict(type='ForbiddenLoss'))
    model.eval().test_step(dict(inputs=small()['inputs'], data_samples=small()['data_samples']))
    assert Forbidden.built == 0
    log = model.train().train_step(small(), optimizers(model))
    model.train_step(small(), optimizers(model))
    assert Forbidden.built == 1 and 'loss_perceptual' in log
    assert not any('perceptual' in key for key in model.state_dict())


class WantsInput(Forbidden):
    wants_input = True

    def forward(self, pred: torch.Tensor, gt: torch.Tensor, lq: torch.Tensor) -> torch.Tensor:
        return lq.square().mean() + 0 * pred.sum()


def test_further_losses_are_logged_by_name_and_move_the_generator() -> None:
    for kind in (Forbidden, WantsInput):
        MODELS.register_module(module=kind, name=f'{kind.__name__}Loss', force=True)
    Forbidden.built = WantsInput.built = 0
    configs = dict(identity=dict(type='ForbiddenLoss'), lr=dict(type='WantsInputLoss'),
                   consistency=dict(type='LRConsistencyLoss', loss_weight=10.0))  # fmt: skip
    model = restorer(losses=configs)
    plain = restorer()
    plain.load_state_dict(model.state_dict())
    model.eval().test_step(dict(inputs=small()['inputs'], data_samples=small()['data_samples']))
    assert Forbidden.built == WantsInput.built == 0
    log, expected = model.train().train_step(small(), optimizers(model)), plain.train_step(small(), optimizers(plain))
    model.train_step(small(seed=1), optimizers(model))
    assert Forbidden.built == 1 and WantsInput.built == 1
    assert log.keys() - expected.keys() == {'loss_identity', 'loss_lr', 'loss_consistency'}
    lq = torch.stack(small()['inputs']) / 127.5 - 1
    assert log['loss_lr'].item() == pytest.approx(float(lq.square().mean()), rel=1e-5)
    assert log['loss_identity'].item() > 0
    assert model.state_dict().keys() == plain.state_dict().keys()
    key = 'generator.decoder.last.0.weight'
    assert not torch.equal(model.state_dict()[key], plain.state_dict()[key])
    with pytest.raises(ValueError, match=r"cannot name \['gan', 'pix'\]"):
        restorer(losses=dict(pix=dict(type='ForbiddenLoss'), gan=dict(type='ForbiddenLoss')))


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_accumulating_two_half_batches_is_one_whole_batch() -> None:
    """Without the minibatch statistics of the discriminator, the two are equal, for both networks."""
    discriminator = COMMON['discriminator'] | dict(mbstd_group=1)
    whole = restorer(discriminator=discriminator, ema=dict(decay=0.9))
    halves = copy.deepcopy(whole)
    data = small(4)
    whole.train_step(data, optimizers(whole))
    accumulating = optimizers(halves, accumulative_counts=2)
    for wrapper in accumulating.values():
        wrapper.initialize_count_status(halves, 0, 2)
    start = gradients(halves)
    for part in (slice(0, 2), slice(2, 4)):
        if part.start:
            assert all(torch.equal(p, start[name]) for name, p in halves.named_parameters()), 'stepped too early'
        halves.train_step({key: value[part] for key, value in data.items()}, accumulating)
    expected = gradients(whole)
    for name, value in gradients(halves).items():
        if not name.startswith('generator.bank'):
            # The discriminator of the second half has not stepped before the generator saw it, in either run.
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_bfloat16_trains_in_bfloat16_and_keeps_float32_weights() -> None:
    model = restorer(train_cfg=dict(channels_last=True))
    reference = copy.deepcopy(model)
    seen = {}
    model.generator.decoder.last.register_forward_hook(lambda m, i, o: seen.update(generator=o.dtype))
    model.discriminator.convs.register_forward_hook(lambda m, i, o: seen.update(discriminator=o.dtype))
    log = model.train_step(small(), optimizers(model, BF16OptimWrapper))
    expected = reference.train_step(small(), optimizers(reference))
    assert seen == dict(generator=torch.bfloat16, discriminator=torch.bfloat16)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    for key, value in expected.items():
        assert log[key].item() == pytest.approx(value.item(), rel=0.05), key


def test_memory_layout_is_what_the_config_says() -> None:
    layouts = {}
    for channels_last in (False, True):
        model = restorer(train_cfg=dict(channels_last=channels_last))
        model.generator.encoder.register_forward_pre_hook(
            lambda m, i, key=channels_last: layouts.update({key: i[0].is_contiguous(memory_format=torch.channels_last)})
        )
        model.train_step(small(), optimizers(model))
    assert layouts == {False: False, True: True}


def test_generator_waits_and_counter_survives_a_checkpoint() -> None:
    model = restorer(train_cfg=dict(disc_init_steps=2), ema=dict(decay=0.9))
    start = gradients(model.generator)
    model.train_step(small(), optimizers(model))
    assert all(torch.equal(p, start[name]) for name, p in model.generator.named_parameters())
    resumed = restorer(train_cfg=dict(disc_init_steps=2), ema=dict(decay=0.9))
    resumed.load_state_dict(model.state_dict())
    assert int(resumed.step_counter) == 1
    assert 'loss_pix' not in resumed.train_step(small(), optimizers(resumed))
    assert 'loss_pix' in resumed.train_step(small(), optimizers(resumed))


def test_disc_steps_and_repeat() -> None:
    model = restorer(train_cfg=dict(disc_steps=2, disc_repeat=3))
    calls = []
    model.discriminator.register_forward_hook(lambda *args: calls.append(1))
    assert 'loss_pix' in model.train_step(small(), optimizers(model))
    assert len(calls) == 1 + 2 * 3
    assert 'loss_pix' not in model.train_step(small(), optimizers(model))


def test_without_a_discriminator_it_is_plain_regression() -> None:
    model = restorer(discriminator=None, gan_loss=None)
    wrapper = OptimWrapperDict(generator=OptimWrapper(torch.optim.SGD(model.generator.parameters(), 0.1)))
    assert set(model.train_step(small(), wrapper)) == {'loss_pix'}


def test_crops_of_another_size_train_a_model_that_takes_any() -> None:
    """Larger crops show it what lies beyond the nominal one; a model that is bound to its size refuses them."""
    light = dict(GENERATOR, bank=dict(GENERATOR['bank'], start_res=16))
    model = restorer(generator=light, discriminator=None, gan_loss=None)
    shake(model.generator)
    data = batch(2, 12, 24)
    inputs = torch.stack(data['inputs']).float() / 127.5 - 1
    with torch.no_grad():
        expected = model.generator.forward_any(inputs)
    truth = torch.stack([sample.gt_img for sample in data['data_samples']]).float() / 127.5 - 1
    wrapper = OptimWrapperDict(generator=OptimWrapper(torch.optim.SGD(model.generator.parameters(), 0.1)))
    log = model.train_step(data, wrapper)
    torch.testing.assert_close(log['loss_pix'], F.mse_loss(expected, truth))
    with torch.no_grad():
        assert not torch.equal(model.generator.forward_any(inputs), expected)
    with pytest.raises(ValueError, match='this model restores 8x8 to 16x16'):
        restorer(discriminator=None, gan_loss=None).train_step(data, wrapper)


def test_bicubic_row_is_in_the_prediction() -> None:
    model = restorer(test_cfg=dict(bicubic=True)).eval()
    sample = model.test_step(small(2))[0]
    assert sample.output.bicubic_img.shape == sample.output.pred_img.shape == (3, 16, 16)
    # Each phase of an enlarged image has the mean of the image, but for the border.
    assert float(sample.output.bicubic_img.mean()) == pytest.approx(float(sample.input.float().mean()), rel=0.05)
    assert 'bicubic_img' not in restorer().eval().test_step(small(1))[0].output


# ---- checkpoints, the way `mim test` loads them: MMEngine, not strict


def saved(model: nn.Module, path: Path) -> str:
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


def test_own_checkpoint_and_generator_alone_load(tmp_path: Path) -> None:
    model = restorer(ema=dict(decay=0.9))
    model.train_step(small(), optimizers(model))
    other = restorer(ema=dict(decay=0.9))
    load_checkpoint(other, saved(model, tmp_path / 'a.pth'))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())

    # As MMEngine's wrapper for several processes names them.
    wrapped = {key.replace('generator.', 'generator.module.', 1): value for key, value in model.state_dict().items()}
    torch.save(dict(state_dict=wrapped), tmp_path / 'wrapped.pth')
    fourth = restorer(ema=dict(decay=0.9))
    load_checkpoint(fourth, str(tmp_path / 'wrapped.pth'))
    assert all(torch.equal(value, fourth.state_dict()[key]) for key, value in model.state_dict().items())

    alone = {f'generator.{key}': value for key, value in model.generator.state_dict().items()}
    write_safetensors(alone, tmp_path / 'b.safetensors')
    third = restorer(ema=dict(decay=0.9))
    load_checkpoint(third, str(tmp_path / 'b.safetensors'))
    lq = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(third.eval().forward_tensor(lq), model.generator.eval()(lq))


@pytest.mark.parametrize(
    ('damage', 'named'),
    [
        (lambda s: s.pop('generator.decoder.last.0.bias'), r'Missing from the file: decoder\.last\.0\.bias'),
        (lambda s: s.update({'generator.extra': torch.ones(1)}), r'Not in the model: extra'),
        (lambda s: s.update({'generator.decoder.last.0.bias': torch.ones(3)}), r'Other shape: decoder\.last\.0\.bias'),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith('generator.')], r'no key that starts with "generator\."'),
        (lambda s: s.pop('generator_ema.decoder.last.0.bias'), 'moving average'),
        (lambda s: s.pop('discriminator.final_linear.1.bias'), "config's discriminator"),
    ],
)  # fmt: skip
def test_wrong_checkpoint_is_refused_by_name(damage: Any, named: str, tmp_path: Path) -> None:
    model = restorer(ema=dict(decay=0.9))
    state = dict(model.state_dict())
    damage(state)
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match=named):
        load_checkpoint(model, str(tmp_path / 'a.pth'), strict=False)


@pytest.mark.parametrize('averaged', [False, True])
def test_mmagic_glean_loads_and_gives_the_same_output(averaged: bool, tmp_path: Path) -> None:
    """A checkpoint in the form of MMagic's releases, and one with the average of its EMA hook, which then counts."""
    theirs = GLEANStyleGANv2(8, 16, num_rrdbs=1).eval()
    shake(theirs)
    state = {f'generator.{key}': value.clone() for key, value in theirs.state_dict().items()}
    if averaged:
        shake(theirs.encoder)
        state |= {f'generator_ema.{key}': value for key, value in theirs.state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'glean.pth')
    ours = MODELS.build(
        dict(
            type='GLEANRestorer', ema=dict(decay=0.9), data_preprocessor=COMMON['data_preprocessor'],
            pixel_loss=COMMON['pixel_loss'],
            generator=dict(
                type='GLEAN', in_size=8, encoder=dict(type='GLEANEncoder', num_rrdbs=1),
                bank=dict(type='StyleGAN2Bank', out_size=16, mapping=False, rgb=False)),
        )
    ).eval()  # fmt: skip
    load_checkpoint(ours, str(tmp_path / 'glean.pth'))
    lq = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected, output = theirs(lq), ours.forward_tensor(lq)
    assert float((expected - output).abs().max()) < 1e-5 * float(expected.max() - expected.min())
    assert math.isfinite(float(output.sum()))
