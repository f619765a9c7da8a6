"""Which images and videos are restored, and where to."""

from __future__ import annotations

import fnmatch
import glob
import os
import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np

from glean_plus.inference import video
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.shards import Shard
from glean_plus.inference.write import FORMATS, check_ending
from glean_plus.prepare.files import Images
from glean_plus.utils.files import check_name, read_file
from glean_plus.utils.images.animation import is_animated

# Besides what results can have, these can be read.
MORE_ENDINGS = ('.ppm', '.pgm', '.pnm', '.tga', '.jp2', '.avif')
# Where no format is asked for: of an image, and of an animation in one of these, which a PNG would make huge.
USUAL, USUAL_ANIMATION = '.png', '.webp'
ANIMATED = ('.gif', '.webp', '.avif')

FACE_LIST = 'faces.json'  # in a folder of faces, written last
BESIDE = ('compare', 'report', 'faces')  # folders of results that are asked for
# Jobs that are looked at before a run begins: a conflict among them refuses it, a later one costs its file alone.
FIRST = 1000


@dataclass(frozen=True)
class Job:
    """An image, or a video.

    Attributes:
        source: Its file.
        target: That of the result.
        compare: That of the image which shows both.
        report: That of the report on it; its heat map is beside it.
        faces: Folder of its faces.
    """

    source: Path
    target: Path
    compare: Path
    report: Path
    faces: Path

    @property
    def is_video(self) -> bool:
        return video.is_video(self.source)

    def results(self, compare: bool = True, report: bool = True, faces: bool = True) -> list[Path]:
        """The files that it writes: the result, and what is asked for; of a report the heat map comes first."""
        asked = {self.compare: compare, self.report.with_suffix('.png'): report, self.report: report,
                 self.faces / FACE_LIST: faces}  # fmt: skip
        return [self.target, *(path for path, wanted in asked.items() if wanted)]

    def done(self, results: Sequence[Path], since: int) -> bool:
        """Whether these are there, not older than the source and the beginning of the run.

        A run that replaces another's results leaves these where it was interrupted, or failed.

        Args:
            results: Of :meth:`results`; a heat map may be missing, as not every model has one.
            since: In nanoseconds, as files have it.

        Raises:
            OSError: If the source is gone.
        """
        status = self.source.stat()
        # By a date in the future, as of a clock that was wrong, a source would be newer than each of its results.
        future = status.st_mtime_ns > time.time_ns()
        since = max(since, status.st_ctime_ns if future else status.st_mtime_ns)
        heat_map = self.report.with_suffix('.png')
        return all(
            path.is_file() and path.stat().st_mtime_ns >= since for path in results if path != heat_map
        )


def single_job(source: Path, target: Path) -> Job:
    """A job whose further results are beside its own, not in folders."""
    beside = (target.with_name(f'{target.stem}.{end}') for end in ('compare.png', 'report.json', 'faces'))
    return Job(source, target, *beside)


@dataclass(frozen=True)
class Refused:
    """A file that is not restored.

    Attributes:
        source: The file.
        why: What keeps it from that.
        target: Of its result.
        conflict: Its result cannot be where it would be. A run that begins with one is refused.
    """

    source: str
    why: str
    target: str = ''
    conflict: bool = False


class Found(Protocol):
    """What is known of how many files there are, as :class:`Jobs` has it."""

    found: int
    complete: bool
    notes: list[str]


# Files of one folder, relative to the one that all are in, sorted; and files that are not taken.
Group = tuple[Sequence[str], Sequence[Refused]]


class Jobs:
    """What a call asks for: a stream, as long as there are files. Each iteration looks for them again.

    Args:
        base: The folder that all files are in.
        groups: Finds the files, folder by folder; names that differ in capitals alone are in one group.
        out: File of the single result, or folder of the results.
        ending: Of the images' results; None for ``.png``, and ``.webp`` of an animated GIF, WebP or AVIF.
        single: Whether there is one file alone, whose result is ``out``.
        shard: Which share is asked for; None for all.
        pattern: That names in ``base`` match, where results are in that folder, too.

    Attributes:
        found: How many files, in this share, have been met.
        complete: Whether ``found`` counts all.
        notes: What has been passed over, for the first share; known at the end.
    """

    def __init__(
        self,
        base: Path,
        groups: Callable[[Jobs], Iterator[Group]],
        out: Path,
        ending: str | None,
        single: bool = False,
        shard: Shard | None = None,
        pattern: str = '',
    ) -> None:
        if single and shard is not None:
            raise RestoreError('A single file is not divided into shards: give a folder, or leave the shard out.')
        self.base, self.out, self.ending, self.single, self.shard = base, out, ending or USUAL, single, shard
        self._is_usual = ending is None
        self.found, self.complete, self.notes = 0, False, list[str]()
        self._real_out = out.resolve()
        self._groups, self._pattern = groups, pattern if self._real_out == base.resolve() else ''
        self._begun: Iterator[Job | Refused] | None = None

    def __iter__(self) -> Iterator[Job | Refused]:
        begun, self._begun = self._begun, None
        return begun or self._jobs()

    def begin(self, given: str) -> Jobs:
        """Look at the first files, which the next iteration begins with.

        Raises:
            RestoreError: If there are none, or one's result cannot be where it would be.
        """
        jobs = self._jobs()
        first = list(islice(jobs, FIRST))
        check_first(first)
        if not self._any:
            raise RestoreError(f'There are no images and no videos in {given}.')
        self._begun = chain(first, jobs)
        return self

    def _jobs(self) -> Iterator[Job | Refused]:
        self.found, self.complete, self.notes, self._any = 0, False, [], False
        groups = self._groups(self)
        coming = next(groups, None)
        while coming is not None:
            (names, refused), coming = coming, next(groups, None)
            self._any = self._any or bool(names or refused)
            yield from refused
            endings = KeptEndings(names)
            ours = [name for name in names if self.has(name)] if self.shard else names
            self.found += len(ours)
            self.complete = coming is None
            place = None
            for name in ours:
                folder, file = os.path.split(name)
                if place is None or place.folder != folder:
                    place = _Place(self, folder)
                yield place.job(file, endings)

    def ending_of(self, source: Path) -> str:
        """Of the result of a file in a folder."""
        if video.is_video(source):
            return video.result_ending(source)
        if self._is_usual and source.suffix.lower() in ANIMATED and is_animated(source):
            return USUAL_ANIMATION
        return self.ending

    def has(self, name: str) -> bool:
        """Whether a file, relative to ``base``, is in the share that is asked for."""
        return self.shard is None or self.shard.has(name)

    def is_next_input(self, target: Path) -> bool:
        """Whether a result would be an input of the next run."""
        return bool(self._pattern) and fnmatch.fnmatch(target.name, self._pattern)

    def outside(self, folder: Path) -> bool:
        """Whether a link leads a folder out of that of the results."""
        real = folder.resolve()
        return self._real_out not in (real, *real.parents)


def check_first(first: Iterable[object]) -> None:
    """Raise RestoreError if one of the first files of a run is in conflict."""
    for each in first:
        if isinstance(each, Refused) and each.conflict:
            raise RestoreError(each.why)


class KeptEndings:
    """Which files of a folder have results that keep the ending in their name: without it, two would be the same.

    Args:
        names: The files, however many: of those that are alone nothing is held.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names: set[str] = set()
        self._first: dict[str, str] = {}
        stems = (_stem(name) for name in names)
        hashes = np.sort(np.fromiter((hash(stem) for stem in stems), np.int64, len(names)))
        repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if not repeated:
            return
        counts = Counter(stem for name in names if hash(stem := _stem(name)) in repeated)
        more = {name for name in names if counts[_stem(name)] > 1}
        while more:  # a.jpg keeps its ending for the sake of a.png, and so must a.jpg.png
            self.names |= more
            for name in sorted(more):
                self._first.setdefault(name.lower(), name)
            more = {name for name in names if name not in self.names and _stem(name) in self._first}

    def result(self, name: str) -> str:
        """The name of a result but for its own ending."""
        return name if name in self.names else os.path.splitext(name)[0]

    def double(self, name: str) -> str | None:
        """Another file whose result has the same name but for capitals, which many systems do not tell apart."""
        return None if (first := self._first.get(name.lower(), name)) == name or name not in self.names else first


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].lower()


class _Place:
    """Where the results of a folder of inputs are.

    Args:
        jobs: What asks for them.
        folder: Relative to that of all inputs.
    """

    def __init__(self, jobs: Jobs, folder: str) -> None:
        self.jobs, self.folder, self.source = jobs, folder, jobs.base / folder
        self.out = [jobs.out / folder, *(jobs.out / name / folder for name in BESIDE)]
        self.there = [jobs.single or path.is_dir() for path in self.out]
        self.wrong = None if jobs.single else next((path for path in self.out if jobs.outside(path)), None)

    def job(self, name: str, endings: KeptEndings) -> Job | Refused:
        jobs, source = self.jobs, self.source / name
        if jobs.single:
            return self._checked(single_job(source, jobs.out))
        whole = os.path.join(self.folder, name)
        own = os.path.basename(endings.result(whole))
        ending = jobs.ending_of(source)
        out, compare, report, faces = self.out
        job = Job(source, out / f'{own}{ending}', compare / f'{own}.png', report / f'{own}.json', faces / own)
        if (other := endings.double(whole)) is not None:
            why = f'{jobs.base / other} and {source} would both have the result {job.target}: rename one.'
            return Refused(str(source), why, str(job.target), conflict=True)
        return self._checked(job)

    def _checked(self, job: Job) -> Job | Refused:
        """Refuse a result that would replace an input, or be one of the next run, or that a link would lead away."""
        jobs, why, wrong = self.jobs, '', self.wrong
        if self.there[-1] and not jobs.single and wrong is None and jobs.outside(job.faces):
            wrong = job.faces
        results = (job.target, job.compare, job.report.with_suffix('.png')) if any(self.there) else ()
        if any(_is_same_file(path, job.source) for path, there in zip(results, self.there) if there):
            why = f'{job.source} is an input and would be overwritten: choose another place for results.'
        elif wrong is not None:
            place = job.target if wrong == self.out[0] else wrong
            why = f'The result of {job.source} would be {place}, outside of {jobs.out}: choose another place.'
        elif jobs.is_next_input(job.target):
            why = f'Results in {jobs.out} would be inputs of the next run: choose another folder for them.'
        return Refused(str(job.source), why, str(job.target), conflict=True) if why else job


def _is_same_file(path: Path, source: Path) -> bool:
    """Whether both paths lead to one file; another name of it (a hard link) does not count."""
    try:
        return os.path.samefile(path, source) and path.resolve() == source.resolve()
    except OSError:  # one of them is not there
        return False


def read_list(path: str) -> list[str]:
    """Names of files, one a line, as they are but for empty lines; ``-`` is the standard input.

    Raises:
        RestoreError: If it cannot be read, or a name cannot be one.
    """
    try:
        data = sys.stdin.buffer.read() if path == '-' else read_file(path)
    except OSError as error:
        raise RestoreError(f'The list {path} cannot be read: {error.strerror or error}.') from error
    if b'\0' in data:
        raise RestoreError(f'The list {path} is no text of names, one a line: it has zero bytes.')
    text = os.fsdecode(data.replace(b'\r\n', b'\n'))
    del data
    return [line for line in text.split('\n') if line]


def find_jobs(
    given: str | Sequence[str], out: Path, ending: str | None = None, shard: Shard | None = None
) -> Jobs:  # fmt: skip
    """The images and videos of a file, a folder and those below it, a pattern such as ``photos/*.jpg``, or a list.

    Results are in the folders of their inputs, below ``out``; of two inputs that differ in their ending alone, results
    keep it in their name. A video's result keeps its ending, or gets ``.mkv`` where that cannot be written.

    Args:
        given: File, folder or pattern; or files, of which one that is not there fails when it is its turn.
        out: File, if it has an ending and the input is a file; else a folder.
        ending: Of the images' results in a folder; None for ``.png``, and ``.webp`` of an animated GIF, WebP or AVIF.
        shard: Which share of them is asked for.

    Raises:
        RestoreError: If there is nothing, results cannot have this ending, or, among the first files, an input would
            be overwritten, two would have one result, or one would be outside of ``out`` or an input of the next run.
    """
    try:
        check_name(out)
    except OSError as error:
        raise RestoreError(f'Nothing can be written to {out}: {error.strerror}. Choose another place.') from error
    if ending is not None:
        check_ending(ending)
    if not isinstance(given, str):
        return _listed(given, out, ending, shard)
    path = Path(given).expanduser()
    if path.is_file() and out.suffix and not out.is_dir():
        if video.is_video(path):
            video.check_result(out)
        else:
            check_ending(out.suffix)
        if ending not in (None, out.suffix.lower()):
            raise RestoreError(f'The result is named {out.name}, but its format is to be {ending}: give one of them.')
        names = Names([str(path)])
        return Jobs(names.base, names.groups, out, out.suffix, single=True, shard=shard).begin(given)
    inside = _folder_of_results(out)
    if path.is_dir():
        if inside == path.resolve():
            raise RestoreError(
                f'Results in {out} itself would be inputs of the next run: choose another folder for them.'
            )
        return Jobs(path, lambda jobs: _below(path, out, jobs), out, ending, shard=shard).begin(given)
    pattern = ''
    if path.is_file():
        names = Names([str(path)])
    elif glob.has_magic(given):
        files = [name for name in _matches(os.path.expanduser(given)) if os.path.isfile(name)]
        names, pattern = Names(_without(files, inside) or files), Path(given).name
    else:
        raise RestoreError(f'There is neither a file nor a folder at {given}, nor is it a pattern.')
    return Jobs(names.base, names.groups, out, ending, shard=shard, pattern=pattern).begin(given)


def _folder_of_results(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise RestoreError(f'The results go to a folder, but {out} is a file.')
    return out.resolve()


def _below(path: Path, out: Path, jobs: Jobs) -> Iterator[Group]:
    images = Images(path, endings=(*FORMATS, *MORE_ENDINGS, *video.ENDINGS), without=out)
    for names in images.by_folder():
        refused = [
            Refused(str(path / problem.source), problem.detail) for problem in images.problems
            if jobs.has(problem.source)
        ]  # fmt: skip
        images.problems.clear()
        yield names, refused
    if jobs.shard is None or jobs.shard.index == 1:
        jobs.notes = images.notes()


def _listed(given: Sequence[str], out: Path, ending: str | None, shard: Shard | None) -> Jobs:
    """Jobs of a list; what a folder has no images of is refused there by its ending, and here when it is read."""
    inside = _folder_of_results(out)
    if not given:
        raise RestoreError('The list names no files.')
    names = Names(given)
    if inside == names.base.resolve():
        raise RestoreError(f'Results in {out} itself would be among their inputs: choose another folder for them.')
    return Jobs(names.base, names.groups, out, ending, shard=shard).begin('the list')


def _without(files: Sequence[str], folder: Path) -> list[str]:
    """Files that are not in a folder, nor links into it."""

    @lru_cache
    def is_in(path: str) -> bool:
        real = Path(path).resolve()
        return folder in (real, *real.parents)

    return [
        file for file in files
        if not is_in(os.path.dirname(file)) and not (os.path.islink(file) and is_in(file))
    ]  # fmt: skip


class Names:
    """Files of a list, which takes not much more than their names.

    Args:
        files: Paths, in any order; one that is there twice counts once.

    Attributes:
        base: The folder that has all of them.
    """

    def __init__(self, files: Iterable[str]) -> None:
        # With a zero byte, which no name has, the files of a folder stay together when all are sorted.
        self._files = ['\0'.join(os.path.split(_plain(file))) for file in files]
        self._files.sort()
        self._folders = [*self._found_folders()]
        if len({os.path.isabs(folder) for folder, _, _ in self._folders}) > 1:
            self._files = sorted(os.path.abspath(folder) + name for folder, name in map(_halves, self._files))
            self._folders = [*self._found_folders()]
        self.base = Path(os.path.commonpath([folder for folder, _, _ in self._folders]) if self._folders else '')

    def _found_folders(self) -> Iterator[tuple[str, int, int]]:
        """A folder, its first file, and that after its last."""
        end = 0
        while end < len(self._files):
            start, (folder, _) = end, _halves(self._files[end])
            end = bisect_left(self._files, f'{folder}\1', start)
            yield folder, start, end

    def groups(self, jobs: Jobs) -> Iterator[Group]:
        """As :class:`Jobs` takes them."""
        same = defaultdict[str, list[tuple[str, int, int]]](list)
        for place in self._folders:
            same[place[0].lower()].append(place)
        for places in same.values():
            names = list[str]()
            for folder, start, end in places:
                inside = Path(folder).relative_to(self.base).as_posix()
                for i in range(start, end):
                    if i == start or self._files[i] != self._files[i - 1]:
                        name = self._files[i][len(folder) + 1:]
                        names.append(name if inside == '.' else f'{inside}/{name}')
            yield names, []


def _halves(file: str) -> tuple[str, str]:
    """Of an entry of :class:`Names`: the folder, and the rest with the zero byte."""
    folder, zero, name = file.partition('\0')
    return folder, zero + name


def _plain(name: str) -> str:
    """The same file by a path without ``..``, after which results are placed, or what says nothing."""
    if '..' in name:
        name = _without_ups(name)
    return os.path.normpath(name) if '/.' in name or '//' in name or name[:1] == '.' else name


def _without_ups(name: str) -> str:
    """The same file by a path without `..`, after which results are placed."""
    path = Path(name)
    return str(path.parent.resolve() / path.name) if '..' in path.parts else name


def _matches(pattern: str) -> list[str]:
    """What a pattern finds; `**` goes into no link, which can lead up and so into itself, and into nothing hidden."""
    if '**' not in pattern:
        return glob.glob(pattern)
    path = Path(pattern if Path(pattern).name != '**' else f'{pattern}/*')
    found = Path(path.anchor).glob(path.relative_to(path.anchor).as_posix())
    return [str(each) for each in found if not any(part[:1] == '.' for part in {*each.parts} - {*path.parts})]
