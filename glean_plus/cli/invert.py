"""Restore images by GAN inversion, without training: the baseline that GLEAN is compared with (PULSE).

    glean-plus invert configs/glean_twemoji_4x.py data/twemoji/BIx4_down work_dirs/inverted \\
        --ann-file data/twemoji/meta_info_Twemoji_people_test.txt --gt data/twemoji/GT
    glean-plus invert configs/glean_face_16x.py face.png work_dirs/inverted --time-limit 60 --device cuda

The codes of the config's bank, the full generator, are optimised until its image, brought to the input's size by MATLAB's
bicubic (of a colorization config: its lightness), is the input. OUT/NAME.png is each result, OUT/report.csv how it went.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.analysis.inversion.settings import Settings
from glean_plus.cli.options import add_bgr, add_device, add_overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    parser.add_argument('config', help='config of a restorer, path or name, for super-resolution or colorization')
    parser.add_argument('input', type=Path, help="image, or folder of images, of the config's input size")
    parser.add_argument('out', type=Path, help='folder of the results')
    parser.add_argument('--space', choices=['w+', 'w', 'z'],
                        help='where to search: a code for each layer, one code, or the noise '
                             '(default: w+ of a StyleGAN; a BigGAN has z only)')
    parser.add_argument('--label', type=int, metavar='CLASS',
                        help='class of the images, for a bank with classes (default: searched too)')
    parser.add_argument('--steps', type=int, default=default.steps, help='(default: %(default)s)')
    parser.add_argument('--lr', type=float, default=default.lr, help="Adam's learning rate (default: %(default)s)")
    parser.add_argument('--prior', type=float, help="weight of the prior, 0 for none (default: the space's own)")
    parser.add_argument('--restarts', type=int, default=default.restarts,
                        help='random starts, of which the best is taken (default: %(default)s)')
    parser.add_argument('--time-limit', type=float, metavar='SECONDS',
                        help='for each image; then the best so far is taken (default: none)')
    parser.add_argument('--batch', type=int, default=1, help='images searched together (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=default.seed, help='of starts and noise maps (default: %(default)s)')
    add_device(parser, 'cpu')
    add_bgr(parser)
    parser.add_argument('--ann-file', type=Path, help='list of the images to take from the folder')
    parser.add_argument('--gt', type=Path, metavar='FOLDER',
                        help="ground truths, of the same names: the config's metrics are printed")
    parser.add_argument('--overwrite', action='store_true', help='replace results that are there already')
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    from glean_plus.analysis.inversion import InversionError, Inverter, invert_folder
    from glean_plus.analysis.inversion.folder import summary
    from glean_plus.analysis.inversion.scores import Scores
    from glean_plus.weights.resources import apply_overrides, read_config

    config = read_config(args.config)
    apply_overrides(config, args.cfg_options)
    if 'generator' not in (config.get('model') or {}):
        raise InversionError(f'{args.config} is no restorer: its model has no generator. Give the config of one.')
    settings = Settings(args.steps, args.lr, args.restarts, args.prior, args.time_limit, args.seed)
    inverter = Inverter(config.model.generator.to_dict(), settings, args.space, args.label, args.bgr, args.device)
    scores = Scores(config) if args.gt else None
    rows = invert_folder(inverter, args.input, args.out, args.batch, args.ann_file, args.gt, scores, args.overwrite)
    print(f'{args.out}: {summary(rows, inverter, scores)}')
