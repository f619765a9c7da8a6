"""The configs of super-resolution: which there are, their schedule and their checkpoints.

tests/configs/test_every_config.py builds and runs them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmagic
import pytest
import torch
import yaml
from mmagic.registry import MODELS
from mmengine.config import Config

from glean_plus.models import StyleGAN2Bank
from glean_plus.weights import CATALOGUE, WeightsError, fetch
from glean_plus.weights.cards import hash_in_name

from conftest import CONFIGS, ROOT

BASELINES = sorted(path.stem for kind in ('esrganplus', 'bankfree') for path in CONFIGS.glob(f'{kind}_*.py'))
GLEANS = sorted(path.stem for path in CONFIGS.glob('*glean_*.py'))
# tests/datasets/test_degradation.py and tests/models/test_colorization.py have the others.
RESTORERS = [name for name in GLEANS if not name.endswith('color') and 'blind' not in name]
PUBLISHED = [name for name in RESTORERS if not {'twemoji', 'mine', 'photo', 'text'} & {*name.split('_')}]
FACES = [f'{model}_face_{scale}x' for model in ('glean', 'lightglean') for scale in (8, 16, 32, 64)]
ROOMS = [f'{model}_{what}_16x' for model in ('glean', 'lightglean') for what in ('cat', 'car', 'bedroom', 'tower')]


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def test_the_promised_configs_are_there() -> None:
    imagenet = [f'{model}_imagenet_{scale}x' for model in ('glean', 'lightglean') for scale in (4, 8)]
    assert set(FACES + ROOMS + ['glean_cat_8x', 'lightglean_cat_8x'] + imagenet) == set(PUBLISHED)
    assert {f'{model}_twemoji_{scale}x' for model in ('glean', 'lightglean') for scale in (4, 8)} <= set(RESTORERS)
    twemoji = {f'{model}_twemoji_{scale}x' for model in ('esrganplus', 'bankfree') for scale in (4, 8)}
    table_4 = {f'esrganplus_{what}_16x' for what in ('face', 'cat', 'car', 'bedroom', 'tower')}
    table_6 = {f'esrganplus_imagenet_{scale}x' for scale in (4, 8)}
    assert twemoji | table_4 | table_6 | {'bankfree_cat_16x'} <= set(BASELINES)


def test_base_names_are_unique_and_not_mmagic_s() -> None:
    """mim looks a config up by its base name, and two of them are an error."""
    ours = [path.name for path in CONFIGS.rglob('*.py')]
    theirs = {path.name for path in (Path(mmagic.__file__).parent / '.mim' / 'configs').rglob('*.py')}
    assert len(ours) == len(set(ours))
    assert not set(ours) & theirs


@pytest.mark.parametrize('name', BASELINES)
def test_baseline_differs_from_its_glean_in_the_generator_alone(name: str) -> None:
    """Losses, discriminator, data, metrics and schedule are the same, so that the numbers can be compared."""
    ours, glean = load(name), load('glean' + name[name.index('_'):])
    ours_generator, generator = ours.model.pop('generator'), glean.model.pop('generator')
    assert ours.to_dict() == glean.to_dict()
    assert ours_generator.in_size == generator.in_size and ours_generator.out_size == generator.bank.out_size
    # The twin has the widths and the trunk of the one it is compared with.
    if name.startswith('bankfree'):
        assert ours_generator.get('channels') == generator.bank.get('channels')
        assert ours_generator.get('encoder', {}).get('num_rrdbs') == generator.encoder.get('num_rrdbs')


@pytest.mark.parametrize('name', PUBLISHED)
def test_schedule_is_the_paper_s(name: str) -> None:
    config = load(name)
    assert config.train_cfg.max_iters == config.param_scheduler.T_max == 300_000
    assert config.param_scheduler.type == 'CosineAnnealingLR'
    assert [config.optim_wrapper[part].optimizer.lr for part in ('generator', 'discriminator')] == [1e-4, 1e-4]
    assert config.train_dataloader.batch_size == (8 if 'face' in name else 32 if 'imagenet' in name else 16)
    losses = (config.model.pixel_loss, config.model.perceptual_loss, config.model.gan_loss)
    assert [loss.loss_weight for loss in losses] == [1.0, 1e-2, 1e-2]


def fake_checkpoint(
    url: str, bank: dict[str, Any], discriminator: dict[str, Any], hub: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, torch.Tensor]:
    """A file in the form of the published ones, where a download would be cached."""
    # The file itself cannot have the published hash.
    monkeypatch.setattr(fetch, 'sha256', lambda path: hash_in_name(url))
    whole = StyleGAN2Bank(bank['out_size'], channels=bank.get('channels'))
    critic = MODELS.build({key: value for key, value in discriminator.items() if key != 'pretrained'})
    state = {f'generator_ema.{key}': value for key, value in whole.state_dict().items()}
    state |= {f'discriminator.{key}': value for key, value in critic.state_dict().items()}
    path = hub / 'checkpoints' / Path(url).name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=state), path)
    return state


@pytest.mark.parametrize('what', ['cat_16x', 'car_16x', 'bedroom_16x', 'tower_16x', 'face_16x'])
def test_bank_and_discriminator_are_loaded_the_config_s_way(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configs of one class and other scales share these lines, which the next test makes sure of."""
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    state: dict[str, torch.Tensor] = {}
    for model in ('glean', 'lightglean'):
        config = load(f'{model}_{what}').model.to_dict()
        pretrained = config['generator']['bank']['pretrained']
        if not state:
            with pytest.raises(WeightsError):  # not there yet, and no network: an error, never a random bank
                monkeypatch.setattr('socket.getaddrinfo', offline)
                MODELS.build(config['generator']['bank']).init_weights()
            state = fake_checkpoint(
                pretrained['checkpoint'], config['generator']['bank'], config['discriminator'], tmp_path, monkeypatch
            )
            if not pretrained['checkpoint'].startswith('http'):
                (tmp_path / 'weights').mkdir()
                (tmp_path / 'checkpoints' / Path(pretrained['checkpoint']).name).rename(pretrained['checkpoint'])
        for part, prefix in (
            (config['generator']['bank'], 'generator_ema'),
            (config['discriminator'], 'discriminator'),
        ):
            network = MODELS.build(part)
            network.init_weights()
            for key, value in network.state_dict().items():
                assert torch.equal(value, state[f'{prefix}.{key}']), key


def offline(*args: object, **kwargs: object) -> None:
    raise OSError('no network')


def test_metafile_names_every_restorer() -> None:
    """mim searches and downloads by it."""
    models = yaml.safe_load((CONFIGS / 'metafile.yml').read_text())['Models']
    assert {(model['Name'], model['Config']) for model in models} == {
        (name, f'configs/{name}.py') for name in GLEANS + BASELINES
    }
    released = {card.config: card.url for card in CATALOGUE.values() if card.kind == 'restorer'}
    weights = {model['Name']: model['Weights'] for model in models if 'Weights' in model}
    assert {name: where for name, where in weights.items() if '://' in where} == released
    # mim asks for every model's weights, and says what stands here where there is nothing to ask for.
    shipped = {name: where for name, where in weights.items() if name not in released}
    assert {*shipped} == {path.stem for path in (CONFIGS / 'weights').glob('*glean*.safetensors')}
    assert all(where.startswith('Nothing to download') and ',' not in where for where in shipped.values())


def test_mim_finds_the_released_weights() -> None:
    from modelindex.load_model_index import load  # as `mim download` does

    models = {model.name: model.weights for model in load(str(ROOT / 'model-index.yml')).models}
    assert models['glean_cat_8x'] == CATALOGUE['glean_cat_8x'].url


def test_one_class_has_one_checkpoint() -> None:
    for what in ('face', 'cat', 'car', 'bedroom', 'tower'):
        models = [load(name).model for name in PUBLISHED if f'_{what}_' in name]
        assert len({model.generator.bank.pretrained.checkpoint for model in models}) == 1
        assert {model.discriminator.pretrained.checkpoint for model in models} == {
            models[0].generator.bank.pretrained.checkpoint
        }
        assert {(m.generator.bank.pretrained.prefix, m.discriminator.pretrained.prefix) for m in models} == {
            ('generator_ema', 'discriminator')
        }
