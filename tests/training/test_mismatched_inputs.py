"""What does not belong together is refused before the first batch, in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from glean_plus.weights.torch_files import load_plain

from conftest import run_tool
from killing import small_config, train, write_data
from small_restorers import generator_config


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('pairs')
    train(small_config(write_data(folder / 'data'), folder / 'work', 1))
    content = load_plain(folder / 'work' / 'iter_1.pth')
    torch.save(dict(state_dict=content['state_dict']), folder / 'weights.pth')
    torch.save(dict(content, state_dict={'backbone.weight': torch.ones(3)}), folder / 'other.pth')
    return folder


def refused(tool: str, config: Config, arguments: list[str], patch: pytest.MonkeyPatch, folder: Path) -> str:
    """What the tool says; it must have seen no batch."""
    path = folder / 'config.py'
    config.dump(path)

    def no_batch(*args: Any) -> None:
        raise RuntimeError('A batch was loaded.')

    with patch.context() as inner:
        inner.setattr('glean_plus.datasets.PictureDataset.__getitem__', no_batch)
        with pytest.raises(AssertionError) as caught:
            run_tool(tool, [str(path), *arguments], inner)
    said = str(caught.value)
    assert 'A batch was loaded' not in said and 'Traceback' not in said
    return said


def changed(trained: Path, folder: Path, **generator: Any) -> Config:
    config = small_config(trained / 'data', folder / 'work', 3)
    config.model.generator.update(generator)
    return config


LIGHT = generator_config(light=True)


@pytest.mark.parametrize('tool', ['train', 'test'])
@pytest.mark.parametrize(
    ('change', 'file', 'said'),
    [
        (dict(LIGHT), 'work/iter_1.pth', 'does not fit this config'),
        (dict(in_size=8), 'work/iter_1.pth', 'does not fit this config'),
        ({}, 'other.pth', 'has no key that starts with "generator\\.|does not fit'),
    ],
    ids=['another model', 'another size', 'nothing matches'],
)
def test_config_and_checkpoint_of_two_models(
    tool: str, change: dict, file: str, said: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = ['--resume', str(trained / file)] if tool == 'train' else [str(trained / file)]
    text = refused(tool, changed(trained, tmp_path, **change), option, monkeypatch, tmp_path)
    assert re.search(said, text), text


def test_no_training_is_resumed_from_weights_alone(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = str(trained / 'weights.pth')
    text = refused('train', changed(trained, tmp_path), ['--resume', weights], monkeypatch, tmp_path)
    assert 'No training can be resumed' in text and 'no optimizer' in text and 'load_from' in text


def test_a_restorer_is_no_bank(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(trained, tmp_path)
    config.model.generator.bank.pretrained = dict(checkpoint=str(trained / 'work' / 'iter_1.pth'))
    text = refused('train', config, [], monkeypatch, tmp_path)
    assert 'iter_1.pth' in text, text


def test_a_bank_of_another_size_or_width(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glean_plus.models.banks import StyleGAN2Bank

    channels = {4: 16, 8: 8, 16: 8, 32: 4}
    bank = StyleGAN2Bank(out_size=32, style_channels=6, num_mlps=2, channels=channels)
    torch.save({f'generator_ema.{key}': value for key, value in bank.state_dict().items()}, tmp_path / 'bank.pth')
    config = changed(trained, tmp_path)
    config.model.generator.bank.pretrained = dict(checkpoint=str(tmp_path / 'bank.pth'))
    text = refused('train', config, [], monkeypatch, tmp_path)
    assert 'bank.pth' in text and ('does not fit' in text or 'channels' in text), text


def test_models_of_mmagic_are_checked_as_well(tmp_path: Path) -> None:
    """MMEngine would go on with random weights and a warning."""
    from glean_plus.training.hooks.checkpoints import check_pair
    from glean_plus.weights import WeightsError

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    state = model.state_dict()
    check_pair(model, state, whole=True)
    half = {key: value for key, value in state.items() if key.startswith('0')}
    check_pair(model, half, whole=False)
    with pytest.raises(WeightsError, match=r'2 of 4 tensors match.*1\.weight'):
        check_pair(model, half, whole=True)
    with pytest.raises(WeightsError, match='0 of 4 tensors match'):
        check_pair(model, {'x': torch.ones(1)}, whole=False)
