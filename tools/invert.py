"""Restore pictures by GAN inversion, without training: the baseline that GLEAN is compared with (PULSE).

    python tools/invert.py configs/glean_twemoji_4x.py data/twemoji/BIx4_down work_dirs/inverted \\
        --ann-file data/twemoji/meta_info_Twemoji_people_test.txt --gt data/twemoji/GT
    python tools/invert.py configs/glean_face_16x.py face.png work_dirs/inverted --time-limit 60 --device cuda

The codes of the config's bank, the whole bank, are optimised until its picture, brought to the input's size by MATLAB's
bicubic (of a colorization config: its lightness), is the input. OUT/NAME.png is each result, OUT/report.csv how it went.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import glean_plus  # noqa: F401
from glean_plus.analysis.inversion import InversionError, Inverter, Settings, invert_folder
from glean_plus.analysis.inversion.scores import Scores
from glean_plus.cli.tools import Overrides, apply_overrides, read_config
from glean_plus.utils.devices import DeviceError
from glean_plus.utils.terminal import Parser
from glean_plus.weights import WeightsError


def parse_args() -> argparse.Namespace:
    default = Settings()
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a restorer, path or name, for super-resolution or colorization')
    parser.add_argument('input', type=Path, help="picture, or folder of pictures, of the config's input size")
    parser.add_argument('out', type=Path, help='folder of the results')
    parser.add_argument('--space', choices=['w+', 'w', 'z'],
                        help='where to search: a code for each layer, one code, or the noise '
                             '(default: w+ of a StyleGAN; a BigGAN has z only)')
    parser.add_argument('--label', type=int, metavar='CLASS',
                        help='class of the pictures, for a bank with classes (default: searched too)')
    parser.add_argument('--steps', type=int, default=default.steps, help='(default: %(default)s)')
    parser.add_argument('--lr', type=float, default=default.lr, help="Adam's learning rate (default: %(default)s)")
    parser.add_argument('--prior', type=float, help="weight of the prior, 0 for none (default: the space's own)")
    parser.add_argument('--restarts', type=int, default=default.restarts,
                        help='random starts, of which the best is taken (default: %(default)s)')
    parser.add_argument('--time-limit', type=float, metavar='SECONDS',
                        help='for each picture; then the best so far is taken (default: none)')
    parser.add_argument('--batch', type=int, default=1, help='pictures searched together (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=default.seed, help='of starts and noise maps (default: %(default)s)')
    parser.add_argument('--device', default='cpu', help='(default: %(default)s)')
    parser.add_argument('--bgr', action=argparse.BooleanOptionalAction,
                        help="the bank draws BGR (default: as published, for OpenMMLab's banks; no, for others)")
    parser.add_argument('--ann-file', type=Path, help='list of the pictures to take from the folder')
    parser.add_argument('--gt', type=Path, metavar='FOLDER',
                        help="truths, of the same names: the config's metrics are printed")
    parser.add_argument('--overwrite', action='store_true', help='replace results that are there already')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE',
                        help='override keys of the config')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = read_config(args.config)
    apply_overrides(config, args.cfg_options)
    if 'generator' not in (config.get('model') or {}):
        sys.exit(f'invert: {args.config} is no restorer: its model has no generator. Give the config of one.')
    try:
        settings = Settings(args.steps, args.lr, args.restarts, args.prior, args.time_limit, args.seed)
        inverter = Inverter(config.model.generator.to_dict(), settings, args.space, args.label, args.bgr, args.device)
        scores = Scores(config) if args.gt else None
        rows = invert_folder(inverter, args.input, args.out, args.batch, args.ann_file, args.gt, scores, args.overwrite)
    except (DeviceError, InversionError, WeightsError) as error:
        sys.exit(f'invert: {error}')

    mean = {name: sum(getattr(row, name) for row in rows) / len(rows)
            for name in ('lr_psnr', 'start_lr_psnr', 'seconds')}
    print(f'{args.out}: {len(rows)} pictures, {mean["seconds"]:.1f} s each, {inverter.task.nearness} {mean["lr_psnr"]:.2f} dB '
          f'(random starts: {mean["start_lr_psnr"]:.2f} dB)')
    if limited := sum(row.stopped_by_limit for row in rows):
        print(f'The time limit of {args.time_limit:g} s stopped {limited} of them, after '
              f'{min(row.steps for row in rows)} of {args.steps} steps or more: results are the best until then')
    if scores is not None:
        print(', '.join(f'{key}: {value:.4f}' for key, value in scores.means().items()))


if __name__ == '__main__':
    main()
