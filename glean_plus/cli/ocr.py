"""How well restored text can be read: pages restored by our restorers and by others, read by Tesseract.

    glean-plus ocr data/text/pages --models lightglean_text_4x
    glean-plus ocr data/text/pages --limit 10 --degrade clean jpeg50 scan screenshot --entries bicubic \\
        --models ours=work_dirs/a/iter_9000.pth --out ocr.md --json ocr.json --images 0 100 --out-images ocr.png

PAGES is the folder of pages that `glean-plus text` makes. They are shrunk by MATLAB's bicubic, degraded (--degrade),
restored by each entry (those of `glean-plus peers`), and read. Pages in fonts that Tesseract cannot read even at full
resolution are left out (--misread). Rates of wrong characters and words, and of words that were read as other words,
stand by script, font size and degradation. The command `tesseract` has to be installed, with the languages of the
pages: on Debian, tesseract-ocr, tesseract-ocr-eng, tesseract-ocr-ell and tesseract-ocr-rus.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.cli.peers import add_comparison, check_comparison, check_indices, positive, write_comparison


def share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'it must be 0 to 1, but is {number:g}')
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('pages', type=Path, metavar='PAGES', help='folder with pages.json')
    parser.add_argument('--limit', type=positive, metavar='N', help='only the first N pages of each script and size')
    parser.add_argument('--misread', type=share, default=0.01, metavar='RATE',
                        help='leave out pages of whose ground truth Tesseract misreads more than this share of the '
                             'characters; 1 keeps all (default: %(default)s)')
    parser.add_argument('--scripts', nargs='+', metavar='NAME', help='only pages of these (default: all)')
    parser.add_argument('--sizes', type=positive, nargs='+', metavar='N', help='only of these font sizes (default: all)')
    add_comparison(parser, 'page')
    parser.add_argument('--tesseract', default='tesseract', metavar='COMMAND', help='(default: %(default)s)')


def run(args: argparse.Namespace) -> None:
    check_comparison(args)
    from glean_plus.analysis.ocr import report, tesseract
    from glean_plus.analysis.ocr.benchmark import Setting, legible, read_all
    from glean_plus.analysis.ocr.pages import choose_pages, read_pages, read_words
    from glean_plus.analysis.peers.entries import choose
    from glean_plus.analysis.peers.install import default_folder
    from glean_plus.analysis.peers.output import check_outputs, log_on_stderr

    command = tesseract.find(args.tesseract)
    check_outputs(args.out, args.json, args.out_images)
    pages = choose_pages(read_pages(args.pages), args.scripts, args.sizes, args.limit if args.misread == 1 else None)
    left_out = 0
    if args.misread < 1:
        pages, left_out = legible(args.pages, pages, command, args.misread, args.limit, args.threads)
    check_indices(args.images, len(pages), 'page')
    entries = choose(args.entries, args.models, args.speed, args.scale)
    words = read_words(args.pages, sorted({page.language for page in pages}))
    degradations = [*dict.fromkeys(args.degrade)]
    setting = Setting(
        args.pages, pages, words, degradations, args.scale, args.seed, args.threads, args.misread, left_out
    )
    with log_on_stderr():
        reading = read_all(setting, entries, args.peers or default_folder(), command, args.images)
    write_comparison(args, reading, report)
