"""Repeat the training step that NaN or Inf ended, and say where they begin.

    python tools/replay.py work_dirs/lightglean_cat_16x/not_finite/iter_1234_rank_0.pth
    mim run glean_plus replay work_dirs/lightglean_cat_16x/not_finite/iter_1234_rank_0.pth

The file has all that is needed: config, weights, batch, and the states of the random generators.
"""

from __future__ import annotations

import argparse
import sys

import glean_plus  # noqa: F401
from glean_plus.engine.errors import TrainingError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='of WORK_DIR/not_finite')
    args = parser.parse_args()
    from glean_plus.engine.replay import replay  # takes seconds to import

    try:
        print('\n'.join(replay(args.file)))
    except TrainingError as error:
        sys.exit(f'replay: {error}')


if __name__ == '__main__':
    main()
