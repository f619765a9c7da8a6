"""Images below a folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glean_plus.prepare.items import DataError, Listing, Problem
from glean_plus.utils.files import is_file

ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')


def folder_of(source: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of ``candidates`` that is a folder below ``source``.

    Raises:
        DataError: Where there is none, naming all.
    """
    for name in candidates:
        if (source / name).is_dir():
            return source / name
    raise DataError(f'{what}: {source} has none of the folders {", ".join(candidates)}.')


@dataclass
class Skipped:
    """What :func:`walk` did not go into, or did not yield.

    Attributes:
        unreadable: Folders that cannot be listed, and why.
        hidden: Paths of hidden files and folders.
    """

    unreadable: list[tuple[str, str]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def walk(root: Path, folder: str = '', skipped: Skipped | None = None) -> Iterator[os.DirEntry]:
    """Entries that are no folders, of all folders below ``root``, sorted; links to folders are not followed.

    A folder that is named like an image comes before what is in it. Hidden files and folders are passed over: they are
    the litter of file managers, not images.

    Raises:
        OSError: If a folder cannot be listed, without ``skipped`` to note it.
    """
    try:
        with os.scandir(root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        if skipped is None:
            raise
        skipped.unreadable.append((str(root / folder), error.strerror or str(error)))
        return
    for entry in entries:
        if entry.name.startswith('.'):
            if skipped is not None:
                skipped.hidden.append(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            if entry.name.lower().endswith(ENDINGS):
                yield entry
            yield from walk(root, os.path.join(folder, entry.name), skipped)
        else:
            yield entry


def images_below(
    root: Path,
    pattern: str = r'.*',
    endings: Sequence[str] = ENDINGS,
    base: Path | None = None,
    note_others: bool = False,
) -> tuple[list[str], Listing]:
    """Files below ``root`` whose path, with `/`, matches ``pattern`` in full and ends like an image.

    Returns:
        The paths, relative to ``root``, and a listing with the problems: links to folders, and links to files outside
        ``root``, are not followed but named, relative to ``base`` (default: ``root``), and so are folders that cannot
        be listed. With ``note_others`` it notes how many files have been passed over for their ending, and as hidden.
    """
    expression = re.compile(pattern, re.DOTALL)  # a name may have a line break
    base, real_root = base or root, root.resolve()
    paths, listing, ignored, skipped = [], Listing(), Counter[str](), Skipped()
    for entry in walk(root, skipped=skipped):
        path = Path(entry.path).relative_to(root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            listing.notes.append(f'{path} is a folder that is named like an image')
            continue
        if entry.is_symlink():
            if os.path.isdir(entry.path):
                listing.problems.append(Problem(shown(entry.path, base), 'link', 'a link to a folder is not followed'))
                continue
            if real_root not in Path(os.path.realpath(entry.path)).parents:
                listing.problems.append(Problem(shown(entry.path, base), 'link', f'leads out of {root}'))
                continue
        ending = os.path.splitext(path)[1].lower()
        if ending not in endings:
            ignored[ending or 'no ending'] += 1
        elif expression.fullmatch(path) and not is_file(entry):
            what = 'a link that leads nowhere' if entry.is_symlink() else 'no regular file'
            listing.problems.append(Problem(shown(entry.path, base), 'unreadable', what))
        elif expression.fullmatch(path):
            paths.append(path)
    listing.problems += [Problem(shown(path, base), 'unreadable', why) for path, why in skipped.unreadable]
    hidden = sum(path.lower().endswith((*endings,)) for path in skipped.hidden)
    if hidden and note_others:
        listing.notes.append(f'Hidden files passed over: {hidden}')
    if ignored and note_others:
        counts = ', '.join(f'{count} {ending}' for ending, count in sorted(ignored.items()))
        listing.notes.append(f'Files passed over for their ending: {counts}')
    return paths, listing


def shown(path: str | Path, base: Path) -> str:
    """``path`` as it is reported: relative to the source folder, with `/`."""
    return Path(path).relative_to(base).as_posix()
