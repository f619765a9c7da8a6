"""Test a checkpoint: metrics, predictions and a comparison picture.

    mim test glean_plus lightglean_twemoji_4x.py --checkpoint X.pth --work-dir work_dirs/test
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path

import mmengine
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from glean_plus.cli.tools import (
    add_common_arguments,
    check_checkpoint,
    load_config,
    need_training,
    refusals,
    runner_class,
)

SUFFIXES = ('.json', '.yaml', '.yml', '.pkl')


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
    from glean_plus.weights.integrity import write_whole

    if lost := [name for name, value in values.items() if value is None]:
        text = f'{", ".join(lost)} {"is" if len(lost) == 1 else "are"} not finite, and null in {path}.'
        print_log(text, logger='current', level=logging.WARNING)
    content = mmengine.dump(values, file_format=Path(path).suffix[1:])
    write_whole(path, content if isinstance(content, bytes) else content.encode())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='.pth or .safetensors: of training, of the generator alone, or MMagic GLEAN\'s')
    parser.add_argument('--out', help=f'file for the metrics, {", ".join(SUFFIXES)}')
    args = parser.parse_args()
    if args.out and Path(args.out).suffix not in SUFFIXES:
        parser.error(f'--out must end in one of {", ".join(SUFFIXES)}, but is {args.out}')
    return args


def main() -> None:
    args = parse_args()
    need_training('test')
    check_checkpoint(args.checkpoint, '--checkpoint')
    config = load_config(args)
    config.load_from = args.checkpoint
    metrics = Metrics()
    with refusals('test'):
        runner = runner_class(args).from_cfg(config)
        runner.register_hook(metrics)
        runner.test()
    if args.out and is_main_process():
        write_metrics(metrics.values, args.out)


if __name__ == '__main__':
    main()
