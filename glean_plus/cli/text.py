"""Make a data set of text: crops to train on, and held-out pages with their ground truth.

    glean-plus text data/text --fonts fonts --texts texts --photos photos

Below the folders of --fonts stand .ttf and .otf files, below those of --texts documents in UTF-8: plain text, HTML,
manual pages and fortunes, also with .gz. Debian's packages have both: `apt-get download fonts-open-sans`, then
`dpkg-deb -x fonts-open-sans_*.deb fonts/fonts-open-sans`, each package in its own folder, so that its licence is found.
OUT gets

    train/, test/      GT/NAME.png, BIx4_down/NAME.png and meta_info_GT.txt, as `prepare crops` makes them
    pages/             the same, and pages.json: font size, script, family and the lines of each page;
                       words_LANGUAGE.txt: words of all documents in that language
    crops.csv          what each crop shows
    fonts.csv          each family: its design, side, scripts and licences
    documents.csv      each document: its side, script and licences
    problems.csv       fonts and texts that are not used, and why
    prepared.json      the settings and what renders the text; a run with others is refused

Designs of fonts and documents are on one side of the split, whole: families with the same letters under several names
are one design, and a paragraph of several documents belongs to the first. test/ and pages/ show held-out designs and
documents alone. Scripts are Latin, Greek and Cyrillic; a font draws those whose letters it has, and no character that
it lacks. Stopped and started again, it resumes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from glean_plus.cli.commands import UsageError

OPTIONS = ('size', 'crops', 'scales', 'test_crops', 'test_size', 'pages', 'page_sizes', 'page_extent', 'test_share', 'seed')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('out', type=Path, metavar='OUT', help='folder to write to')
    parser.add_argument('--fonts', type=Path, nargs='+', required=True, metavar='FOLDER', help='folders of fonts')
    parser.add_argument('--texts', type=Path, nargs='+', required=True, metavar='FOLDER', help='folders of documents')
    parser.add_argument('--photos', type=Path, metavar='FOLDER', help='photographs to set behind some of the text')
    parser.add_argument('--crops', type=int, metavar='N', help='training crops (default: 16000)')
    parser.add_argument('--size', type=int, metavar='N', help='side of the training crops (default: 128)')
    parser.add_argument('--scales', type=int, nargs='*', metavar='N', help='down-sampling factors (default: 4)')
    parser.add_argument('--test-crops', type=int, metavar='N', help='images to validate on (default: 60)')
    parser.add_argument('--test-size', type=int, metavar='N', help='their side (default: 256)')
    parser.add_argument('--pages', type=int, metavar='N', help='pages of each script and font size (default: 40)')
    parser.add_argument('--page-sizes', type=int, nargs='+', metavar='N',
                        help='font sizes of the pages, pixels per em (default: 20 24 28 32)')
    parser.add_argument('--page-extent', type=int, nargs=2, metavar=('W', 'H'),
                        help='width and height of the pages (default: 512 256)')
    parser.add_argument('--test-share', type=float, metavar='X', help='share that is held out (default: 0.2)')
    parser.add_argument('--seed', type=int, metavar='N', help='of all choices (default: 0)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, metavar='N', help='processes')


def run(args: argparse.Namespace) -> int:
    """Exit code: 0; 130 when interrupted."""
    if args.workers < 1:
        raise UsageError(f'--workers is {args.workers}, but must be positive')
    from glean_plus.prepare.items import DataError
    from glean_plus.prepare.settings import SettingsError
    from glean_plus.prepare.text.run import TextSettings, prepare_text, tell

    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    options = {name: tuple(dict.fromkeys(value)) if name in ('scales', 'page_sizes') else value
               for name, value in options.items()}  # fmt: skip
    if args.page_extent:
        options['page_extent'] = tuple(args.page_extent)
    try:
        report = prepare_text(args.out, args.fonts, args.texts, TextSettings(**options), args.photos, args.workers)
    except SettingsError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise DataError(str(error)) from error
    except KeyboardInterrupt:
        print('Interrupted; the same command resumes from here.', file=sys.stderr)
        return 130
    tell(report, args.out)
    return 0
