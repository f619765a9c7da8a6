"""Train a model from a config.

    mim train glean_plus lightglean_twemoji_4x.py --work-dir work_dirs/demo
    mim train glean_plus lightglean_twemoji_4x.py --resume
"""

# mim hands its own count of devices to a script whose help mentions the option for it: this help must not.

from __future__ import annotations

import argparse

from glean_plus.cli.options import add_runner_arguments, runner_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runner_arguments(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='resume from a checkpoint; without a value, from the newest whole one in the work folder')
    parser.add_argument('--amp', action='store_true', help='mixed precision in bfloat16, on CPU or GPU')


def run(args: argparse.Namespace) -> None:
    config = runner_config(args)
    from glean_plus.training import launch

    if args.amp:
        launch.use_amp(config)
    if args.resume:
        launch.resume(config, args.resume)
    launch.train(config, args.verbose)
