"""Which images and videos are restored, and where to."""

from __future__ import annotations

import fnmatch
import glob
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glean_plus.inference import video
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.shards import Shard
from glean_plus.inference.write import FORMATS, check_ending
from glean_plus.prepare.files import images_below
from glean_plus.utils.files import read_file

# Besides what a data set may have, these can be read: animated ones are refused by name, not passed over.
MORE_ENDINGS = ('.ppm', '.pgm', '.pnm', '.gif', '.tga', '.jp2', '.avif')


FACE_LIST = 'faces.json'  # in a folder of faces, written last


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


@dataclass(frozen=True)
class Jobs:
    """What a call asks for.

    Attributes:
        jobs: The images and videos.
        refused: Files that are not taken, and why.
        out: File of the single result, or folder of the results.
        single: Which of them it is.
        notes: What has been passed over.
        shard: Which share of all jobs these are; None of all.
    """

    jobs: Sequence[Job]
    refused: Sequence[tuple[str, str]]
    out: Path
    single: bool
    notes: Sequence[str] = ()
    shard: Shard | None = None

    def divided(self, shard: Shard | None) -> Jobs:
        """The share of a shard. Files that are not taken, and what was passed over, are the first one's to tell.

        Raises:
            RestoreError: If there is one file alone.
        """
        if shard is None:
            return self
        if self.single:
            raise RestoreError('A single file is not divided into shards: give a folder, or leave the shard out.')
        refused, notes = (self.refused, self.notes) if shard.index == 1 else ([], [])
        return replace(self, jobs=shard.of(self.jobs), refused=refused, notes=notes, shard=shard)


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
    return [os.fsdecode(line) for line in data.replace(b'\r\n', b'\n').split(b'\n') if line]


def find_jobs(given: str | Sequence[str], out: Path, ending: str | None = None) -> Jobs:
    """The images and videos of a file, a folder and those below it, a pattern such as ``photos/*.jpg``, or a list.

    Results are in the folders of their inputs, below ``out``; of two inputs that differ in their ending alone, results
    keep it in their name. A video's result keeps its ending, or gets ``.mkv`` where that cannot be written.

    Args:
        given: File, folder or pattern; or files, of which one that is not there fails when it is its turn.
        out: File, if it has an ending and the input is a file; else a folder.
        ending: Of the pictures' results in a folder, ``.png`` if None.

    Raises:
        RestoreError: If there is nothing, an input would be overwritten, a result of a folder would be outside of
            ``out`` or an input of the next run, or results cannot have this ending.
    """
    if ending is not None:
        check_ending(ending)
    if not isinstance(given, str):
        return _listed(given, out, ending or '.png')
    path = Path(given).expanduser()
    if path.is_file() and out.suffix and not out.is_dir():
        if video.is_video(path):
            video.check_result(out)
        else:
            check_ending(out.suffix)
        if ending not in (None, out.suffix.lower()):
            raise RestoreError(f'The result is named {out.name}, but its format is to be {ending}: give one of them.')
        beside = (out.with_name(f'{out.stem}.{end}') for end in ('compare.png', 'report.json', 'faces'))
        job = Job(path, out, *beside)
        return Jobs([_checked(job)], [], out, True)
    inside = _folder_of_results(out)
    refused: list[tuple[str, str]] = []
    notes: list[str] = []
    if path.is_file():
        base, names = path.parent, [path.name]
    elif path.is_dir():
        base = path
        names, listing = images_below(path, endings=(*FORMATS, *MORE_ENDINGS, *video.ENDINGS), note_others=True)
        refused = [(str(path / problem.source), problem.detail) for problem in listing.problems]
        notes = listing.notes
    elif glob.has_magic(given):
        base, names = _common(name for name in _matches(os.path.expanduser(given)) if Path(name).is_file())
    else:
        raise RestoreError(f'There is neither a file nor a folder at {given}, nor is it a pattern.')
    if path.is_dir() and inside == path.resolve():
        raise RestoreError(f'Results in {out} itself would be inputs of the next run: choose another folder for them.')
    names = [name for name in names if inside not in (base / name).resolve().parents or inside == base.resolve()]
    if not names and not refused:
        raise RestoreError(f'There are no images and no videos in {given}.')
    jobs = [_inside(_checked(job), inside) for job in _named(base, names, out, ending or '.png')]
    names_found = Path(given).name if glob.has_magic(given) else ''
    if inside == base.resolve() and any(fnmatch.fnmatch(job.target.name, names_found) for job in jobs):
        raise RestoreError(f'Results in {out} would be inputs of the next run: choose another folder for them.')
    return Jobs(jobs, refused, out, False, notes)


def _folder_of_results(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise RestoreError(f'The results go to a folder, but {out} is a file.')
    return out.resolve()


def _listed(given: Sequence[str], out: Path, ending: str) -> Jobs:
    """Jobs of a list; what a folder has no images of is refused there by its ending, and here when it is read."""
    inside = _folder_of_results(out)
    if not given:
        raise RestoreError('The list names no files.')
    base, names = _common(given)
    if inside == base.resolve():
        raise RestoreError(f'Results in {out} itself would be among their inputs: choose another folder for them.')
    return Jobs([_inside(_checked(job), inside) for job in _named(base, names, out, ending)], [], out, False)


def _common(files: Iterable[str]) -> tuple[Path, list[str]]:
    """The folder that has all of these files, and their names in it, sorted, each once."""
    found = sorted({_without_ups(name) for name in files})
    if len({Path(name).is_absolute() for name in found}) > 1:
        found = sorted({str(Path(name).absolute()) for name in found})
    base = Path(os.path.commonpath([Path(name).parent for name in found])) if found else Path()
    return base, [Path(name).relative_to(base).as_posix() for name in found]


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


def _named(base: Path, names: Sequence[str], out: Path, ending: str) -> list[Job]:
    counts = Counter(Path(name).with_suffix('').as_posix().lower() for name in names)
    jobs = []
    for name in names:
        stem = Path(name).with_suffix('').as_posix()
        own = name if counts[stem.lower()] > 1 else stem
        own_ending = video.result_ending(Path(name)) if video.is_video(Path(name)) else ending
        files = (out / f'{own}{own_ending}', out / 'compare' / f'{own}.png', out / 'report' / f'{own}.json',
                 out / 'faces' / own)  # fmt: skip
        jobs.append(Job(base / name, *files))
    return jobs


def refuse_doubles(jobs: Sequence[Job], **asked: bool) -> None:
    """Raise RestoreError if two inputs have one result, such as a.jpg.png of a.jpg beside a.png, and of a.jpg.png.

    Args:
        jobs: The inputs.
        **asked: As :meth:`Job.results` takes them.
    """
    owners: dict[str, Job] = {}
    for job in jobs:
        for path in job.results(**asked):
            other = owners.setdefault(str(path).lower(), job)  # on many systems, names in capitals are the same
            if other is not job:
                raise RestoreError(f'{other.source} and {job.source} would both have the result {path}: rename one.')


def _inside(job: Job, out: Path) -> Job:
    """Refuse a result that a link in the folder of the results would lead out of it."""
    for path in job.results():
        folder = path.parent.resolve()
        if out not in (folder, *folder.parents):
            raise RestoreError(f'The result of {job.source} would be {path}, outside of {out}: choose another place.')
    return job


def _checked(job: Job) -> Job:
    for path in (job.target, job.compare, job.report.with_suffix('.png')):
        if path.exists() and path.resolve() == job.source.resolve():
            raise RestoreError(f'{job.source} is an input and would be overwritten: choose another place for results.')
    return job
