"""Pre-training of a bank on few pictures."""

from __future__ import annotations

import pytest
import torch
from mmagic.registry import MODELS
from mmengine import MessageHub
from mmengine.optim import OptimWrapperDict

from glean_plus.engine import BF16OptimWrapper
from glean_plus.models.augment import POLICIES, DiffAugment

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
