"""Images below a folder."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
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


def files_below(root: Path) -> list[Path]:
    """The files below ``root``, sorted folder by folder; links to folders are not followed.

    Hidden files and folders are passed over: they are the litter of file managers.

    Raises:
        OSError: If a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for parent, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith('.')]
        found += [Path(parent, name) for name in names if not name.startswith('.')]
    return sorted(found)


class Images:
    """The images below a folder, and problems and notes about its other files.

    Args:
        root: The folder.
        pattern: Paths relative to it, with `/`, match this in full.
        endings: Of images.
        base: What names in problems are relative to (default: ``root``).
        without: A folder below ``root`` that is not looked into; links into it are passed over.

    Attributes:
        problems: Of the files and folders that have been looked at, until a caller clears it.
    """

    def __init__(
        self, root: Path, pattern: str = r'.*', endings: Sequence[str] = ENDINGS, base: Path | None = None,
        without: Path | None = None,
    ) -> None:  # fmt: skip
        self.root, self.endings, self.base = root, endings, base or root
        self.problems: list[Problem] = []
        self._expression = re.compile(pattern, re.DOTALL)  # a name may have a line break
        self._real_root, self._without = root.resolve(), None if without is None else without.resolve()
        self._remarks: list[str] = []
        self._ignored, self._hidden = Counter[str](), 0

    def _path(self, entry: os.DirEntry[str], folder: str) -> str | None:
        """The path of an entry of a folder, relative to ``root``, if it is an image."""
        path = f'{folder}/{entry.name}' if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            self._remarks.append(f'{path} is a folder that is named like an image')
            return None
        if entry.is_symlink():
            if os.path.isdir(entry.path):
                self._refuse(entry, 'link', 'a link to a folder is not followed')
                return None
            around = Path(os.path.realpath(entry.path)).parents
            if self._real_root not in around:
                self._refuse(entry, 'link', f'leads out of {self.root}')
                return None
            if self._without in around:
                return None
        ending = os.path.splitext(entry.name)[1].lower()
        if ending not in self.endings:
            self._ignored[ending or 'no ending'] += 1
        elif self._expression.fullmatch(path):
            if is_file(entry):
                return path
            self._refuse(
                entry, 'unreadable', 'a link that leads nowhere' if entry.is_symlink() else 'no regular file'
            )
        return None

    def by_folder(self) -> Iterator[list[str]]:
        """The images of one folder at a time, sorted; folders whose names differ in capitals alone are one.

        A folder that cannot be listed becomes a problem. Hidden files and folders are passed over.
        """
        waiting = [['']]
        while waiting:
            paths, below, met = list[str](), defaultdict[str, list[str]](list), len(self.problems)
            for folder in waiting.pop():
                for entry in self._entries(folder):
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name.lower().endswith(ENDINGS):
                            self._path(entry, folder)
                        name = f'{folder}/{entry.name}' if folder else entry.name
                        if self._real_root / name != self._without:
                            below[entry.name.lower()].append(name)
                    elif (path := self._path(entry, folder)) is not None:
                        paths.append(path)
            self.problems[met:] = sorted(self.problems[met:])
            waiting += [sorted(below[name]) for name in sorted(below, reverse=True)]
            paths.sort()
            yield paths

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """Those that are not hidden, one by one: all of them at once would take hundreds of bytes each."""
        try:
            with os.scandir(self.root / folder) as found:
                for entry in found:
                    if not entry.name.startswith('.'):
                        yield entry
                    elif entry.name.lower().endswith((*self.endings,)):
                        self._hidden += 1
        except OSError as error:
            place = shown(self.root / folder, self.base)
            self.problems.append(Problem(place, 'unreadable', error.strerror or str(error)))

    def notes(self, others: bool = True) -> list[str]:
        """Notes on files that are passed over; with ``others``, also how many for their ending, and as hidden."""
        notes = [*self._remarks]
        if self._hidden and others:
            notes.append(f'Hidden files passed over: {self._hidden}')
        if self._ignored and others:
            counts = ', '.join(f'{count} {ending}' for ending, count in sorted(self._ignored.items()))
            notes.append(f'Files passed over for their ending: {counts}')
        return notes

    def _refuse(self, entry: os.DirEntry[str], kind: str, why: str) -> None:
        self.problems.append(Problem(shown(entry.path, self.base), kind, why))


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
    images = Images(root, pattern, endings, base)
    paths = sorted(chain.from_iterable(images.by_folder()), key=lambda path: path.split('/'))
    return paths, Listing(problems=sorted(images.problems), notes=images.notes(note_others))


def shown(path: str | Path, base: Path) -> str:
    """``path`` as it is reported: relative to the source folder, with `/`."""
    return Path(path).relative_to(base).as_posix()
