"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glean_plus.cli.commands import UsageError
from glean_plus.utils.choices import PRECISIONS, SPEEDS
from glean_plus.utils.terminal import silence_libraries

if TYPE_CHECKING:
    from mmengine.config import Config

# MMEngine's parser takes the square of a value's length, and a call for each bracket in another.
LONGEST, MOST_BRACKETS = 5000, 200


class Overrides(argparse.Action):
    """MMEngine's ``KEY=VALUE``, of which a wrong one ends the command with a sentence."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        from mmengine.config import DictAction

        from glean_plus.weights.errors import brief

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
            DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)
        except (AssertionError, RecursionError):
            parser.error(f'{option_string} {brief(" ".join(values))}: its brackets and commas do not match')


def add_overrides(parser: argparse.ArgumentParser, about: str = 'override keys of the config') -> None:
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE', help=about)


def add_device(parser: argparse.ArgumentParser, default: str = 'auto', more: str = '') -> None:
    names = 'cpu, cuda, cuda:N, mps or auto ' if default == 'auto' else ''
    parser.add_argument('--device', default=default, help=f'{names}{more}(default: %(default)s)')


def add_computation(parser: argparse.ArgumentParser, speed: str, devices: str = '') -> None:
    """Where and how a model is computed; ``speed`` is the help of that option, ``devices`` more of that of --device."""
    add_device(parser, more=devices)
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32', help='(default: %(default)s)')
    parser.add_argument('--speed', choices=SPEEDS, default='auto', help=f'{speed} (default: %(default)s)')


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help='name, checkpoint, or, with --checkpoint, config')
    parser.add_argument('--checkpoint', help='weights of a config')


def add_bgr(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--bgr', action=argparse.BooleanOptionalAction,
                        help="the bank draws BGR (default: as published, for OpenMMLab's banks; no, for others)")


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Config, work directory, overrides and launcher: MMagic's names and meanings."""
    parser.add_argument('config', help='config, path or name')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and images (default: work_dirs/CONFIG)')
    add_overrides(parser, 'override keys of the config, e.g. train_cfg.max_iters=20')
    parser.add_argument('--verbose', action='store_true',
                        help='show all that the log file has: environment, config, hooks, notes of libraries')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun sets the environment variable, torch.distributed.launch passes the option.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


@contextmanager
def preparing() -> Iterator[None]:
    """While entered, wrong settings of a data set are wrong options, and files that fail are errors of the data set.

    Raises:
        UsageError: For a SettingsError.
        DataError: For an OSError.
    """
    from glean_plus.prepare.items import DataError
    from glean_plus.prepare.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise DataError(str(error)) from error


def runner_config(args: argparse.Namespace) -> Config:
    """What a call with :func:`add_runner_arguments` runs; before it, nothing of the training stack is imported."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not args.verbose:
        silence_libraries()
    from glean_plus.compat import check_training_stack

    check_training_stack()
    from glean_plus.training.launch import load_config

    return load_config(args.config, args.work_dir, args.cfg_options, args.launcher)
