"""Folders of object stores, such as ``s3://bucket/photos``: what is in them, and what is left to do of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glean_plus.inference import manifest
from glean_plus.inference.base import Described
from glean_plus.inference.batches import Row, Work
from glean_plus.inference.begin import options_of
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.folder import Record
from glean_plus.inference.jobs import MORE_ENDINGS, KeptEndings
from glean_plus.inference.write import FORMATS, check_ending

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

MANIFEST = 'glean-plus.run.json'


def is_address(place: object) -> bool:
    """Whether a place is in an object store, not a path."""
    return '://' in str(place)


@dataclass(frozen=True)
class Store:
    """A folder of an object store.

    Attributes:
        files: The store.
        path: ``bucket/photos``.
        scheme: ``s3``.
    """

    files: FileSystem
    path: str
    scheme: str

    @classmethod
    def at(cls, address: str) -> Store:
        """What pyarrow opens at an address; region, endpoint and such are parameters after a ``?``.

        Raises:
            RestoreError: If there is no such kind of store, or it cannot be reached.
        """
        from pyarrow.fs import FileSystem

        try:
            files, path = FileSystem.from_uri(address)
        except (OSError, ValueError) as error:
            raise RestoreError(f'{address} cannot be opened: {error}') from error
        return cls(files, path.rstrip('/'), address.partition('://')[0])

    def times(self) -> dict[str, int]:
        """When each file in it and below was written, in nanoseconds since 1970.

        Raises:
            RestoreError: If it cannot be listed.
        """
        from pyarrow.fs import FileSelector

        try:
            found = self.files.get_file_info(FileSelector(self.path, recursive=True, allow_not_found=True))
        except OSError as error:
            raise RestoreError(f'{self} cannot be listed: {error}') from error
        return {info.path[len(self.path) + 1:]: info.mtime_ns for info in found if info.is_file}

    def read(self, name: str) -> bytes:
        with self.files.open_input_stream(f'{self.path}/{name}', compression=None) as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> None:
        with self.files.open_output_stream(f'{self.path}/{name}', compression=None) as file:
            file.write(data)

    def __str__(self) -> str:
        return f'{self.scheme}://{self.path}'


@contextmanager
def begin_in_store(
    restorer: Described, source: Store, out: Store, *, ending: str, overwrite: bool, quality: int | None,
    command: Sequence[str],
) -> Iterator[Work]:  # fmt: skip
    """As :func:`glean_plus.inference.batches.begin_in_folder`, but nothing keeps another run from ``out``.

    Raises:
        RestoreError: If there are no images, two would have one result, there are results of another run or of none, or
            nothing can be written.
    """
    check_ending(ending)
    content = manifest.manifest(restorer, options_of(ending, False, None, quality), command)
    content['about']['overwrite'] = overwrite
    if str(source) == str(out):
        raise RestoreError(f'Results in {out} itself would be inputs of the next run: choose another place for them.')
    there = out.times()
    inside = f'{out}/'.removeprefix(f'{source}/')  # where results are below their inputs
    times, ignored = _images({name: time for name, time in source.times().items() if not name.startswith(inside)})
    if not times:
        raise RestoreError(f'There are no images in {source}.')
    try:
        begun = None
        if MANIFEST in there and not overwrite:
            begun = manifest.resumed(out.read(MANIFEST), f'{out}/{MANIFEST}', content)
        rows = [*_rows(source, out, ending, times, there, begun, overwrite)]
        if begun is None:
            out.write(MANIFEST, json.dumps(content, indent=2, allow_nan=False).encode() + b'\n')
    except OSError as error:
        raise RestoreError(f'{out} cannot be read or written: {error}') from error
    yield Work(rows, Listing(len(times), ignored), content, reads=source.files, writes=out.files)


@dataclass
class Listing:
    """Images that are known, as :class:`glean_plus.inference.jobs.Found` has them."""

    found: int
    notes: list[str]
    complete: bool = True


def _images(times: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Those that are images, sorted by name, and what has been passed over."""
    images, ignored = dict[str, int](), Counter[str]()
    for name in sorted(times):
        ending = os.path.splitext(name)[1].lower()
        if any(part.startswith('.') for part in name.split('/')):
            continue
        if ending in (*FORMATS, *MORE_ENDINGS):
            images[name] = times[name]
        else:
            ignored[ending or 'no ending'] += 1
    counts = ', '.join(f'{count} {ending}' for ending, count in sorted(ignored.items()))
    return images, [f'Files passed over for their ending: {counts}'] if counts else []


def _rows(
    source: Store, out: Store, ending: str, times: Mapping[str, int], there: Mapping[str, int],
    begun: Mapping[str, Any] | None, overwrite: bool,
) -> Iterator[Record | Row]:  # fmt: skip
    """What :class:`glean_plus.inference.plan.Plan` finds of a folder; here every conflict refuses the run."""
    since = None if begun is None else there[MANIFEST]
    replaces = overwrite if begun is None else bool(begun['about'].get('overwrite'))
    kept = KeptEndings([*times])
    for name, changed in times.items():
        result = kept.result(name) + ending
        place, target, age = f'{source}/{name}', f'{out}/{result}', there.get(result)
        if (other := kept.double(name)) is not None:
            raise RestoreError(f'{source}/{other} and {place} would both have the result {target}: rename one.')
        if age is not None and since is not None and age >= max(since, changed):
            yield Record(place, target, 'there')
        elif age is None or replaces or (since is not None and age >= since):
            yield dict(path=os.fsencode(place), target=os.fsencode(target))
        else:
            why = 'is there already, of no run that is known: choose another place, or overwrite.'
            raise RestoreError(f'{target} {why}')
