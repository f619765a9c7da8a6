"""One run, from its folder alone: ``python -m glean_plus.analysis.study.worker FOLDER``.

Does what of the training and the test is missing, and resumes a training that was interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from glean_plus.analysis.complexity import complexity
from glean_plus.analysis.study.hooks import PerImage, Stopwatch
from glean_plus.training.hooks.checkpoints import newest_whole
from glean_plus.utils.files import read_json, save_json
from glean_plus.version import __version__

# Passes of one image, of which the median is taken.
TIMED_IMAGES = 20

_count = itertools.count()


def run(folder: Path) -> None:
    """Train and test what the folder asks for."""
    asked = read_json(folder / 'run.json')
    for part, work in (('train', train), ('test', test)):
        fingerprint = asked[f'{part}_fingerprint']
        done = read_json(folder / f'{part}.json')
        if fingerprint and (not done or done['fingerprint'] != fingerprint):
            result = work(folder, asked)
            save_json(dict(fingerprint=fingerprint, **result, **_circumstances()), folder / f'{part}.json')


def train(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Train, or resume from the last checkpoint; only that of the end is kept.

    Returns:
        ``iters``, ``images`` that were seen, ``seconds_per_iter`` (the median step), and ``seconds`` of this process.
    """
    config = _config(folder)
    newest = newest_whole(folder)
    if newest is not None:
        config.resume, config.load_from = True, str(newest)
    begin = time.perf_counter()
    runner = _runner(config)
    stopwatch = Stopwatch(folder / 'progress.json')
    runner.register_hook(stopwatch)
    runner.train()
    seconds_per_iter = stopwatch.seconds_per_iter
    if seconds_per_iter is None:  # it was interrupted behind the last step, which left its note
        seconds_per_iter = (read_json(folder / 'progress.json') or {}).get('seconds_per_iter')
    last = newest_whole(folder)
    for path in folder.glob('iter_*.pth'):
        if last is not None and path.name != last.name:
            path.unlink()
    return dict(
        iters=asked['iters'],
        images=asked['iters'] * config.train_dataloader.batch_size,
        seconds_per_iter=seconds_per_iter,
        seconds=time.perf_counter() - begin,
    )


def test(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Test the training's last checkpoint, the one that the row names, or what needs no weights.

    Returns:
        ``metrics``, ``per_picture``, ``seconds`` of this test, and, but for an image that is none of the model's,
        ``parameters``, ``trained`` of them, ``macs`` of one image, ``seconds_per_image`` of one alone.
    """
    config = _config(folder)
    if asked['train_fingerprint']:
        last = newest_whole(folder)
        if last is None:
            raise FileNotFoundError(f'{folder} has no checkpoint of its training: delete {folder / "train.json"}.')
        config.load_from = str(last)
    begin = time.perf_counter()
    runner = _runner(config)
    per_picture = PerImage()
    runner.register_hook(per_picture)
    runner.test()
    result = dict(
        metrics=per_picture.metrics, per_picture=per_picture.values, seconds=time.perf_counter() - begin
    )
    return result if asked['picture'] else result | _cost(runner)


def _config(folder: Path) -> Config:
    config = Config.fromfile(folder / 'config.py')
    # MMEngine keeps loggers by this name, also those of another run in this process.
    config.experiment_name = f'{folder.parent.name}_{folder.name}_{os.getpid()}_{next(_count)}'
    return config


def _runner(config: Config) -> Runner:
    runner = Runner.from_cfg(config)
    if torch.are_deterministic_algorithms_enabled():
        # On a GPU some have no such algorithm, as the backward pass of reflection padding: PyTorch warns and continues.
        torch.use_deterministic_algorithms(True, warn_only=True)
    return runner


def _cost(runner: Runner) -> dict[str, Any]:
    model = runner.model
    network = getattr(model, 'generator', model)
    config = runner.cfg.model.get('generator', {})
    try:
        macs = complexity(config.to_dict()).macs if 'in_size' in config else None
    except ValueError as error:
        runner.logger.warning(f'No multiply-adds are counted: {error}')
        macs = None
    return dict(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        trained=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        macs=macs,
        seconds_per_image=_seconds_per_image(runner),
    )


@torch.no_grad()
def _seconds_per_image(runner: Runner) -> float:
    model = runner.model.eval()
    data = model.data_preprocessor(next(iter(runner.test_loop.dataloaders[0])), False)
    inputs = data['inputs']['img'] if isinstance(data['inputs'], dict) else data['inputs']
    seconds = []
    for _ in range(TIMED_IMAGES):
        begin = time.perf_counter()
        model(**data, mode='tensor')
        if inputs.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds) / len(inputs)


def _circumstances() -> dict[str, Any]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    return dict(
        threads=torch.get_num_threads(), device=device,
        versions=dict(glean_plus=__version__, torch=torch.__version__, mmengine=mmengine.__version__),
    )  # fmt: skip


def _die_with_parent() -> None:
    """End this process when the other end of its standard input is closed, as it is when its parent is killed."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--die-with-parent', action='store_true', help='stop when standard input is closed')
    args = parser.parse_args()
    if args.die_with_parent:
        _die_with_parent()
    run(args.folder)


if __name__ == '__main__':
    main()
