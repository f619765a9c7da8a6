"""Find out what the signs of failure that `glean-plus restore --report` gives are on pictures of a model's kind.

    glean-plus calibrate work_dirs/x/iter_1000.pth data/mine/BIx4_down --names data/mine/meta_info_test.txt
    glean-plus calibrate glean_twemoji_multiclass_4x data/twemoji/BIx4_down \\
        --names data/twemoji/meta_info_Twemoji_all_test.txt

FOLDER has inputs of the kind that the model was trained for, but that it has not seen. They are held against parts of
photographs, noise, the same upside down, and folders of yours (--others). Each sign gets a bound, which 95 of 100 of
them keep, and the table says how well it tells the others apart: the area under the curve (0.5: not at all, 1: always),
and how many are found unlike by any sign. The bounds go to `bounds/` beside the checkpoint, where the report takes
them from. They hold for pictures of about the size of those in FOLDER.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from glean_plus.analysis.calibration import calibrate, others, pictures_of, table, write_bounds
from glean_plus.inference import RestoreError, Restorer
from glean_plus.inference.ood import DRAWS
from glean_plus.utils.terminal import Parser
from glean_plus.weights import WeightsError


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='name, checkpoint, or, with --checkpoint, config')
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='inputs of its kind, 40 or more')
    parser.add_argument('--checkpoint', help='weights of a config')
    parser.add_argument('--names', type=Path, metavar='FILE', help='only the pictures of this list (meta_info_*.txt)')
    parser.add_argument('--others', nargs='*', default=[], type=Path, metavar='FOLDER', help='more of other kinds')
    parser.add_argument('--count', type=int, default=120, metavar='N', help='of each other kind (default: %(default)s)')
    parser.add_argument('--draws', type=int, default=DRAWS, metavar='N', help='of the noise (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N, mps or auto (default: %(default)s)')
    args = parser.parse_args()
    try:
        if args.count < 1:
            raise RestoreError(f'--count is 1 or more, not {args.count}.')
        restorer = Restorer(args.model, args.checkpoint, device=args.device, speed='exact')
        known = pictures_of(args.folder, args.names)
        sets = others(known, restorer.network.in_size, args.count)
        sets |= {folder.name: pictures_of(folder) for folder in args.others}
        content = calibrate(restorer, known, sets, args.draws)
        print(table(content))
        write_bounds(content, restorer.source.checkpoint)
    except (RestoreError, WeightsError) as error:
        sys.exit(f'{error}')


if __name__ == '__main__':
    main()
