"""Make a data set ready for the configs: cut, resized and shrunk images, and the lists that MMagic reads.

    glean-plus prepare lsun-cat ~/lsun data/cat_train --names meta_info_LSUNcat_GT.txt
    glean-plus prepare ffhq ~/ffhq data/ffhq --scales 16
    glean-plus prepare folder ~/photos data/mine --size 512 --scales 8 16
    glean-plus prepare imagenet-val ~/imagenet --check
    glean-plus prepare crops ~/photos data/photos --size 128 --per-image 150

SOURCE is the folder into which the publisher's files were unpacked, or the folder of images in it. OUT gets

    GT/NAME.png (`images/` for FFHQ; OUT itself for LFW and CelebA)   BIx16_down/NAME.png, one folder a scale
    meta_info_*.txt    an image a line, MMagic's form: NAME.png (H,W,3)
    labels_*.txt       ImageNet: NAME.png CLASS, the wnid's place among the sorted wnids
    problems.csv       each file that was left out, and why: unreadable, truncated, tiny, gray, missing, link, name
    prepared.json      the settings; a run with others is refused, but for more scales, and --keep-gray

Stopped and started again, it resumes where it was. With more problems than --allow-problems, the lists are not written
and the exit code is 1: look at problems.csv, then fix the files, or run again with --allow-problems, which is quick.

`crops` cuts squares at several scales out of large photographs, for training on any content. A photograph is on one
side of the split, whole: OUT gets `train/` and `test/`, each as above, and crops.csv with the place of each crop, its
source and its licence. Flat squares (mean difference of neighbouring pixels below 1.5 of 255) are replaced by others;
a photograph that is there twice, also at another size, is taken once. A `sources.csv` in SOURCE (columns file, split,
source, licence) says which photographs are held out; else --test-share of them is. Gray photographs are left out.

Data sets, with an image's place below SOURCE, side in pixels, scales, how many are taken, and the configs' OUT:

"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import preparing
from glean_plus.prepare.fit import FITS
from glean_plus.prepare.sets import SETS, table

__doc__ += table()

CROPS_ONLY = ('per_image', 'test_share', 'test_size', 'seed')
SETS_ONLY = ('names', 'limit', 'min_size', 'keep_gray', 'subset')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    fits = '; '.join(f'{name}: {what}' for name, what in FITS.items())
    parser.add_argument('set', choices=[*SETS, 'crops'], metavar='SET', help='data set, see above')
    parser.add_argument('source', type=Path, metavar='SOURCE', help='folder of the data set as it was unpacked')
    parser.add_argument('out', type=Path, nargs='?', metavar='OUT', help='folder to write to; not with --check')
    parser.add_argument('--size', type=int, help="side of the images (default: the set's)")
    parser.add_argument('--scales', type=int, nargs='*', help="down-sampling factors (default: the set's)")
    parser.add_argument('--fit', choices=list(FITS), default='crop',
                        help=f'how an image becomes a square. {fits} (default: crop)')
    parser.add_argument('--names', type=Path, metavar='FILE',
                        help="only the images of this list, in its order; GLEAN's own meta_info files, say")
    parser.add_argument('--limit', type=int, metavar='N',
                        help="only the first N, 0 for all (default: the set's; all with --names)")
    parser.add_argument('--min-size', type=int, metavar='N',
                        help='images of less are tiny (default: the size; half of it for cars and imagenet, an eighth '
                             'for lfw and celeba, 64 where images keep their size)')
    parser.add_argument('--keep-gray', action=argparse.BooleanOptionalAction,
                        help='take images without color (default: yes, but not for imagenet and folder)')
    parser.add_argument('--subset', choices=('surname', 'name', 'all'),
                        help="lfw: people whose surname (the paper's words, the default) or name (LFW's own lfw-a.tgz) "
                             'starts with A, or all')
    parser.add_argument('--per-image', type=int, metavar='N', help='crops: of each training photograph (default: 100)')
    parser.add_argument('--test-share', type=float, metavar='X', help='crops: share that is held out (default: 0.1)')
    parser.add_argument('--test-size', type=int, metavar='N', help='crops: side of the test images (default: 256)')
    parser.add_argument('--seed', type=int, metavar='N', help='crops: of places and scales (default: 0)')
    parser.add_argument('--allow-problems', type=int, default=0, metavar='N', help='how many may be left out (default: 0)')
    parser.add_argument('--check', action='store_true', help='read every image, report all problems, write nothing')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, metavar='N', help='processes')


def run(args: argparse.Namespace) -> int:
    """Exit code: 0; 1 with more problems than allowed."""
    if args.workers < 1:
        raise UsageError(f'--workers is {args.workers}, but must be positive')
    if args.check == (args.out is not None):
        raise UsageError('--check writes nothing: leave OUT away' if args.check else 'OUT is missing')
    others = SETS_ONLY if args.set == 'crops' else CROPS_ONLY
    if given := [name for name in others if getattr(args, name) is not None]:
        which = 'not for crops' if args.set == 'crops' else f'for crops, not for {args.set}'
        raise UsageError(f'--{given[0].replace("_", "-")} is {which}')
    if args.set == 'crops' and (args.check or args.fit != 'crop'):
        raise UsageError(f'--{"check" if args.check else "fit"} is not for crops')
    with preparing():
        problems = (_crops if args.set == 'crops' else _set)(args)
    return int(problems > args.allow_problems)


def _set(args: argparse.Namespace) -> int:
    """Prepare or check a data set; how many problems count."""
    from glean_plus.prepare import Settings, check, prepare
    from glean_plus.prepare.summary import tell

    settings = Settings.of(
        args.set, args.size, args.scales, args.fit, args.min_size, args.keep_gray, args.limit, args.names, args.subset
    )
    if args.check:
        report = check(args.source, settings, args.workers)
    else:
        report = prepare(args.source, args.out, settings, args.workers, args.allow_problems)
    tell(report, args.out, settings.keep_gray)
    kept = args.check and settings.keep_gray
    return sum(not (kept and problem.kind == 'gray') for problem in report.problems)


def _crops(args: argparse.Namespace) -> int:
    """Cut crops out of photographs; how many problems there are."""
    from glean_plus.prepare.crops import CropSettings, prepare_crops
    from glean_plus.prepare.summary import tell_crops

    options = {name: getattr(args, name) for name in ('size', *CROPS_ONLY) if getattr(args, name) is not None}
    if args.scales is not None:
        options['scales'] = tuple(dict.fromkeys(args.scales))
    report = prepare_crops(args.source, args.out, CropSettings(**options), args.workers)
    tell_crops(report, args.out)
    return len(report.problems)
