"""Repeat the training step that NaN or Inf ended, and say where they begin.

    cd work_dirs/lightglean_cat_16x/not_finite
    python ../../../tools/replay.py iter_1234_rank_0.py iter_1234_rank_0.pth
    mim run glean_plus replay iter_1234_rank_0.py iter_1234_rank_0.pth

The two files have all that is needed: config; weights, batch, and the states of the random generators.
"""

from __future__ import annotations

import argparse
import sys

import glean_plus  # noqa: F401
from glean_plus.training.errors import TrainingError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='the .py of WORK_DIR/not_finite; it is run, as every config')
    parser.add_argument('step', help='the .pth beside it; of it nothing is run')
    args = parser.parse_args()
    from glean_plus.training.replay import replay  # takes seconds to import

    try:
        print('\n'.join(replay(args.config, args.step)))
    except TrainingError as error:
        sys.exit(f'replay: {error}')


if __name__ == '__main__':
    main()
