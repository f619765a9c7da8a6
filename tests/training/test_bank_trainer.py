"""Pre-training of a bank on few images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmagic.registry import MODELS
from mmengine import MessageHub
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from glean_plus.training import BF16OptimWrapper
from glean_plus.training.augment import POLICIES, DiffAugment

from conftest import batch

SMALL = {4: 12, 8: 10, 16: 8}


def trainer(**options: object) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type='StyleGAN2BankTrainer',
            generator=dict(type='StyleGAN2Bank', out_size=16, style_channels=8, num_mlps=2, channels=SMALL),
            discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=16, channels=SMALL),
            data_preprocessor=dict(type='DataPreprocessor'),
            loss_config=dict(r1_interval=2, g_reg_interval=10**9),
            **options,
        )
    )


def test_steps_in_bfloat16_with_augmentation() -> None:
    model = trainer(augment=['color', 'translation', 'cutout'], channels_last=True)
    optimizers = OptimWrapperDict(
        generator=BF16OptimWrapper(optimizer=torch.optim.Adam(model.generator.parameters(), 1e-2)),
        discriminator=BF16OptimWrapper(optimizer=torch.optim.Adam(model.discriminator.parameters(), 1e-2)),
    )
    dtypes = set()
    model.discriminator.convs[0].register_forward_hook(lambda m, i, o: dtypes.add(o.dtype))
    start = {name: p.clone() for name, p in model.named_parameters()}
    for step in (1, 2):
        MessageHub.get_current_instance().update_info('iter', step)
        log = model.train_step(dict(inputs={}, data_samples=batch(4, out_size=16)['data_samples']), optimizers)
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in log.values())
    assert all(not torch.equal(p, start[name]) for name, p in model.named_parameters())
    # bfloat16 in the steps, float32 in the gradient penalty.
    assert dtypes == {torch.bfloat16, torch.float32}
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize('name', sorted(POLICIES))
def test_augmentation_differs_per_picture_and_has_gradients(name: str) -> None:
    x = torch.rand(1, 3, 16, 16).repeat(6, 1, 1, 1).requires_grad_()
    y = DiffAugment([name])(x)
    assert y.shape == x.shape
    assert len({tuple(image.flatten().tolist()) for image in y.detach()}) > 1
    y.sum().backward()
    assert x.grad.abs().sum() > 0


def test_translation_moves_and_cutout_erases() -> None:
    x = torch.ones(64, 1, 16, 16)
    shifted = DiffAugment(['translation'])(x)
    assert set(shifted.unique().tolist()) == {0.0, 1.0}
    # A shift by at most 2 of 16 leaves at least 14 x 14.
    assert shifted.flatten(1).sum(1).min() >= 14 * 14
    holes = 256 - DiffAugment(['cutout'])(x).flatten(1).sum(1)
    assert holes.max() == 64 and holes.min() >= 16


def test_unknown_augmentation_is_named() -> None:
    with pytest.raises(ValueError, match='blur'):
        trainer(augment=['blur'])


def class_trainer(**options: object) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type='BigGANBankTrainer',
            num_classes=3,
            generator=dict(
                type='BigGANBank', out_size=32, noise_size=8, shared_dim=4, channels={4: 8, 8: 8, 16: 8, 32: 8},
                attention=[16]),
            discriminator=dict(type='BigGANBankDiscriminator', in_size=32, widths=[4, 8, 8, 8]),
            data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
            **options,
        )
    )  # fmt: skip


def labelled(labels: list[int]) -> dict[str, Any]:
    samples = batch(len(labels), out_size=32)['data_samples']
    for sample, label in zip(samples, labels):
        sample.set_gt_label(label)
    return dict(inputs={}, data_samples=samples)


def test_biggan_steps_in_bfloat16_with_the_data_s_classes() -> None:
    model = class_trainer(
        augment=['color', 'translation'], channels_last=True,
        ema_config=dict(type='RampUpEMA', ema_kimg=1, batch_size=4, update_buffers=True),
    )  # fmt: skip
    model.init_weights()
    model.generator.conv_blocks['2'].gamma.data.fill_(1)
    optimizers = OptimWrapperDict(
        generator=BF16OptimWrapper(optimizer=torch.optim.Adam(model.generator.parameters(), 1e-2)),
        discriminator=BF16OptimWrapper(optimizer=torch.optim.Adam(model.discriminator.parameters(), 1e-2)),
    )
    seen: list[list[int]] = []
    model.generator.register_forward_pre_hook(
        lambda module, inputs, given: seen.append(given['label'].tolist()), with_kwargs=True
    )
    model.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1].tolist()))
    dtypes, scores = set(), []
    model.discriminator.conv_blocks[0].register_forward_hook(lambda m, i, o: dtypes.add(o.dtype))
    model.discriminator.register_forward_hook(lambda m, i, o: scores.append(o.shape))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(2):
        MessageHub.get_current_instance().update_info('iter', step)
        log = model.train().train_step(labelled([0, 2, 2, 1]), optimizers)
        assert {'loss_disc_fake', 'loss_disc_real', 'loss_gen'} <= set(log)
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in log.values())
    # Made, judged as generated, as real and for the generator's step, all with the classes of the real images.
    assert seen == [[0, 2, 2, 1]] * 8 and set(scores) == {(4, 1)}
    assert dtypes == {torch.bfloat16} and all(p.dtype == torch.float32 for p in model.parameters())
    state = model.state_dict()
    assert [name for name, p in model.named_parameters() if torch.equal(p, start[name])] == []
    assert not torch.equal(state['generator_ema.module.output_layer.bn.running_var'], torch.ones(8))
    bank = model.generator.whole()
    start_of_name = 'generator_ema.module.'
    averages = {key[len(start_of_name):]: value for key, value in state.items() if key.startswith(start_of_name)}
    bank.freeze().load(averages, 'the average')
    noise, label = torch.randn(2, bank.noise_size), torch.tensor([0, 2])
    torch.testing.assert_close(bank(noise, label), model.eval().generator_ema.module(noise, label))


def test_biggan_needs_classes_in_the_data() -> None:
    model = class_trainer()
    optimizers = OptimWrapperDict(
        generator=BF16OptimWrapper(optimizer=torch.optim.SGD(model.generator.parameters(), 1e-2)),
        discriminator=BF16OptimWrapper(optimizer=torch.optim.SGD(model.discriminator.parameters(), 1e-2)),
    )
    MessageHub.get_current_instance().update_info('iter', 0)
    with pytest.raises(ValueError, match='no `gt_label`'):
        model.train_step(dict(inputs={}, data_samples=batch(2, out_size=32)['data_samples']), optimizers)


def test_biggan_config_trains_two_steps(tiny_config: Any) -> None:
    config = tiny_config('biggan_twemoji_64px', **{'train_cfg.max_iters': 2})
    config.experiment_name = 'biggan-two-steps'
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 2
    assert runner.model.generator.num_classes == runner.model.discriminator.num_classes == 9
    dataset = runner.train_dataloader.dataset
    assert {dataset.get_data_info(index)['gt_label'] for index in range(len(dataset))} <= set(range(9))
    assert all(torch.isfinite(value).all() for value in runner.model.generator_ema.state_dict().values())
