"""Find out what the signs of failure that `glean-plus restore --report` gives are on images of a model's kind.

    glean-plus calibrate work_dirs/x/iter_1000.pth data/mine/BIx4_down --names data/mine/meta_info_test.txt
    glean-plus calibrate glean_twemoji_multiclass_4x data/twemoji/BIx4_down \\
        --names data/twemoji/meta_info_Twemoji_all_test.txt

FOLDER has inputs of the kind that the model was trained for, but that it has not seen. They are held against parts of
photographs, noise, the same upside down, and folders of yours (--others). Each sign gets a bound, which 95 of 100 of
them keep, and the table says how well it tells the others apart: the area under the curve (0.5: not at all, 1: always),
and how many are found unlike by any sign. The bounds go to `bounds/` beside the checkpoint, where the report takes
them from; those that are there, as those of shipped models, are replaced with --overwrite alone. They hold for images of
about the size of those in FOLDER.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import add_device, add_model
from glean_plus.utils.choices import DRAWS
from glean_plus.utils.terminal import complain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='inputs of its kind, 40 or more')
    parser.add_argument('--names', type=Path, metavar='FILE', help='only the images of this list (meta_info_*.txt)')
    parser.add_argument('--others', nargs='*', default=[], type=Path, metavar='FOLDER', help='more of other kinds')
    parser.add_argument('--count', type=int, default=120, metavar='N', help='of each other kind (default: %(default)s)')
    parser.add_argument('--draws', type=int, default=DRAWS, metavar='N', help='of the noise (default: %(default)s)')
    parser.add_argument('--overwrite', action='store_true', help='replace the bounds that the model has')
    add_device(parser)


def run(args: argparse.Namespace) -> None:
    if args.count < 1:
        raise UsageError(f'--count is 1 or more, not {args.count}')
    from glean_plus.analysis.calibration import calibrate, images_of, others, table, write_bounds
    from glean_plus.inference.restorer import Restorer
    from glean_plus.inference.thresholds import bounds_path

    restorer = Restorer(args.model, args.checkpoint, device=args.device, speed='exact')
    known = images_of(args.folder, args.names)
    sets = others(known, restorer.network.in_size, args.count)
    sets |= {folder.name: images_of(folder) for folder in args.others}
    own = bounds_path(restorer.source.checkpoint)
    keep = own.is_file() and not args.overwrite
    if keep:
        complain(f'The bounds of this model stay as they are, in {own}: --overwrite replaces them.')
    content = calibrate(restorer, known, sets, args.draws)
    print(table(content))
    if not keep:
        write_bounds(content, restorer.source.checkpoint)
