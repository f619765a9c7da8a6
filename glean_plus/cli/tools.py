"""What the command-line tools share."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, DictAction

from glean_plus.weights.errors import WeightsError, brief
from glean_plus.weights.resources import ConfigError, config_file, config_of

if TYPE_CHECKING:
    from mmengine.runner import Runner

# MMEngine's parser takes the square of a value's length, and a call for each bracket in another.
LONGEST, MOST_BRACKETS = 5000, 200
# Of a checkpoint that is no local file: https://, torchvision:// and the like; a single letter is a drive.
REMOTE = re.compile(r'\w{2,}:')


class Overrides(DictAction):
    """MMEngine's ``KEY=VALUE``, of which a wrong one ends the tool with a sentence."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        for each in values:
            key, equals, value = each.partition('=')
            if not equals or not all(key.split('.')):
                parser.error(f'{option_string} takes KEY=VALUE, such as train_cfg.max_iters=20, not {brief(each, 60)}')
            if value.count('(') != value.count(')') or value.count('[') != value.count(']'):
                parser.error(f'{option_string} {brief(each, 60)}: its brackets do not match')
            if len(value) > LONGEST or value.count('(') + value.count('[') > MOST_BRACKETS:
                most = f'{LONGEST} characters or {MOST_BRACKETS} brackets'
                parser.error(f'{option_string} {brief(each, 60)}: it has more than {most}; take a config file')
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, RecursionError):
            parser.error(f'{option_string} {brief(" ".join(values))}: its brackets and commas do not match')


def read_config(given: str | os.PathLike[str]) -> Config:
    """The config of a path, or of the name of one of ours; where there is none, the tool ends with a sentence."""
    try:
        return config_of(config_file(given))
    except (FileNotFoundError, ConfigError) as error:
        sys.exit(str(error))


def apply_overrides(config: Config, overrides: Mapping[str, Any] | None) -> None:
    """Put ``--cfg-options`` into a config; one that does not fit ends the tool with a sentence."""
    try:
        config.merge_from_dict(dict(overrides or {}))
    except (TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        sys.exit(f'--cfg-options {brief(" ".join(overrides or ()))} does not fit the config: {brief(error)}')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Config, work directory, overrides and launcher: MMagic's names and meanings."""
    parser.add_argument('config', help='config, path or name')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and pictures (default: work_dirs/CONFIG)')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE',
                        help='override keys of the config, e.g. train_cfg.max_iters=20')
    parser.add_argument('--verbose', action='store_true',
                        help='show all that the log file has: environment, config, hooks, notes of libraries')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun sets the environment variable, torch.distributed.launch passes the option.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the command line to it."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not args.verbose:
        silence_libraries()
    config = read_config(args.config)
    config.launcher = args.launcher
    # `vis_backends` is the visualizer's; on its own it would be a key that nothing reads.
    overrides = {f'visualizer.{key}' if key.split('.')[0] == 'vis_backends' else key: value
                 for key, value in (args.cfg_options or {}).items()}  # fmt: skip
    apply_overrides(config, overrides)
    if args.work_dir:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    # None leaves a hook out; MMEngine knows that of its own alone.
    for name in ('data', 'numbers'):
        if config.get('default_hooks', {}).get(name, ...) is None:
            del config.default_hooks[name]
    visualizer = config.get('visualizer') or {}
    if isinstance(backends := visualizer.get('vis_backends'), list):
        visualizer.vis_backends = [dict(type=each) if isinstance(each, str) else each for each in backends]
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
    """End the tool with a sentence where a loop has some of its parts, but not all: MMEngine asserts that."""
    for part, third in (('train', 'optim_wrapper'), ('val', 'val_evaluator'), ('test', 'test_evaluator')):
        keys = [f'{part}_dataloader', f'{part}_cfg', third]
        missing = [key for key in keys if config.get(key) is None]
        if missing and len(missing) < len(keys):
            present = [key for key in keys if key not in missing]
            lack, have = (f'{" and ".join(each)} {"is" if len(each) == 1 else "are"}' for each in (missing, present))
            sys.exit(
                f'{lack} None or missing, but {have} not: a run has all three of {", ".join(keys)} or none. To leave '
                f'them out, add --cfg-options {" ".join(f"{key}=None" for key in present)}.'
            )


def check_checkpoint(given: str, option: str) -> None:
    """End the tool with a sentence if a checkpoint is a local file that does not exist.

    Args:
        given: Path or URL.
        option: What names it, for the sentence.
    """
    path = Path(given).expanduser()
    if REMOTE.match(given) or path.is_file():
        return
    what = 'is a folder' if path.is_dir() else 'does not exist'
    folder = path if path.is_dir() else path.parent
    found = sorted(each.name for each in folder.glob('*') if each.suffix in ('.pth', '.safetensors'))
    there = f'; {folder} has {", ".join(found[:5])}{" and others" if len(found) > 5 else ""}' if found else ''
    sys.exit(f'The checkpoint {given}, which {option} names, {what}{there}.')


def silence_libraries() -> None:
    """Hide warnings of libraries to their own developers, unless Python was started with filters (``-W``)."""
    if sys.warnoptions:
        return
    for category in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
        warnings.filterwarnings('ignore', category=category, module=r'(?!glean_plus\b|__main__)')
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)


def need_training(tool: str) -> None:
    """End the tool with a sentence unless MMagic is there to train and test with."""
    from glean_plus.compat import StackError, check_training_stack

    try:
        check_training_stack()
    except StackError as error:
        sys.exit(f'{tool}: {error}')


def runner_class(args: argparse.Namespace) -> type[Runner]:
    """What runs the config: MMEngine's runner, with ``--verbose`` as it is."""
    from glean_plus.training.runner import Runner, TerseRunner  # takes seconds to import

    return Runner if args.verbose else TerseRunner


@contextmanager
def refusals(tool: str) -> Iterator[None]:
    """What the user can mend ends the tool with a sentence, not with a traceback."""
    from glean_plus.prepare import DataError
    from glean_plus.training.errors import TrainingError  # takes seconds to import

    try:
        yield
    except (DataError, TrainingError, WeightsError) as error:
        # Where a loader's worker raised it, PyTorch puts the traceback before the text.
        sys.exit(f'{tool}: {str(error).rpartition(f"{type(error).__name__}: ")[2].strip()}')
