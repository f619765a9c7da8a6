"""Repeat the training step that NaN or Inf ended, and say where they begin.

    cd work_dirs/lightglean_cat_16x/not_finite
    glean-plus replay iter_1234_rank_0.py iter_1234_rank_0.pth

The two files have all that is needed: config; weights, batch, and the states of the random generators.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='the .py of WORK_DIR/not_finite; it is run, as every config')
    parser.add_argument('step', help='the .pth beside it; of it nothing is run')


def run(args: argparse.Namespace) -> None:
    from glean_plus.training.replay import replay

    print('\n'.join(replay(args.config, args.step)))
