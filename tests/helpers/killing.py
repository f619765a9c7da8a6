"""A real training that is killed at random moments and resumed until it ends: ``python killing.py FOLDER KILLS ...``.

Each training is a process of its own (two with ``--processes 2``), forked from this one, so that it starts in a tenth
of a second. Every other kill waits for a checkpoint that is being written. Prints the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from PIL import Image

import glean_plus.training.registration  # noqa: F401
from glean_plus.training import newest_whole
from glean_plus.weights.torch_files import load_plain

from conftest import free_port
from small_restorers import PREPROCESSOR, generator_config

ITERS = 24
DISCRIMINATOR = dict(type='StyleGAN2BankDiscriminator', in_size=32, channels={4: 8, 8: 8, 16: 8, 32: 4}, mbstd_group=1)


def write_data(root: Path, number: int = 8) -> Path:
    """Pairs 16 -> 32 of noise."""
    values = np.random.default_rng(0)
    for folder, side in (('GT', 32), ('LQ', 16)):
        (root / folder).mkdir(parents=True)
        for index in range(number):
            picture = values.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / folder / f'{index}.png')
    return root


def small_config(data: Path, work_dir: Path, iters: int = ITERS, **options: Any) -> Config:
    """GLEAN with discriminator, average and flips, on the hooks and the loop of the configs."""
    config = Config.fromfile(Path(__file__).parents[2] / 'configs' / '_base_' / 'glean.py')
    model = dict(config.model, generator=generator_config(light=False), discriminator=DISCRIMINATOR,
                 perceptual_loss=None, data_preprocessor=PREPROCESSOR)  # fmt: skip
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        config[loader].update(num_workers=0, persistent_workers=False, batch_size=2 if loader[0] == 'v' else 1)
        config[loader].dataset.update(data_root=str(data), data_prefix=dict(gt='GT', img='LQ'))
    config.train_dataloader.batch_size = 2
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config.pop(key)
    config.model = model
    config.custom_hooks = []
    config.train_cfg.update(max_iters=iters)
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    config.env_cfg.dist_cfg.backend = 'gloo'
    config.randomness = dict(seed=0, deterministic=True)
    config.work_dir = str(work_dir)
    config.merge_from_dict(options)
    return config


def train(config: Config) -> Runner:
    """As ``tools/train.py --resume``, or from the start where there is nothing to resume from."""
    newest = newest_whole(config.work_dir)
    if newest is not None:
        config.resume, config.load_from = True, str(newest)
    config.experiment_name = f'{Path(config.work_dir).name}-{time.time_ns()}'
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def start(config: Config, processes: int) -> list[int]:
    """Forks; each process ends with 0 after a whole training."""
    port, found = free_port(), []
    for rank in range(processes):
        child = os.fork()
        if child:
            found.append(child)
            continue
        code = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            if processes > 1:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes),
                                  MASTER_ADDR='127.0.0.1', MASTER_PORT=port)  # fmt: skip
                config.launcher = 'pytorch'
            train(config)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return found


def wait_for_kill(children: list[int], folder: Path, seconds: float, writing: bool) -> bool:
    """Kill after a time, or from then on as soon as a checkpoint is being written; whether it was still at work."""
    begin, left = time.perf_counter(), {*folder.glob('*.part')}  # by those that were killed before
    while not (time.perf_counter() - begin > seconds and (not writing or {*folder.glob('*.part')} - left)):
        if os.waitid(os.P_PID, children[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
    else:
        for child in children:
            os.kill(child, signal.SIGKILL)
    codes = [os.waitpid(child, 0)[1] for child in children]
    assert all(code in (0, signal.SIGKILL) for code in codes), codes
    return any(codes)


def flat(state: Any, path: str = '') -> dict[str, torch.Tensor]:
    """Every tensor and number of a nested state."""
    if isinstance(state, torch.Tensor):
        return {path: state}
    if isinstance(state, (int, float)):
        return {path: torch.tensor(state)}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, (list, tuple)) else ()
    return {key: value for name, part in items for key, value in flat(part, f'{path}.{name}').items()}


def differing_bytes(first: Path, second: Path) -> int:
    """Between weights, average, optimisers, schedulers of two checkpoints."""
    parts = ('state_dict', 'optimizer', 'param_schedulers')
    loaded = [load_plain(path) for path in (first, second)]
    states = [flat({part: each[part] for part in parts}) for each in loaded]
    assert states[0].keys() == states[1].keys() and len(states[0]) > 100
    return sum(0 if torch.equal(value, states[1][key]) else value.nbytes for key, value in states[0].items())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=Path)
    parser.add_argument('kills', type=int)
    parser.add_argument('--processes', type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rng = random.Random(7)
    # Before the processes fork: the registries' first look-up imports for seconds.
    mmengine.config.config.FormatCode = lambda text, **options: (text, True)  # yapf takes seconds for each config
    parts = ('datasets', 'engine', 'evaluation', 'models', 'visualization')
    import_modules_from_strings([f'mmagic.{part}' for part in parts])
    data = write_data(args.folder / 'data')
    Runner.from_cfg(small_config(data, args.folder / 'warm'))
    begin = time.perf_counter()
    whole = start(small_config(data, args.folder / 'once'), args.processes)
    assert [os.waitpid(child, 0)[1] for child in whole] == [0] * args.processes
    length = time.perf_counter() - begin
    figures = dict(kills=0, while_writing=0, without_a_checkpoint=0, trainings=0, bytes_lost=0)
    while figures['kills'] < args.kills:
        folder = args.folder / f'killed_{figures["trainings"]}'
        while True:
            before = {*folder.glob('*.part')}
            children = start(small_config(data, folder), args.processes)
            enough = figures['kills'] >= args.kills
            writing = figures['kills'] % 2 == 1
            if not wait_for_kill(children, folder, 1e9 if enough else rng.uniform(0.05, length), writing):
                break
            figures['kills'] += 1
            parts = {*folder.glob('*.part')}
            figures['while_writing'] += bool(parts - before)
            figures['without_a_checkpoint'] += not any(folder.glob('iter_*.pth'))
        figures['trainings'] += 1
        name = f'iter_{ITERS}.pth'
        figures['bytes_lost'] += differing_bytes(args.folder / 'once' / name, folder / name)
        assert len([*folder.glob('iter_*.pth')]) == 2 and not any(folder.glob('*.part'))
    print(json.dumps(dict(figures, seconds=round(time.perf_counter() - begin, 1))))


if __name__ == '__main__':
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    main()
