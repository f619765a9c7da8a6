"""Blind restoration's degradation (Eq. 11), its seeds, and the configs that use it."""

from __future__ import annotations

import io
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmagic.datasets import BasicImageDataset
from mmagic.registry import DATA_SAMPLERS, TRANSFORMS
from mmagic.structures import DataSample
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, pseudo_collate
from PIL import Image
from scipy import ndimage, stats
from torch.utils.data import DataLoader

from glean_plus.datasets.transforms.seeded import NumberedIndex

from conftest import CONFIGS

EQ11 = [dict(type=name) for name in ('BlindBlur', 'BlindDownsample', 'BlindNoise', 'BlindJPEG')]
BLIND = [f'{model}_face_blind{size}' for model in ('glean', 'lightglean') for size in ('', '_1024')]


def seeded(transforms: list[dict], **options: Any) -> Any:
    return TRANSFORMS.build(dict(type='SeededTransforms', transforms=transforms, **options))


def picture(size: int = 48) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(size, size, 3))
    smooth = ndimage.gaussian_filter(noise, (3, 3, 0))
    return (127 + smooth / np.abs(smooth).max() * 120).round().astype(np.uint8)


def degrade(pipeline: Any, index: int = 0, size: int = 48) -> dict[str, Any]:
    return pipeline(dict(img=picture(size), img_channel_order='rgb', sample_idx=index))


def test_draws_of_2000_pictures_are_uniform_and_independent() -> None:
    pipeline = seeded(EQ11, fixed=True)
    drawn = [dict(degrade(pipeline, index, 8)['degradation']) for index in range(2000)]
    limits = dict(sigma=(0.2, 10), r=(1, 8), delta=(0, 25), q=(5, 50))
    assert [name for name, _ in degrade(pipeline)['degradation']] == list(limits)
    values = {name: np.array([each[name] for each in drawn]) for name in limits}
    for name, (low, high) in limits.items():
        assert low <= values[name].min() and values[name].max() <= high
        if name == 'q':
            counts = np.bincount(values[name], minlength=51)[5:]
            assert len(counts) == 46
            assert stats.chisquare(counts).pvalue > 1e-3
        else:
            assert stats.kstest(values[name], stats.uniform(low, high - low).cdf).pvalue > 1e-3, name
    correlation = np.corrcoef([values[name] for name in limits])
    assert np.abs(correlation - np.eye(4)).max() < 0.08


@pytest.mark.parametrize('sigma, r, delta, q', [(0.2, 1, 0, 50), (1.5, 2, 10, 30), (10, 3, 25, 5), (4, 4, 5, 20)])
def test_picture_is_eq_11_s(sigma: float, r: float, delta: float, q: int) -> None:
    """Against scipy's blur, a bilinear resize written out, and Pillow's JPEG."""
    values = (sigma, r, delta, q)
    steps = [dict(each, limits=(value, value)) for each, value in zip(EQ11, values)]
    np.random.seed(3)
    result = dict(img=picture(), img_channel_order='rgb')
    for step in steps:
        result = TRANSFORMS.build(step)(result)
    np.random.seed(3)
    np.random.uniform(size=3)  # sigma, r, delta
    blurred = ndimage.gaussian_filter(picture().astype(float), (sigma, sigma, 0), mode='mirror', truncate=4)
    side = 48 // r
    grid = (np.arange(side) + 0.5) * r - 0.5
    rows, columns = np.meshgrid(grid, grid, indexing='ij')
    small = np.stack([ndimage.map_coordinates(blurred[..., c], (rows, columns), order=1, mode='nearest')
                      for c in range(3)], axis=-1)
    noisy = small + delta * np.random.standard_normal(small.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)).save(file, 'JPEG', quality=q)
    expected = np.asarray(Image.open(file)).astype(int)
    difference = np.abs(result['img'].astype(int) - expected)
    assert result['img'].shape == (side, side, 3)
    assert result['img'].dtype == np.uint8
    # A level that rounds the other way can move a coefficient of its block by a whole quantum.
    assert difference.mean() < 0.5
    assert np.mean(difference <= 1) > 0.95


def test_noise_is_in_levels_of_255_and_is_not_clipped_before_jpeg() -> None:
    noise = TRANSFORMS.build(dict(type='BlindNoise', limits=(20, 20)))
    np.random.seed(0)
    added = noise(dict(img=np.zeros((100, 100, 3), np.uint8)))['img']
    assert abs(added.std() - 20) < 0.5
    assert added.min() < -40
    assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.05


def test_seed_index_and_number_decide_and_the_outer_state_stays() -> None:
    fixed = seeded(EQ11, fixed=True)
    np.random.seed(5)
    random.seed(5)
    before = np.random.get_state()[1].copy(), random.getstate()
    first = degrade(fixed)['img']
    assert np.array_equal(np.random.get_state()[1], before[0]) and random.getstate() == before[1]
    np.random.seed(6)
    assert np.array_equal(degrade(fixed)['img'], first)
    anew = seeded(EQ11)
    others = [degrade(fixed, 1), degrade(seeded(EQ11, seed=1, fixed=True)), degrade(anew, NumberedIndex(0, 0)),
              degrade(anew, NumberedIndex(0, 1))]  # fmt: skip
    draws = {str(degrade(fixed)['degradation']), *(str(each['degradation']) for each in others)}
    assert len(draws) == 5
    with pytest.raises(KeyError, match='NumberedSampler'):
        degrade(anew)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('faces')
    for index in range(5):
        Image.fromarray(np.roll(picture(), index * 7, axis=0)).save(root / f'{index}.png')
    return root


def test_an_index_stays_numbered_in_one_of_several_data_sets() -> None:
    """As MMEngine's wrappers hand it on: in the second of two, and in one that is repeated."""
    several = SimpleNamespace(cumulative_sizes=[5, 9], full_init=None, _fully_initialized=True)
    _, index = ConcatDataset._get_ori_dataset_idx(several, NumberedIndex(7, 3))
    repeated = NumberedIndex(7, 3) % 5
    assert (index, index.draw) == (2, 3) and (repeated, repeated.draw) == (2, 3)


def stream(folder: Path, workers: int, count: int = 12, seed: int = 0) -> list[tuple[bytes, bytes, str]]:
    """What a loader gives: twice and more through the data set, its flips and degradations."""
    load = dict(type='LoadImageFromFile', key='gt', channel_order='rgb')
    flip = dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction='horizontal')
    copy = dict(type='CopyValues', src_keys=['gt', 'gt_channel_order'], dst_keys=['img', 'img_channel_order'])
    pipeline = [load, dict(type='SeededTransforms', seed=seed, transforms=[flip, copy, *EQ11]),
                dict(type='SquareResize', size=16), dict(type='PackInputs', meta_keys=['degradation'])]  # fmt: skip
    dataset = BasicImageDataset(data_root=str(folder), data_prefix=dict(gt=''), pipeline=pipeline)
    sampler = DATA_SAMPLERS.build(dict(type='NumberedSampler', seed=1), default_args=dict(dataset=dataset))
    # Workers that have drawn something else before, as they have.
    loader = DataLoader(dataset, 2, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate,
                        worker_init_fn=np.random.seed)  # fmt: skip
    seen: list[tuple[bytes, bytes, str]] = []
    for batch in loader:
        for image, sample in zip(batch['inputs'], batch['data_samples']):
            seen.append((image.numpy().tobytes(), sample.gt_img.numpy().tobytes(), str(sample.degradation)))
        if len(seen) >= count:
            return seen
    return seen


def test_same_bytes_with_0_and_with_2_workers(folder: Path) -> None:
    alone = stream(folder, 0)
    assert alone == stream(folder, 2)
    assert len({image for image, _, _ in alone}) == len(alone) == 12  # new draws each time round
    assert not {image for image, _, _ in alone} & {image for image, _, _ in stream(folder, 0, seed=1)}


def test_second_order_and_shuffle() -> None:
    twice = degrade(seeded(EQ11 + EQ11, fixed=True))
    assert [name for name, _ in twice['degradation']] == ['sigma', 'r', 'delta', 'q'] * 2
    assert len({value for _, value in twice['degradation']}) == 8
    shuffled = seeded([dict(type='Shuffled', transforms=EQ11)], fixed=True)
    orders = [tuple(name for name, _ in degrade(shuffled, index, 16)['degradation']) for index in range(200)]
    assert len(set(orders)) == 24
    assert orders[7] == tuple(name for name, _ in degrade(shuffled, 7, 16)['degradation'])  # whatever came before


def test_steps_run_with_their_probability_and_samples_of_both_kinds_stack() -> None:
    blur = dict(type='BlindBlur', limits=(1, 2))
    pipeline = seeded([dict(type='Sometimes', probability=0.3, transforms=[blur])], fixed=True)
    results = [degrade(pipeline, index, 8) for index in range(400)]
    assert 0.23 < np.mean([len(each['degradation']) for each in results]) < 0.37
    assert all((each['img'] == picture(8)).all() for each in results if not each['degradation'])
    pack = TRANSFORMS.build(dict(type='PackInputs', meta_keys=['degradation']))
    stacked = DataSample.stack([pack(each)['data_samples'] for each in results])
    assert stacked.degradation == [each['degradation'] for each in results]


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(type='BlindBlur', limits=(0, 10)), 'sigma.*0.001'),
        (dict(type='BlindDownsample', limits=(0.5, 8)), 'r must'),
        (dict(type='BlindDownsample', interpolation='cubic'), 'cubic'),
        (dict(type='BlindNoise', limits=(25, 0)), r'delta.*\(25, 0\)'),
        (dict(type='BlindJPEG', limits=(5, 101)), 'q must'),
        (dict(type='BlindJPEG', limits=(5, 50.5)), 'whole'),
        (dict(type='SquareResize', size=0), 'size'),
        (dict(type='Shuffled', transforms=[]), 'at least one'),
        (dict(type='SeededTransforms', transforms=[], seed=-1), 'seed'),
    ],
)
def test_bad_arguments_are_named(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(config)


@pytest.mark.parametrize('shape', [(250, 250), (218, 178), (7, 30), (64, 64)])
def test_any_size_becomes_the_input_s(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 9, np.uint8)
    image[:, : (shape[1] - min(shape)) // 2] = 255  # beside the middle square
    result = TRANSFORMS.build(dict(type='SquareResize', size=64))(dict(img=image))['img']
    assert result.shape == (64, 64, 3) and result.dtype == np.uint8 and (result == 9).all()


@pytest.mark.parametrize('name', BLIND)
def test_config_has_the_sizes_and_metrics_of_section_5_5(name: str) -> None:
    """tests/configs/test_every_config.py builds and runs it."""
    config = Config.fromfile(CONFIGS / f'{name}.py')
    generator = config.model.generator
    assert generator.bank.out_size == 4 * generator.in_size == (1024 if '1024' in name else 512)
    assert config.train_cfg.max_iters == 300_000 and config.train_dataloader.batch_size == 8
    for loader in (config.train_dataloader, config.val_dataloader):
        (degraded,) = (step for step in loader.dataset.pipeline if step.type == 'SeededTransforms')
        limits = [tuple(step.limits) for step in degraded.transforms if 'limits' in step]
        assert limits == [(0.2, 10), (1, 8), (0, 25), (5, 50)]
        assert degraded.get('fixed', False) == (loader is config.val_dataloader)
    for evaluator, photos in zip(config.test_evaluator, ('LFW_a', 'CelebA')):  # Table 7
        naturalness, likeness, identity = evaluator.metrics
        assert naturalness == dict(type='NIQEMetric', prefix=photos)
        assert likeness.type == 'FIDMetric' and f'{generator.bank.out_size}px' in likeness.reference
        assert identity == dict(type='IdentitySimilarity', gt_key='input', prefix=photos)
