"""Make a data set of text: crops to train on, and held-out pages with their ground truth.

    mkdir fonts texts
    (cd fonts && apt-get download $(glean-plus text --packages fonts))
    (cd texts && apt-get download $(glean-plus text --packages texts))
    glean-plus text data/text --fonts fonts --texts texts --photos photos

Below the folders of --fonts stand .ttf and .otf files, below those of --texts documents in UTF-8: plain text, HTML,
manual pages and fortunes, also with .gz. Debian's packages have both; each .deb of these folders is unpacked beside
itself, into a folder of its own, where its licence is found. --packages lists those of tools/splits/text.csv, which are
in Debian 12, with their licences. --photos is what `glean-plus photos` makes, or any folder of photographs; those that
its sources.csv holds out are not used. OUT gets

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
it lacks; fonts whose own licence forbids commercial use are left out. Stopped and started again, it resumes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import preparing

OPTIONS = ('size', 'crops', 'scales', 'test_crops', 'test_size', 'pages', 'page_sizes', 'page_extent', 'test_share', 'seed')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('out', type=Path, nargs='?', metavar='OUT', help='folder to write to')
    parser.add_argument('--fonts', type=Path, nargs='+', metavar='FOLDER', help='folders of fonts, or of their packages')
    parser.add_argument('--texts', type=Path, nargs='+', metavar='FOLDER', help='folders of documents, or of packages')
    parser.add_argument('--packages', choices=('fonts', 'texts'), help='print the names of the packages and end')
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


def run(args: argparse.Namespace) -> None:
    if args.packages:
        from glean_plus.prepare.text.packages import packages

        print(*packages(args.packages))
        return
    if missing := [name for name in ('out', 'fonts', 'texts') if not getattr(args, name)]:
        raise UsageError(f'{"OUT" if missing[0] == "out" else f"--{missing[0]}"} is missing')
    if args.workers < 1:
        raise UsageError(f'--workers is {args.workers}, but must be positive')
    from glean_plus.prepare.text.run import TextSettings, prepare_text, tell

    options = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    options = {name: tuple(dict.fromkeys(value)) if name in ('scales', 'page_sizes') else value
               for name, value in options.items()}  # fmt: skip
    if args.page_extent:
        options['page_extent'] = tuple(args.page_extent)
    with preparing():
        report = prepare_text(args.out, args.fonts, args.texts, TextSettings(**options), args.photos, args.workers)
    tell(report, args.out)
