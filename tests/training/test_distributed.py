"""Several processes: equal weights, the single process's metrics, and an end for all when one dies."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import DOCS, commands
from mmengine.config import Config
from PIL import Image

from conftest import BIN, CONFIGS, ROOT, forked, free_port, launch, run_tool
from killing import small_config, write_data
from small_restorers import generator_config, write_checkpoint

SHIPPED = CONFIGS / 'weights' / 'lightglean_twemoji_4x.safetensors'

WORKER = '''
"""In process 1: NaN at iteration 2, the end at iteration 4. Each process writes its weights."""
import math

import torch
from mmagic.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook


@HOOKS.register_module()
class Worker(Hook):
    priority = 'HIGHEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        torch.save(runner.model.state_dict(), f'weights_{runner.iter}_{get_rank()}.pth')
        if get_rank() == 1 and runner.iter == 1:
            data_batch['inputs'] = [image.float() * math.nan for image in data_batch['inputs']]
        if get_rank() == 1 and runner.iter == 3:
            raise RuntimeError('this worker dies')
'''


def weights(folder: Path, iteration: int, rank: int) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'weights_{iteration}_{rank}.pth', weights_only=True)


@pytest.mark.parametrize('processes', [2, pytest.param(4, marks=pytest.mark.soak)])
def test_processes_skip_together_stay_equal_and_end_together(processes: int, tmp_path: Path) -> None:
    data = write_data(tmp_path / 'data')
    config = small_config(data, tmp_path / 'work', 100_000)
    config.custom_hooks = [dict(type='Worker')]
    config.custom_imports.imports = ['glean_plus', 'worker']
    config.default_hooks.checkpoint.interval = 1000
    config.dump(tmp_path / 'config.py')
    (tmp_path / 'worker.py').write_text(WORKER)
    command = [str(BIN / 'torchrun'), '--standalone', f'--nproc-per-node={processes}',
               str(ROOT / 'tools' / 'train.py'), 'config.py', '--launcher', 'pytorch']  # fmt: skip
    path = f'{tmp_path}{os.pathsep}{ROOT}'
    environment = os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=path, PYTHONWARNINGS='ignore')
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    seconds = time.time() - (tmp_path / 'weights_3_1.pth').stat().st_mtime
    output = result.stdout + result.stderr
    assert result.returncode != 0 and 'this worker dies' in output
    assert seconds < 60, seconds
    assert 'Iteration 2: NaN or Inf in losses or gradients' in output
    for rank in range(processes):
        first, last = weights(tmp_path, 1, rank), weights(tmp_path, 3, rank)
        skipped = weights(tmp_path, 2, rank)
        assert any(not torch.equal(first[key], last[key]) for key in first if key.startswith('module.generator.'))
        for key, value in last.items():
            assert value.isfinite().all() and torch.equal(value, weights(tmp_path, 3, 0)[key]), key
            if key.startswith(('module.generator.', 'module.discriminator.')):
                assert torch.equal(skipped[key], first[key]), key


@pytest.mark.parametrize('processes', [2, pytest.param(4, marks=pytest.mark.soak)])
def test_a_test_of_three_pictures_gives_the_numbers_and_pictures_of_one_process(
    processes: int, tiny_config: Any, tmp_path: Path
) -> None:
    """Three is no multiple of two, and fewer than four."""
    config = Config.fromfile(CONFIGS / 'lightglean_twemoji_4x.py')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        config[loader].update(num_workers=0, persistent_workers=False)
        config[loader].dataset.data_root = tiny_config().test_dataloader.dataset.data_root
    config.test_dataloader.dataset.indices = 3
    config.custom_hooks[0].compare = [0, 1, 2]
    path = tmp_path / 'config.py'
    config.dump(path)
    for folder, number in (('one', 0), ('more', processes)):
        arguments = [str(path), str(SHIPPED), '--work-dir', folder, '--out', f'{folder}.json',
                     '--launcher', 'pytorch' if number else 'none']  # fmt: skip
        forked(run_tool, 'test', arguments, pytest.MonkeyPatch(), cwd=tmp_path, processes=number)
    one, more = (json.loads((tmp_path / f'{folder}.json').read_text()) for folder in ('one', 'more'))
    assert one.keys() == more.keys() and one == pytest.approx(more, rel=1e-5)
    names = [sorted(path.name for path in (tmp_path / folder / 'pictures').iterdir()) for folder in ('one', 'more')]
    assert len(names[0]) == 3 and names[1] == names[0]  # what fills up the last process is no image of its own
    rows = [np.asarray(Image.open(tmp_path / folder / 'comparison.png')) for folder in ('one', 'more')]
    assert rows[0].shape == (3 * 64, 4 * 64, 3) and np.abs(rows[0].astype(int) - rows[1]).max() <= 1


def test_two_processes_lose_no_prediction_of_two_data_sets(tmp_path: Path) -> None:
    """A name is in both: one process has it of one data set, the other of the other; and an image is `0_2` itself."""
    first, second = write_data(tmp_path / 'first', 3), write_data(tmp_path / 'second', 2)
    for folder in ('GT', 'LQ'):
        (first / folder / '2.png').rename(first / folder / '0_2.png')
        (second / folder / '0.png').rename(second / folder / 'x.png')
        (second / folder / '1.png').rename(second / folder / '0.png')
    (second / 'list.txt').write_text('x.png\n0.png\n')
    config = small_config(first, tmp_path / 'work')
    config.model.generator = generator_config(light=True)
    loader = config.test_dataloader
    other = dict(loader, dataset=dict(loader.dataset, data_root=str(second), ann_file='list.txt'))
    config.test_dataloader = [loader, other]
    config.test_evaluator = [dict(type='Evaluator', metrics=[dict(type='PSNRMetric', prefix=name)]) for name in 'ab']
    config.custom_hooks = [dict(type='PictureHook', compare=[0, 1])]
    config.dump(tmp_path / 'config.py')
    checkpoint = write_checkpoint(tmp_path / 'light.pth', generator_config(light=True))
    for folder, number in (('one', 0), ('two', 2)):
        arguments = [str(tmp_path / 'config.py'), str(checkpoint), '--work-dir', folder,
                     '--launcher', 'pytorch' if number else 'none']  # fmt: skip
        forked(run_tool, 'test', arguments, pytest.MonkeyPatch(), cwd=tmp_path, processes=number)
    one, two = ({path.relative_to(tmp_path / folder).as_posix(): np.asarray(Image.open(path)).astype(int)
                 for path in (tmp_path / folder).rglob('*.png')} for folder in ('one', 'two'))  # fmt: skip
    assert {*one} == {*two} == {'comparison.png', *(f'pictures/{name}.png' for name in ('0', '1', '0_2', 'x', '0_3'))}
    assert all(one[name].shape == two[name].shape and np.abs(one[name] - two[name]).max() <= 1 for name in one)
    assert (one['pictures/0.png'] != one['pictures/0_3.png']).any() and len(one['comparison.png']) == 4 * 32
    assert not [*tmp_path.rglob('*.part')]


def documented(start: str) -> list[str]:
    """The documented command that begins so, for two processes in place of many."""
    (line,) = [line for line in commands(DOCS / 'training' / 'distributed.md') if line.startswith(start)]
    return shlex.split(re.sub(r'(--nproc-per-node)=8', r'\1=2', line))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the tools, and a tiny config in the place of the one that is documented."""
    config = small_config(write_data(tmp_path / 'data'), tmp_path / 'work', 2)
    (tmp_path / 'configs').mkdir()
    config.dump(tmp_path / 'configs' / 'glean_face_16x.py')
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    return tmp_path


def is_trained_by_two(output: str, folder: Path) -> bool:
    log = ''.join(path.read_text() for path in folder.rglob('*.log'))
    return 'GPU number: 2' in log and (folder / 'work' / 'iter_2.pth').is_file()


@pytest.mark.soak
def test_documented_torchrun(checkout: Path) -> None:
    assert is_trained_by_two(launch(documented('torchrun --standalone'), checkout), checkout)


@pytest.mark.soak
def test_documented_torchrun_on_several_machines(checkout: Path) -> None:
    """Two agents of one process each."""
    host = f'localhost:{free_port()}'
    changes = {'--nnodes=4': '--nnodes=2', '--nproc-per-node=2': '--nproc-per-node=1',
               '--rdzv-endpoint=HOST:29500': f'--rdzv-endpoint={host}'}  # fmt: skip
    command = documented('torchrun --nnodes')
    assert changes.keys() <= {*command}
    command = [changes.get(each, each) for each in command]
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: launch(command, checkout), range(2))
    assert is_trained_by_two(first + second, checkout)


@pytest.mark.soak
def test_documented_slurm(checkout: Path) -> None:
    """Each process with what srun would tell it."""
    command = documented('srun')
    command = command[command.index('python'):]
    same = dict(SLURM_NTASKS='2', SLURM_NODELIST='localhost', MASTER_ADDR='localhost', MASTER_PORT=free_port())
    start = lambda rank: launch(command, checkout, SLURM_PROCID=rank, SLURM_LOCALID=rank, **same)  # noqa: E731
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(start, '01')
    assert is_trained_by_two(first + second, checkout)
