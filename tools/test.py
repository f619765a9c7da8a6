"""Test a checkpoint: metrics, predictions and a comparison picture.

    mim test glean_plus lightglean_twemoji_4x.py --checkpoint X.pth --work-dir work_dirs/test
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mmengine
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from glean_plus.cli import add_common_arguments, check_checkpoint, load_config, refusals, runner_class

SUFFIXES = ('.json', '.yaml', '.yml', '.pkl')


class Metrics(Hook):
    """Remembers the metrics of the test, as MMagic's test loop returns none."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.values.update({name: float(value) for name, value in (metrics or {}).items()})


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
    check_checkpoint(args.checkpoint, '--checkpoint')
    config = load_config(args)
    config.load_from = args.checkpoint
    metrics = Metrics()
    with refusals('test'):
        runner = runner_class(args).from_cfg(config)
        runner.register_hook(metrics)
        runner.test()
    if args.out and is_main_process():
        mmengine.dump(metrics.values, args.out)


if __name__ == '__main__':
    main()
