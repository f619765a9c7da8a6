"""Train a model from a config.

    mim train glean_plus lightglean_twemoji_4x.py --work-dir work_dirs/demo
    mim train glean_plus lightglean_twemoji_4x.py --resume
    mim train glean_plus glean_cat_16x.py --launcher pytorch --gpus 2
"""

from __future__ import annotations

import argparse
import os
import sys

from mmengine.config import Config

from glean_plus.cli.tools import (
    add_common_arguments,
    check_checkpoint,
    load_config,
    need_training,
    refusals,
    runner_class,
)


def parse_args() -> argparse.Namespace:
    # mim hands its own count of devices to a script whose help text mentions it, so the help is the first line alone.
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    add_common_arguments(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from a checkpoint; without a value, from the newest whole one in the work directory')
    parser.add_argument('--amp', action='store_true', help='mixed precision in bfloat16, on CPU or GPU')
    return parser.parse_args()


def use_amp(config: Config) -> None:
    """Every optimiser wrapper, one or one a network, becomes a bfloat16 one."""
    wrappers = config.optim_wrapper
    parts = [wrappers] if 'optimizer' in wrappers else [part for part in wrappers.values() if isinstance(part, dict)]
    for part in parts:
        part.type = 'BF16OptimWrapper'
        for key in ('loss_scale', 'dtype'):  # AmpOptimWrapper's
            part.pop(key, None)


def resume(config: Config, checkpoint: str) -> None:
    """Go on from a checkpoint, for ``auto`` from the newest whole one in the work directory."""
    from glean_plus.training.hooks.checkpoints import newest_whole  # takes seconds to import

    if checkpoint != 'auto':
        check_checkpoint(checkpoint, '--resume')
    found = newest_whole(config.work_dir) if checkpoint == 'auto' else checkpoint
    if found is None:
        sys.exit(f'There is no checkpoint in {config.work_dir} to resume from that is whole; name one, or leave --resume out.')
    config.resume, config.load_from = True, str(found)


def main() -> None:
    args = parse_args()
    need_training('train')
    config = load_config(args)
    if args.amp:
        use_amp(config)
    if args.resume:
        resume(config, args.resume)
    elif config.get('load_from'):
        check_checkpoint(config.load_from, 'load_from')
    with refusals('train'):
        runner = runner_class(args).from_cfg(config)
        runner.train()
    runner.logger.info(f'Checkpoints: {os.path.abspath(config.work_dir)}')


if __name__ == '__main__':
    main()
