"""What the command-line tools share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from glean_plus.shipped import ConfigError, config_file, config_of
from glean_plus.weights.errors import WeightsError, brief

# MMEngine's parser takes the square of a value's length, and a call for each bracket in another.
LONGEST, MOST_BRACKETS = 5000, 200


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
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun sets the environment variable, torch.distributed.launch passes the option.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the command line to it."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = read_config(args.config)
    config.launcher = args.launcher
    apply_overrides(config, args.cfg_options)
    if args.work_dir:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    # None leaves a hook out; MMEngine knows that of its own alone.
    for name in ('data', 'numbers'):
        if config.get('default_hooks', {}).get(name, ...) is None:
            del config.default_hooks[name]
    return config


@contextmanager
def refusals(tool: str) -> Iterator[None]:
    """What the user can mend ends the tool with a sentence, not with a traceback."""
    from glean_plus.data import DataError
    from glean_plus.engine.errors import TrainingError  # takes seconds to import

    try:
        yield
    except (DataError, TrainingError, WeightsError) as error:
        # Where a loader's worker raised it, PyTorch puts the traceback before the text.
        sys.exit(f'{tool}: {str(error).rpartition(f"{type(error).__name__}: ")[2].strip()}')
