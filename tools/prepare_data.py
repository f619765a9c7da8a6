"""Make a data set ready for the configs: cut, resized and shrunk pictures, and the lists that MMagic reads.

    mim run glean_plus prepare_data lsun-cat ~/lsun data/cat_train --names meta_info_LSUNcat_GT.txt
    python tools/prepare_data.py ffhq ~/ffhq data/ffhq --scales 16
    python tools/prepare_data.py folder ~/photos data/mine --size 512 --scales 8 16
    python tools/prepare_data.py imagenet-val ~/imagenet --check
    python tools/prepare_data.py crops ~/photos data/photos --size 128 --per-image 150

SOURCE is the folder into which the publisher's files were unpacked, or the folder of pictures in it. OUT gets

    GT/NAME.png (`images/` for FFHQ; OUT itself for LFW and CelebA)   BIx16_down/NAME.png, one folder a scale
    meta_info_*.txt    a picture a line, MMagic's form: NAME.png (H,W,3)
    labels_*.txt       ImageNet: NAME.png CLASS, the wnid's place among the sorted wnids
    problems.csv       each file that was left out, and why: unreadable, truncated, tiny, gray, missing, link, name
    prepared.json      the settings; a run with others is refused, but for more scales, and --keep-gray

Stopped and started again, it goes on where it was. With more problems than --allow-problems, the lists are not written
and the exit code is 1: look at problems.csv, then mend the files, or run again with --allow-problems, which is quick.

`crops` cuts squares at several scales out of large photographs, for training on any content. A photograph is on one
side of the split, whole: OUT gets `train/` and `test/`, each as above, and crops.csv with the place of each crop, its
source and its licence. Flat squares (mean difference of neighbouring pixels below 1.5 of 255) are replaced by others;
a photograph that is there twice, also at another size, is taken once. A `sources.csv` in SOURCE (columns file, split,
source, licence) says which photographs are held out; else --test-share of them is. Gray photographs are left out.

Data sets, with a picture's place below SOURCE, side in pixels, scales, how many are taken, and the configs' OUT:

"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glean_plus.prepare import Report

SHOWN = 20
CROPS_ONLY = ('per_image', 'test_share', 'test_size', 'seed')
SETS_ONLY = ('names', 'limit', 'min_size', 'keep_gray', 'subset')


def parser() -> argparse.ArgumentParser:
    from glean_plus.prepare.fit import FITS
    from glean_plus.prepare.sets import SETS, table
    from glean_plus.utils.terminal import Parser

    fits = '; '.join(f'{name}: {what}' for name, what in FITS.items())
    parser = Parser(
        description=__doc__ + table(), formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument('set', choices=[*SETS, 'crops'], metavar='SET', help='data set, see above')
    parser.add_argument('source', type=Path, metavar='SOURCE', help='folder of the data set as it was unpacked')
    parser.add_argument('out', type=Path, nargs='?', metavar='OUT', help='folder to write to; not with --check')
    parser.add_argument('--size', type=int, help="side of the pictures (default: the set's)")
    parser.add_argument('--scales', type=int, nargs='*', help="down-sampling factors (default: the set's)")
    parser.add_argument('--fit', choices=list(FITS), default='crop',
                        help=f'how a picture becomes a square. {fits} (default: crop)')
    parser.add_argument('--names', type=Path, metavar='FILE',
                        help="only the pictures of this list, in its order; GLEAN's own meta_info files, say")
    parser.add_argument('--limit', type=int, metavar='N',
                        help="only the first N, 0 for all (default: the set's; all with --names)")
    parser.add_argument('--min-size', type=int, metavar='N',
                        help='pictures of less are tiny (default: the size; half of it for cars and imagenet, an eighth '
                             'for lfw and celeba, 64 where pictures keep their size)')
    parser.add_argument('--keep-gray', action=argparse.BooleanOptionalAction,
                        help='take pictures without colour (default: yes, but not for imagenet and folder)')
    parser.add_argument('--subset', choices=('surname', 'name', 'all'),
                        help="lfw: people whose surname (the paper's words, the default) or name (LFW's own lfw-a.tgz) "
                             'starts with A, or all')
    parser.add_argument('--per-image', type=int, metavar='N', help='crops: of each training photograph (default: 100)')
    parser.add_argument('--test-share', type=float, metavar='X', help='crops: share that is held out (default: 0.1)')
    parser.add_argument('--test-size', type=int, metavar='N', help='crops: side of the test images (default: 256)')
    parser.add_argument('--seed', type=int, metavar='N', help='crops: of places and scales (default: 0)')
    parser.add_argument('--allow-problems', type=int, default=0, metavar='N', help='how many may be left out (default: 0)')
    parser.add_argument('--check', action='store_true', help='read every picture, report all problems, write nothing')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, metavar='N', help='processes')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0; 1 with more problems than allowed; 2 if the set cannot be prepared; 130 when interrupted."""
    from glean_plus.prepare import DataError, Settings, SettingsError, check, prepare
    from glean_plus.utils.text import printable

    command = parser()
    args = command.parse_args(arguments)
    if args.workers < 1:
        command.error(f'--workers is {args.workers}, but must be positive')
    if args.check == (args.out is not None):
        command.error('--check writes nothing: leave OUT away' if args.check else 'OUT is missing')
    if args.set == 'crops':
        return crops(args, command)
    if given := [name for name in CROPS_ONLY if getattr(args, name) is not None]:
        command.error(f'--{given[0].replace("_", "-")} is for crops, not for {args.set}')
    try:
        settings = Settings.of(
            args.set, args.size, args.scales, args.fit, args.min_size, args.keep_gray, args.limit, args.names,
            args.subset)  # fmt: skip
    except SettingsError as error:
        command.error(str(error))
    try:
        if args.check:
            report = check(args.source, settings, args.workers)
        else:
            report = prepare(args.source, args.out, settings, args.workers, args.allow_problems)
    except (DataError, OSError) as error:
        print(f'prepare_data: {printable(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('Interrupted; the same command goes on from here.', file=sys.stderr)
        return 130
    tell(report, args, settings.keep_gray)
    kept = args.check and settings.keep_gray
    return int(sum(not (kept and problem.kind == 'gray') for problem in report.problems) > args.allow_problems)


def crops(args: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    """`prepare_data crops`: the exit code as for the other sets."""
    from glean_plus.prepare import DataError, SettingsError
    from glean_plus.prepare.crops import CROPS, SPLITS, CropSettings, prepare_crops

    if given := [name for name in SETS_ONLY if getattr(args, name) is not None]:
        command.error(f'--{given[0].replace("_", "-")} is not for crops')
    if args.check or args.fit != 'crop':
        command.error(f'--{"check" if args.check else "fit"} is not for crops')
    chosen = {name: getattr(args, name) for name in ('size', *CROPS_ONLY) if getattr(args, name) is not None}
    if args.scales is not None:
        chosen['scales'] = tuple(dict.fromkeys(args.scales))
    try:
        settings = CropSettings(**chosen)
    except SettingsError as error:
        command.error(str(error))
    try:
        report = prepare_crops(args.source, args.out, settings, args.workers)
    except (DataError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('Interrupted; the same command resumes.', file=sys.stderr)
        return 130
    for note in report.notes:
        print(note)
    for side in SPLITS:
        print(f'{side}: {report.crops[side]} crops of {report.photos[side]} photographs in {args.out / side}')
    for problem in report.problems[:SHOWN]:
        print(f'  {problem.source}: {problem.kind}: {problem.detail}')
    if report.problems:
        print(f'{len(report.problems)} problems: all in {args.out / "problems.csv"}')
    print(f'Sources and licences: {args.out / CROPS}')
    return int(len(report.problems) > args.allow_problems)


def tell(report: Report, args: argparse.Namespace, keep_gray: bool) -> None:
    """Print what was done, and what can be done about files that were left out."""
    from glean_plus.utils.text import printable

    for note in report.notes:
        print(printable(note))
    if args.check:
        print(f'{report.pictures} pictures read')
    else:
        print(f'{report.pictures} pictures in {args.out}, {report.new} of them new')
    for problem in report.problems if args.check else report.problems[:SHOWN]:
        print(printable(f'  {problem.source}: {problem.kind}: {problem.detail}'))
    counts = Counter(problem.kind for problem in report.problems)
    if report.problems:
        total = ', '.join(f'{count} {kind}' for kind, count in counts.items())
        print(f'{total}' + ('' if args.check else f': all in {args.out / "problems.csv"}'))
    if report.lists:
        print(f'Lists: {", ".join(report.lists)}')
    if counts['gray']:
        print('Gray images are taken, and only named here.' if keep_gray else
              'To take the gray images, give the same command with --keep-gray.')  # fmt: skip
    if not report.lists and not args.check:
        print(f'No lists written: mend these files, or leave them out with --allow-problems {len(report.problems)}')


if __name__ == '__main__':
    from glean_plus.utils.terminal import lasting_streams

    with lasting_streams():  # names of files may be broken UTF-8
        code = main()
    sys.exit(code)
