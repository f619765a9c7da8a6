"""Broken files on every way in: each is named, and the rest goes on, or nothing begins."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import DATASETS
from mmagic.structures import DataSample
from mmengine.config import Config
from PIL import Image

from glean_plus.datasets.transforms import load
from glean_plus.datasets.transforms.seeded import NumberedIndex
from glean_plus.prepare import DataError
from glean_plus.training import DataHook, TrainingError

from conftest import forked, load_tool, run_tool
from killing import small_config, train, write_data
from layouts import photo, put
from small_restorers import generator_config, write_checkpoint

GT, LQ = 32, 16
UNICODE, LONG = 'Kätzchen_写真_🐈.png', 'x' * 251 + '.png'


def encoded(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo(GT, GT, 5)).save(file, form)
    return file.getvalue()


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of some fifty bytes, correct but for its pixels, of which there are a few."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b'IDAT', zlib.compress(bytes(100)))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + pixels + chunk(b'IEND', b'')


# What is no file, which shows at the start, and what shows when it is read; the word that says so.
NO_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    'link.png': (lambda path: path.symlink_to('nowhere.png'), 'leads nowhere'),
    'pipe.png': (os.mkfifo, 'no regular file'),
    'folder.png': (Path.mkdir, 'is a folder'),
}
NO_PICTURES: dict[str, tuple[Callable[[Path], Any], str]] = {
    'empty.png': (lambda path: path.write_bytes(b''), 'empty'),
    'half_jpeg.jpg': (lambda path: path.write_bytes(encoded('JPEG')[:700]), 'truncated'),
    'most_of_a_jpeg.jpg': (lambda path: path.write_bytes(encoded('JPEG')[:-9]), 'truncated'),
    'half_png.png': (lambda path: path.write_bytes(encoded('PNG')[:700]), 'truncated'),
    'page.png': (lambda path: path.write_text('<html>404</html>'), 'no image in a known format'),
    'bomb.png': (lambda path: path.write_bytes(bomb()), 'exceeds limit of 178956970 pixels'),
}
KINDS = NO_FILES | NO_PICTURES
GOOD = ['a.png', 'b.png', UNICODE, LONG]


def write_good(folder: Path, side: int, names: list[str]) -> None:
    for index, name in enumerate(names):
        put(folder / name, photo(side, side, index))


def write_all(folder: Path, side: int) -> None:
    """The good ones, and one of every broken kind."""
    write_good(folder, side, GOOD)
    for name, (make, _) in KINDS.items():
        make(folder / name)


@pytest.fixture(scope='module')
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four good pairs, and one ground truth of every kind of broken file, whose inputs are good."""
    root = tmp_path_factory.mktemp('pairs')
    write_all(root / 'GT', GT)
    write_good(root / 'LQ', LQ, [*GOOD, *KINDS])
    (root / 'all.txt').write_text('\n'.join([*GOOD, *KINDS]), encoding='utf-8')
    (root / 'files.txt').write_text('\n'.join(f'{name} (32,32,3)' for name in [*GOOD, *NO_PICTURES]), encoding='utf-8')
    (root / 'good.txt').write_text('\n'.join(GOOD), encoding='utf-8')
    return root


def config_of(data: Path, folder: Path, which: str, iters: int = 6, **options: Any) -> Config:
    """Every loader reads this list; of the images by names, workers included."""
    config = small_config(data, folder, iters, **options)
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.dataset.ann_file = loader.dataset.get('ann_file') or which
    config.default_hooks.checkpoint.interval = iters
    return config


def said_by(tool: str, config: Config, folder: Path, *arguments: str) -> str:
    """What a tool that refuses says at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    config.experiment_name = f'{tool}-{time.time_ns()}'
    config.dump(folder / 'config.py')
    with pytest.MonkeyPatch.context() as patch, pytest.raises(AssertionError) as caught:
        run_tool(tool, [str(folder / 'config.py'), '--work-dir', str(folder / 'work'), *arguments], patch)
    text = str(caught.value).partition(f'{tool}: ')[2]
    assert text and '\n' not in text and 'Traceback' not in text
    return text


def log_of(folder: Path) -> str:
    return ''.join(path.read_text(encoding='utf-8') for path in folder.rglob('*.log'))


# ---- every kind, on every way in


@pytest.fixture(scope='module')
def training(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The refusal at the start, and the log of a training that goes on; its samples come from two workers."""
    folder = tmp_path_factory.mktemp('training')
    refused = said_by('train', config_of(pairs, folder, 'all.txt'), folder)
    loader = {'train_dataloader.num_workers': 2}
    runner = train(config_of(pairs, folder / 'on', 'files.txt', **loader))
    assert runner.iter == 6 and (folder / 'on' / 'iter_6.pth').is_file()
    log = log_of(folder / 'on')
    assert log.count('a broken image') == len(NO_PICTURES)
    return refused.replace('; ', '\n') + log


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('model') / 'light.pth', generator_config(light=True))


@pytest.fixture(scope='module')
def testing(pairs: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp('testing')
    whole = config_of(pairs, folder, 'all.txt')
    files = config_of(pairs, folder / 'files', 'files.txt')
    for config in (whole, files):
        config.model.generator = generator_config(light=True)
    refused = said_by('test', whole, folder, str(checkpoint))
    text = said_by('test', files, folder / 'files', str(checkpoint))
    assert text.startswith(f'6 images of {pairs}/files.txt are broken or do not fit: ') and 'needs all of them' in text
    return refused.replace('; ', '\n') + log_of(folder / 'files')


@pytest.fixture(scope='module')
def preparing(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp('preparing')
    write_all(folder / 'in', GT)
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.stdout', out)
        command = ['folder', folder / 'in', folder / 'out', '--size', GT, '--scales', 2, '--workers', 1]
        assert load_tool('prepare_data').main([*map(str, command), '--min-size', '8']) == 1
        assert load_tool('prepare_data').main([*map(str, command), '--min-size', '8', '--allow-problems', '8']) == 0
    listed = (folder / 'out' / 'meta_info_GT.txt').read_text(encoding='utf-8').splitlines()
    assert sorted(listed) == sorted(f'{name} (32,32,3)' for name in GOOD)
    for place in ('GT', 'BIx2_down'):
        assert sorted(os.listdir(folder / 'out' / place)) == sorted(GOOD)
    return out.getvalue()


@pytest.fixture(scope='module')
def restoring(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    from glean_plus.cli.main import main

    folder = tmp_path_factory.mktemp('restoring')
    write_all(folder / 'in', LQ)
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.stdout', out)
        patch.setattr('sys.stderr', out)
        command = ['restore', folder / 'in', folder / 'out', '--model', checkpoint, '--device', 'cpu']
        code = main([*map(str, command)])
    assert code == 1, out.getvalue()
    assert sorted(path.name for path in (folder / 'out').glob('*.png')) == sorted(GOOD)
    assert not [*(folder / 'out').glob('*.part')]
    return out.getvalue()


@pytest.mark.parametrize('way', ['training', 'testing', 'preparing', 'restoring'])
@pytest.mark.parametrize('kind', KINDS)
def test_each_is_named_with_what_is_wrong(kind: str, way: str, request: pytest.FixtureRequest) -> None:
    said = request.getfixturevalue(way)
    lines = [line for line in said.splitlines() if kind in line]
    assert any(KINDS[kind][1] in line for line in lines), said
    assert UNICODE not in said and LONG not in said


# ---- what shows before an image is read


def data_set(root: Path, **options: Any) -> Any:
    """As the configs build it."""
    config = small_config(root, root).train_dataloader.dataset
    return DATASETS.build(config | dict(serialize_data=False) | options)  # to serialise collects garbage for seconds


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return write_data(tmp_path / 'data', 4)


def without(name: str) -> Callable[[Path], Any]:
    return lambda root: (root / name).unlink()


def with_list(text: str | bytes, name: str = 'list.txt') -> Callable[[Path], Any]:
    return lambda root: (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def emptied(root: Path) -> None:
    for path in root.glob('*/*.png'):
        path.unlink()


@pytest.mark.parametrize(('change', 'options', 'said'), [
    (emptied, {}, r'There is no image in \S+/GT: prepare'),
    (with_list(' \n\n'), dict(ann_file='list.txt'), r'There is no image in \S+/list\.txt: prepare'),
    (with_list(b''), dict(ann_file='list.txt'), r'There is no image in \S+/list\.txt: prepare'),
    (emptied, dict(ann_file='meta_info_GT.txt'), r'no list \S+/meta_info_GT\.txt: `prepare_data` writes it'),
    (emptied, dict(data_root='no/where'), r'no folder no/where/GT: `prepare_data` makes it; data_root and'),
    (emptied, dict(data_prefix=dict(gt='GT', img='BIx2_down')), r'no folder \S+/BIx2_down: .*data_prefix\.img'),
    (with_list(b'\xff\xfe0'), dict(ann_file='list.txt'), r'list\.txt is no list of images: it is no text'),
    (with_list('0.png\ntypo.png\n'), dict(ann_file='list.txt'),
     r'list\.txt: \S+/GT/typo\.png does not exist; \S+/LQ/typo\.png .* take their lines out of \S+/list\.txt'),
    (with_list('0.png\na b.png\n'), dict(ann_file='list.txt'), r'GT/a does not exist'),  # prepare_data writes a%20b
    (without('GT/2.png'), {}, r'LQ/2\.png has no partner\. So fix or remove'),
    (without('LQ/2.png'), {}, r'LQ/2\.png does not exist'),
    (lambda root: (root / 'GT' / 'x.png').mkdir(), {}, r'GT/x\.png is a folder'),
    (lambda root: os.mkfifo(root / 'LQ' / 'x.png'), {}, r'LQ/x\.png is no regular file'),
], ids=lambda value: value if isinstance(value, str) else '')  # fmt: skip
def test_what_is_missing_is_refused_with_the_way_out(change: Callable, options: dict, said: str, few: Path) -> None:
    change(few)
    with pytest.raises(DataError, match=said) as caught:
        data_set(few, **options)
    assert '\n' not in str(caught.value)


def test_a_data_set_of_broken_pictures_alone_is_refused(few: Path) -> None:
    for path in (few / 'GT').iterdir():
        path.write_bytes(b'')
    with pytest.raises(DataError, match=r'No image of \S+/GT that was tried .*unreadable: empty.*Prepare them again'):
        data_set(few)


def test_long_lists_of_faults_are_cut(few: Path) -> None:
    (few / 'list.txt').write_text('\n'.join(f'{number}.png' for number in range(100)))
    with pytest.raises(DataError, match=r'GT/4\.png does not exist; .*GT/6\.png does not exist and 187 more\. So'):
        data_set(few, ann_file='list.txt')


# ---- sizes


def resized(path: Path, width: int, height: int) -> None:
    Image.open(path).resize((width, height)).save(path)


@pytest.mark.parametrize(('folder', 'size', 'said'), [
    ('LQ', (15, 16), 'size: input 15x16, ground truth 32x32, where the first has input 16x16, ground truth 32x32'),
    ('GT', (3, 3), 'size: input 16x16, ground truth 3x3, where the first has input 16x16, ground truth 32x32'),
    ('GT', (40, 20), 'size: input 16x16, ground truth 40x20'),
])  # fmt: skip
def test_a_pair_of_another_size_is_broken_in_training(folder: str, size: tuple[int, int], said: str, few: Path) -> None:
    resized(few / folder / '2.png', *size)
    samples = data_set(few)
    for index in range(4):
        sample = samples[index]
        assert sample['inputs'].shape == (3, LQ, LQ) and sample['data_samples'].gt_img.shape == (3, GT, GT)
        broken = sample['data_samples'].broken
        assert (index == 2) == bool(broken)
        assert all(text.startswith(f'{few}/GT/2.png: {said}') for text in broken)


def test_data_of_the_wrong_size_are_refused_before_the_first_batch(few: Path, tmp_path: Path) -> None:
    """All of a training are too small for the networks; one of a test is no pair."""
    for path in (few / 'GT').iterdir():
        resized(path, 24, 24)
    text = said_by('train', config_of(few, tmp_path, ''), tmp_path)
    expected = 'do not fit this config: ground truth 24x24, where the discriminator takes 32x32. Prepare them with'
    assert text.startswith(f'The data of {few}/GT {expected} this --size')
    assert not [*tmp_path.rglob('*.pth')]


def test_sizes_that_a_model_takes() -> None:
    from glean_plus.training.hooks.data import Fit

    assert Fit(scale=2).complaint(dict(img=(3, 16, 20), gt=(3, 32, 40))) is None
    assert 'where the scale is 2' in Fit(scale=2).complaint(dict(img=(3, 16, 20), gt=(3, 32, 41)))
    assert 'input 20x16, where the generator takes 16x16' in Fit(lq=16).complaint(dict(img=(3, 16, 20)))
    assert Fit(lq=16, scale=2).complaint(dict(gt=(3, 5, 5))) is None  # nothing is known of it


# ---- stand-ins, and how many


def test_a_stand_in_depends_on_the_index_alone(few: Path) -> None:
    (few / 'GT' / '1.png').write_bytes(b'')
    first, second = data_set(few, pipeline=loaded()), data_set(few, pipeline=loaded())
    np.random.seed(1)
    chosen = [first[1]['data_samples'].metainfo['key'] for _ in range(3)]
    np.random.seed(2)
    torch.manual_seed(9)
    assert {second[1]['data_samples'].metainfo['key'], *chosen} == {chosen[0]} and chosen[0] != '1'
    state = np.random.get_state()[1]
    sample = second[NumberedIndex(1, 77)]
    assert (np.random.get_state()[1] == state).all() and sample['data_samples'].metainfo['sample_idx'].draw == 77


def loaded() -> list[dict]:
    steps = [dict(type='LoadPicture', key=key) for key in ('img', 'gt')]
    return [*steps, dict(type='PackInputs', meta_keys=['key', 'sample_idx'])]


def test_beyond_the_limit_a_training_ends_and_names_them(pairs: Path, tmp_path: Path) -> None:
    config = config_of(pairs, tmp_path, 'files.txt', 50, **{'default_hooks.data.limit': 2})
    text = said_by('train', config, tmp_path)
    assert re.match(r'[3-6] images of the training are broken, more than data\.limit=2: ', text)
    assert sum(name in text for name in NO_PICTURES) >= 3 and 'default_hooks.data.limit' in text and '--resume' in text


def test_a_broken_validation_is_refused_before_a_training(pairs: Path, few: Path, tmp_path: Path) -> None:
    config = config_of(few, tmp_path, '')
    dataset = dict(config.test_dataloader.dataset, data_root=str(pairs), ann_file='files.txt')
    config.val_dataloader = dict(config.test_dataloader, dataset=dataset)
    config.val_cfg, config.val_evaluator = config.test_cfg, config.test_evaluator
    text = said_by('train', config, tmp_path)
    assert text.startswith('6 images of the validation are broken or do not fit: ')
    assert not [*tmp_path.rglob('*.pth')]


def test_a_test_reads_each_file_once(
    few: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are; and what does not fit the model is named beside what is broken after it."""
    reads: list[str] = []
    read = load.read_image
    monkeypatch.setattr(load, 'read_image', lambda path: (reads.append(path), read(path))[1])
    config = config_of(few, tmp_path, '')
    config.model.generator = generator_config(light=True)
    config.dump(tmp_path / 'config.py')
    run_tool('test', [str(tmp_path / 'config.py'), str(checkpoint)], monkeypatch)
    assert sorted(reads) == sorted(map(str, few.glob('*/*.png'))) and len(reads) == 8
    resized(few / 'GT' / '1.png', 20, 20)
    (few / 'GT' / '3.png').write_bytes(b'')
    text = said_by('test', config, tmp_path / 'wrong', str(checkpoint))
    wrong = f'{few}/GT/1.png: size: input 16x16, ground truth 20x20, where the scale is 2'
    assert text.startswith(f'2 images of {few}/GT are broken or do not fit: {wrong}')
    assert f'{few}/GT/3.png: unreadable: empty' in text and log_of(tmp_path / 'wrong').count('A broken image: ') == 2


@pytest.mark.parametrize('limit', [-1, 0.5, True])
def test_a_wrong_limit_is_named(limit: Any) -> None:
    with pytest.raises(ValueError, match='limit must be a whole number'):
        DataHook(limit)


def in_process() -> None:
    """Each process meets a broken image of its own and one that both meet; the third is one too many."""
    torch.distributed.init_process_group('gloo')
    rank = torch.distributed.get_rank()
    hook, lines = DataHook(limit=2), []
    runner = SimpleNamespace(iter=0, logger=SimpleNamespace(warning=lines.append))
    for texts in ([[], []], [['both'], ['both']], [['own 0'], []], [['both'], []], [[], ['own 1']]):
        sample = DataSample(metainfo=dict(broken=texts[rank]))
        try:
            hook.before_train_iter(runner, 0, dict(data_samples=[sample]))
        except TrainingError as error:
            lines.append(str(error))
    Path(f'{rank}.json').write_text(json.dumps(lines))


def test_processes_count_together_and_end_together(tmp_path: Path) -> None:
    forked(in_process, cwd=tmp_path, processes=2)
    said = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2)]
    assert said[0] == said[1] and len(said[0]) == 4
    assert [re.search('image: (both|own .)', line).group(1) for line in said[0][:3]] == ['both', 'own 0', 'own 1']
    assert said[0][3].startswith('3 images of the training are broken, more than data.limit=2: both; own 0; own 1. ')
