"""Every config: as published, each key is one that something reads; small, it trains, validates and tests.

The configs are those there are; a new one needs no line here.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmagic.registry import DATASETS, MODELS
from mmengine.config import Config
from PIL import Image

from glean_plus.datasets import PictureDataset
from glean_plus.weights import cache as shared
from glean_plus.weights.torch_files import load_plain

import scaled_down as small_scale
from config_keys import unread_keys
from conftest import CONFIGS, Valueless, load_tool
from scaled_down import ITERATIONS, loaders, sizes, typed

EVERY = sorted(path.stem for path in CONFIGS.glob('*.py'))


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


# ---- as published


@pytest.mark.parametrize('name', EVERY)
def test_builds_as_published(name: str) -> None:
    """On the meta device: every key of the model is an argument, and the sizes fit each other."""
    config = load(name).to_dict()
    with torch.device('meta'), Valueless():
        model = MODELS.build(config['model'])
    in_size, out_size = sizes(config['model'])
    assert model.generator.out_size == out_size
    if getattr(model, 'discriminator', None) is not None:
        assert model.discriminator.in_size == out_size
    bank = getattr(model.generator, 'bank', None)
    if bank is not None:
        assert model.generator.in_size == in_size
        assert bank.frozen and bank.pretrained, 'the bank is the point of it'
        # Without room above the input, Eq. 10 would leave the last block alone.
        start = 4 if name.startswith('glean') else in_size if in_size < out_size else out_size // 8
        assert bank.start_res == start
        fused = [res for res in bank.channels if res <= in_size] if name.startswith('glean') else []
        assert list(model.generator.fusions) == [str(res) for res in fused]
    for network, options in config['optim_wrapper'].items():
        for part in (options['paramwise_cfg'].get('custom_keys', {}) if 'paramwise_cfg' in options else ()):
            assert any(part in parameter for parameter, _ in getattr(model, network).named_parameters()), part
    for loader in loaders(config):
        dataset = loader['dataset']
        low = dataset['data_prefix'].get('img') if isinstance(dataset['data_prefix'], dict) else None
        if low:
            assert low == f'BIx{out_size // in_size}_down'
        resized = {step['key']: step['size'] for _, step in typed(dataset) if step['type'] == 'SquareResize'}
        assert resized.items() <= dict(img=in_size, gt=out_size).items()
        # Broken images have stand-ins in training alone.
        assert issubclass(DATASETS.get(dataset['type']), PictureDataset)
        assert dataset.get('test_mode', False) == (loader not in loaders(config, 'train_dataloader'))
        assert {step['type'] for _, step in typed(dataset) if step['type'].startswith('Load')} == {'LoadPicture'}
    assert config['default_hooks']['data']['type'] == 'DataHook'


@pytest.mark.parametrize('name', EVERY)
def test_every_key_is_read(name: str) -> None:
    assert unread_keys(load(name)) == []


MISTAKES = [
    ('glean_twemoji_4x', 'gan_loss=dict(loss_weight', 'gan_loss=dict(loss_wieght', 'model.gan_loss.loss_wieght'),
    ('glean_twemoji_4x', 'encoder=dict(num_rrdbs', 'encoder=dict(num_rrdb', 'model.generator.encoder.num_rrdb'),
    ('glean_twemoji_4x', 'encoder=dict', 'encodr=dict', 'model.generator.encodr'),
    ('glean_twemoji_4x', 'ema=dict(decay', 'ema=dict(deacy', 'model.ema.deacy'),
    ('glean_twemoji_4x', 'ema=dict(', 'emma=dict(', 'model.emma'),
    ('glean_twemoji_4x', 'channels_last=True', 'channel_last=True', 'model.train_cfg.channel_last'),
    ('glean_twemoji_4x', "prefix='discriminator'", "prefx='discriminator'", 'model.discriminator.pretrained.prefx'),
    ('_base_/stlpips', "net='alex'", "nett='alex'", 'model.perceptual_loss.nett'),
    ('glean_twemoji_4x', 'optimizer=dict(lr=1e-3)', 'optimizer=dict(lerning_rate=1e-3)',
     'optim_wrapper.generator.optimizer.lerning_rate'),
    ('glean_twemoji_4x', '    discriminator=dict(type=\'BF16', '    discriminater=dict(type=\'BF16',
     'optim_wrapper.discriminater'),
    ('_base_/biggan_twemoji', 'lr_mult', 'lr_mul_', 'generator.paramwise_cfg.custom_keys.codes.lr_mul_'),
    ('glean_twemoji_4x', 'batch_size=16', 'batchsize=16', 'train_dataloader.batchsize'),
    ('glean_twemoji_4x', "data_prefix=dict(img='BIx4", "data_prefix=dict(lq='BIx4", 'dataset.data_prefix.lq'),
    ('glean_twemoji_4x', "data_root='data", "dataroot='data", 'train_dataloader.dataset.dataroot'),
    ('glean_twemoji_4x', 'param_scheduler = dict(T_max', 'param_scheduler = dict(Tmax', 'param_scheduler.Tmax'),
    ('glean_twemoji_4x', 'param_scheduler =', 'param_schedule =', 'param_schedule of glean_twemoji_4x.py'),
    ('glean_twemoji_4x', 'max_iters=1000, ', 'max_iter=1000, ', 'train_cfg.max_iter'),
    ('glean_twemoji_4x', 'checkpoint=dict(interval=500)', 'chekpoint=dict(interval=500)', 'default_hooks.chekpoint'),
    ('glean_twemoji_4x', 'checkpoint=dict(interval=500)', 'checkpoint=dict(intervall=500)',
     'default_hooks.checkpoint.intervall'),
    ('glean_twemoji_4x', 'compare=list', 'compares=list', 'custom_hooks.0.compares'),
    ('_base_/stlpips', "prefix='bicubic'", "prefixx='bicubic'", 'metrics.3.prefixx'),
    ('_base_/stlpips', "type='STLPIPSLoss'", "type='STLPIPSLos'", "model.perceptual_loss: there is no 'STLPIPSLos'"),
    ('glean_twemoji_8x', 'low_resolution =', 'in_size = 8\nlow_resolution =', 'in_size of glean_twemoji_8x.py'),
    ('glean_face_blind', 'limits=(1, 8)', 'limit=(1, 8)', 'pipeline.2.transforms.3.limit'),
    ('glean_face_blind', "type='NumberedSampler', shuffle", "type='NumberedSampler', shufle", 'sampler.shufle'),
    ('_base_/glean', 'test_cfg=dict(bicubic', 'test_cfg=dict(bicubicc', 'model.test_cfg.bicubicc'),
    ('_base_/glean', 'constructor=', 'constructer=', 'optim_wrapper.constructer'),
    ('_base_/runtime', 'diff_rank_seed', 'diff_rank_sed', 'randomness.diff_rank_sed'),
    ('_base_/runtime', 'mp_start_method', 'mp_start', 'env_cfg.mp_cfg.mp_start'),
    ('_base_/runtime', 'cudnn_benchmark', 'cudnn_bench', 'env_cfg.cudnn_bench'),
    ('_base_/runtime', 'model_wrapper_cfg', 'model_wrapper', 'model_wrapper of runtime.py'),
    ('stylegan2_twemoji_64px', 'r1_interval=16', 'r1_intervall=16', 'model.loss_config.r1_intervall'),
    ('stylegan2_twemoji_64px', 'ema_rampup', 'ema_ramp', 'model.ema_config.ema_ramp'),
    ('stylegan2_twemoji_64px', 'augment=', 'augments=', 'model.augments'),
]  # fmt: skip

# A config that builds on each base.
LEAVES = {'_base_/glean': 'glean_car_16x', '_base_/runtime': 'glean_car_16x',
          '_base_/biggan_twemoji': 'glean_twemoji_color', '_base_/stlpips': 'glean_twemoji_4x'}  # fmt: skip


@pytest.mark.parametrize(('name', 'right', 'wrong', 'said'), MISTAKES, ids=[each[3] for each in MISTAKES])
def test_a_mistyped_key_is_found(name: str, right: str, wrong: str, said: str, tmp_path: Path) -> None:
    """Also one in a base, by any config that builds on it."""
    for path in [*CONFIGS.glob('*.py'), *CONFIGS.glob('_base_/*.py')]:
        (tmp_path / path.relative_to(CONFIGS)).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(CONFIGS))
    path = tmp_path / f'{name}.py'
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    leaf = LEAVES.get(name, name)
    complaints = unread_keys(Config.fromfile(tmp_path / f'{leaf}.py'))
    assert complaints and all(each in said or said in each or wrong.split('=')[0] in each for each in complaints)
    assert any(said in each for each in complaints), complaints


# ---- small


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Stand-ins of downloads, and prepared photographs."""
    yield tmp_path_factory.mktemp('cache')
    shared.release()


def logged(work_dir: Path) -> list[dict[str, float]]:
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize('name', EVERY)
def test_trains_and_tests_on_photographs_from_file_to_file(
    name: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tools on a small copy: losses, validation and test as configured, the bank loaded and left alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    small_scale.without_downloads(cache, monkeypatch)
    published = load(name)
    small = small_scale.scaled_down(published)
    model = small['model']
    small_scale.lay_out(published.to_dict(), small, cache)
    small_scale.put_checkpoints(model)
    small_scale.put_networks(small, cache)
    Config(small).dump('small.py')

    run('train', name, monkeypatch, 'small.py')
    lines = logged(Path('train'))
    steps = [losses for losses in ({key: line[key] for key in line if 'loss' in key} for line in lines) if losses]
    assert len(steps) == ITERATIONS
    for losses in steps:
        assert loss_names(model) <= losses.keys() and all(math.isfinite(value) for value in losses.values()), losses
    check_weights(model)

    if 'test_cfg' not in small:
        return
    expected = small_scale.metric_names(small['val_evaluator'])
    assert expected <= lines[-1].keys()
    measured = {'validation': {key: lines[-1][key] for key in expected}}
    run('test', name, monkeypatch, 'small.py', f'train/iter_{ITERATIONS}.pth', '--out', 'metrics.json')
    measured['test'] = json.loads(Path('metrics.json').read_text())
    assert measured['test'].keys() == small_scale.metric_names(small['test_evaluator'])
    assert all(math.isfinite(value) for values in measured.values() for value in values.values()), measured
    pictures = [Image.open(path) for path in Path('test/pictures').rglob('*.png')]
    assert len(pictures) == 2 * len(loaders(small, 'test_dataloader'))
    assert {(picture.size, picture.mode) for picture in pictures} == {((sizes(model)[1],) * 2, 'RGB')}


def loss_names(model: dict) -> set[str]:
    """What a restorer's config asks for."""
    names = dict(pixel_loss='pix', perceptual_loss='perceptual', gan_loss='gan')
    return {f'loss_{each}' for key, each in names.items() if model.get(key)} | {
        f'loss_{each}' for each in model.get('losses') or {}
    }


def check_weights(model: dict) -> None:
    """The second iteration moved both networks and no frozen bank, which is the file's."""
    first, last = (load_plain(f'train/iter_{n}.pth')['state_dict'] for n in (1, ITERATIONS))
    assert all(value.isfinite().all() for value in last.values())
    for network in ('generator', 'discriminator'):
        if model.get(network):
            keys = [key for key in last if key.startswith(f'{network}.') and not key.startswith('generator.bank.')]
            moved = [key for key in keys if not torch.equal(first[key], last[key])]
            assert len(moved) > len(keys) / 2, moved
    if 'bank' in model['generator']:
        bank = MODELS.build(model['generator']['bank']).freeze()
        bank.init_weights()
        for key, value in bank.state_dict().items():
            for state in (first, last):
                assert torch.equal(state[f'generator.bank.{key}'], value), key


def run(tool: str, name: str, patch: pytest.MonkeyPatch, *arguments: str) -> None:
    """tools/TOOL.py in this process."""
    options = ['--work-dir', tool, '--cfg-options', f'experiment_name={name}-{tool}']
    patch.setattr(sys, 'argv', [tool, *arguments, *options])
    load_tool(tool).main()
