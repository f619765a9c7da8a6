"""Trainings that start from a checkpoint of a model with fewer RRDBs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from glean_plus.models.blocks import RRDB
from glean_plus.training.errors import TrainingError

from killing import small_config, train, write_data


def config_of(tmp_path: Path, name: str, blocks: int, **options: object):
    config = small_config(tmp_path / 'data', tmp_path / name, iters=2, **options)
    config.model.generator.encoder.num_rrdbs = blocks
    return config


@pytest.fixture
def shallow(tmp_path: Path, no_scope: None) -> Path:
    write_data(tmp_path / 'data')
    train(config_of(tmp_path, 'shallow', 1))
    return tmp_path / 'shallow' / 'iter_2.pth'


def test_a_deeper_encoder_starts_as_the_one_it_is_given(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = dict(type='DeeperEncoderHook', checkpoint=str(shallow))
    before = train(config_of(tmp_path, 'same', 1, load_from=str(shallow), **{'train_cfg.max_iters': 0})).model
    start = train(config_of(tmp_path, 'start', 3, custom_hooks=[hook], **{'train_cfg.max_iters': 0})).model
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name in ('generator', 'generator_ema'):
        short, deep = (getattr(model, name).eval() for model in (before, start))
        assert [sum(isinstance(part, RRDB) for part in each.modules()) for each in (short, deep)] == [1, 3]
        with torch.no_grad():
            torch.testing.assert_close(deep(image), short(image), rtol=1e-4, atol=1e-5)

    trained = train(config_of(tmp_path, 'deep', 3, custom_hooks=[hook]))
    assert train(config_of(tmp_path, 'none', 1, custom_hooks=[dict(type='DeeperEncoderHook')])).iter == 2
    last = trained.model.generator.encoder.stages[0][0].body[2].rdb3
    assert last.conv5.weight.abs().max() > 0 and trained.iter == 2
    # A training that is resumed goes on from its own checkpoint: the other may be gone.
    shallow.unlink()
    resumed = train(config_of(tmp_path, 'deep', 3, custom_hooks=[hook], **{'train_cfg.max_iters': 3}))
    assert resumed.iter == 3


def test_a_checkpoint_of_another_model_is_refused(shallow: Path, tmp_path: Path) -> None:
    config = config_of(tmp_path, 'deep', 3, custom_hooks=[dict(type='DeeperEncoderHook', checkpoint=str(shallow))])
    config.model.generator.encoder.rrdb_channels = 12
    with pytest.raises(TrainingError, match=r'not this model with fewer RRDBs: \d+ weights differ .*conv_first'):
        train(config)
