"""Test a checkpoint: metrics, predictions and a comparison image.

    mim test glean_plus lightglean_twemoji_4x.py --checkpoint X.pth --work-dir work_dirs/test
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import add_runner_arguments, runner_config

SUFFIXES = ('.json', '.yaml', '.yml', '.pkl')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_runner_arguments(parser)
    parser.add_argument('checkpoint', help=".pth or .safetensors: of training, of the generator alone, or MMagic GLEAN's")
    parser.add_argument('--out', help=f'file for the metrics, {", ".join(SUFFIXES)}')


def run(args: argparse.Namespace) -> None:
    if args.out and Path(args.out).suffix not in SUFFIXES:
        raise UsageError(f'--out must end in one of {", ".join(SUFFIXES)}, but is {args.out}')
    config = runner_config(args)
    from glean_plus.training import launch

    launch.test(config, args.checkpoint, args.out, args.verbose)
