"""What `train` and `test` do before, around and beside a run."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmengine
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from glean_plus.errors import GleanError
from glean_plus.training.errors import TrainingError
from glean_plus.training.hooks.checkpoints import newest_whole
from glean_plus.training.runner import TerseRunner
from glean_plus.utils.files import write_whole
from glean_plus.weights.errors import WeightsError
from glean_plus.weights.resources import ConfigError, apply_overrides, read_config

# Of a checkpoint that is no local file: https://, torchvision:// and the like; a single letter is a drive.
REMOTE = re.compile(r'\w{2,}:')


def load_config(
    given: str, work_dir: str | None = None, cfg_options: Mapping[str, Any] | None = None, launcher: str = 'none'
) -> Config:
    """The config of a run.

    Args:
        given: Its path or name.
        work_dir: Folder of the results; None takes that of the config, or `work_dirs/CONFIG`.
        cfg_options: Keys to override.
        launcher: Of several processes.

    Raises:
        ConfigError: If it cannot be run.
    """
    config = read_config(given)
    config.launcher = launcher
    # `vis_backends` is the visualizer's; on its own it would be a key that nothing reads.
    overrides = {f'visualizer.{key}' if key.split('.')[0] == 'vis_backends' else key: value
                 for key, value in (cfg_options or {}).items()}  # fmt: skip
    apply_overrides(config, overrides)
    if work_dir:
        config.work_dir = work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(given).stem)
    # None leaves a hook out; MMEngine knows that of its own alone.
    for name in ('data', 'numbers'):
        if config.get('default_hooks', {}).get(name, ...) is None:
            del config.default_hooks[name]
    visualizer = config.get('visualizer') or {}
    if isinstance(backends := visualizer.get('vis_backends'), list):
        visualizer['vis_backends'] = [dict(type=each) if isinstance(each, str) else each for each in backends]
    for part in ('train', 'val', 'test'):
        loaders = config.get(f'{part}_dataloader')
        for loader in loaders if isinstance(loaders, list) else [loaders]:
            if isinstance(loader, dict):
                without_workers(loader)
    check_loops(config)
    return config


def without_workers(loader: dict[str, Any]) -> None:
    """Leave out what PyTorch refuses beside ``num_workers=0``; all of it is about the workers."""
    if loader.get('num_workers') == 0:
        for key in ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context'):
            loader.pop(key, None)


def check_loops(config: Config) -> None:
    """A loop has all of its parts or none, which MMEngine asserts.

    Raises:
        ConfigError: If it has some of them.
    """
    for part, third in (('train', 'optim_wrapper'), ('val', 'val_evaluator'), ('test', 'test_evaluator')):
        keys = [f'{part}_dataloader', f'{part}_cfg', third]
        missing = [key for key in keys if config.get(key) is None]
        if missing and len(missing) < len(keys):
            present = [key for key in keys if key not in missing]
            lack, have = (f'{" and ".join(each)} {"is" if len(each) == 1 else "are"}' for each in (missing, present))
            raise ConfigError(
                f'{lack} None or missing, but {have} not: a run has all three of {", ".join(keys)} or none. To leave '
                f'them out, add --cfg-options {" ".join(f"{key}=None" for key in present)}.'
            )


def check_checkpoint(given: str, option: str) -> None:
    """A checkpoint is remote, or a local file.

    Args:
        given: Path or URL.
        option: What names it, for the message.

    Raises:
        WeightsError: If it is a local file that does not exist.
    """
    path = Path(given).expanduser()
    if REMOTE.match(given) or path.is_file():
        return
    what = 'is a folder' if path.is_dir() else 'does not exist'
    folder = path if path.is_dir() else path.parent
    found = sorted(each.name for each in folder.glob('*') if each.suffix in ('.pth', '.safetensors'))
    there = f'; {folder} has {", ".join(found[:5])}{" and others" if len(found) > 5 else ""}' if found else ''
    raise WeightsError(f'The checkpoint {given}, which {option} names, {what}{there}.')


def use_amp(config: Config) -> None:
    """Every optimizer wrapper, one or one a network, becomes a bfloat16 one."""
    wrappers = config.optim_wrapper
    parts = [wrappers] if 'optimizer' in wrappers else [part for part in wrappers.values() if isinstance(part, dict)]
    for part in parts:
        part.type = 'BF16OptimWrapper'
        for key in ('loss_scale', 'dtype'):  # AmpOptimWrapper's
            part.pop(key, None)


def resume(config: Config, checkpoint: str) -> None:
    """Resume from a checkpoint, for ``auto`` from the newest whole one in the work directory.

    Raises:
        WeightsError: If there is none.
    """
    if checkpoint != 'auto':
        check_checkpoint(checkpoint, '--resume')
    found = newest_whole(config.work_dir) if checkpoint == 'auto' else checkpoint
    if found is None:
        raise WeightsError(
            f'There is no checkpoint in {config.work_dir} to resume from that is whole; name one, or leave --resume '
            'out.'
        )
    config.resume, config.load_from = True, str(found)


def train(config: Config, verbose: bool = False) -> None:
    """Train; ``verbose`` shows all that MMEngine says."""
    if config.get('load_from'):
        check_checkpoint(config.load_from, 'load_from')
    with user_errors():
        runner = _runner(config, verbose)
        runner.train()
    runner.logger.info(f'Checkpoints: {os.path.abspath(config.work_dir)}')


def test(config: Config, checkpoint: str, out: str | None = None, verbose: bool = False) -> None:
    """Test a checkpoint, and write the metrics to ``out``, a file of JSON, YAML or pickle."""
    check_checkpoint(checkpoint, '--checkpoint')
    config.load_from = checkpoint
    metrics = Metrics()
    with user_errors():
        runner = _runner(config, verbose)
        runner.register_hook(metrics)
        runner.test()
    if out and is_main_process():
        write_metrics(metrics.values, out)


def _runner(config: Config, verbose: bool) -> Runner:
    return (Runner if verbose else TerseRunner).from_cfg(config)


@contextmanager
def user_errors() -> Iterator[None]:
    """Where a loader's worker raised an error that a user can fix, PyTorch puts the traceback before the text."""
    try:
        yield
    except GleanError as error:
        raise TrainingError(str(error).rpartition(f'{type(error).__name__}: ')[2].strip()) from error


class Metrics(Hook):
    """Remembers the metrics of the test, as MMagic's test loop returns none."""

    def __init__(self) -> None:
        self.values: dict[str, int | float | None] = {}

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.values.update({name: number(value) for name, value in (metrics or {}).items()})


def number(value: float) -> int | float | None:
    """A metric for a file: a count, or a number; None of what is not finite, for which JSON has no word."""
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def write_metrics(values: dict[str, int | float | None], path: str) -> None:
    """Write the file of ``--out``, whole or not at all."""
    if lost := [name for name, value in values.items() if value is None]:
        text = f'{", ".join(lost)} {"is" if len(lost) == 1 else "are"} not finite, and null in {path}.'
        print_log(text, logger='current', level=logging.WARNING)
    content = mmengine.dump(values, file_format=Path(path).suffix[1:])
    write_whole(path, content if isinstance(content, bytes) else content.encode())
