"""Files in, files out: a file that fails is named and the others are restored; an interrupted run resumes."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from glean_plus.inference import claims, manifest
from glean_plus.inference.base import PictureRestorer, Restored
from glean_plus.inference.comparison import compared
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.faces.save import save_faces
from glean_plus.inference.image import Picture
from glean_plus.inference.jobs import Job, Jobs, refuse_doubles
from glean_plus.inference.ood import Assessor
from glean_plus.inference.pipeline import Budget, Rows, Stopped, read_ahead
from glean_plus.inference.shards import Shard
from glean_plus.inference.video import CRF, check_crf, frame_count, restore_video
from glean_plus.inference.watch import Watch
from glean_plus.inference.write import check_quality, write
from glean_plus.utils.files import save_json, sweep
from glean_plus.utils.text import printable

WRITERS = 4  # threads, at most


@dataclass
class Record:
    """How it went with an image, or a video.

    Attributes:
        input, output: Its files.
        state: ``restored``, ``there`` already, or ``failed``.
        size, result_size: Height and width.
        seconds: From its turn until it was written, which others pass, too; of images that were restored together,
            each one's share.
        lr_psnr: How well the result, shrunk, meets its input, in dB; None in colorization, and where it is exact.
        error: Why it failed.
        failure: Its :class:`glean_plus.inference.ood.Failure`, where a report is asked for.
        faces: Box, score and landmarks of each face that was restored; None where none are looked for.
        frames, sound: Of a video, see :class:`glean_plus.inference.video.Clip`.
        notes: What of the file was left out, changed or is not exact, a sentence each.
    """

    input: str
    output: str
    state: str = 'failed'
    size: tuple[int, int] | None = None
    result_size: tuple[int, int] | None = None
    seconds: float = 0.0
    lr_psnr: float | None = None
    error: str = ''
    failure: dict | None = None
    faces: list[dict] | None = None
    frames: int | None = None
    sound: str | None = None
    notes: Sequence[str] = ()


def _say(line: str) -> None:
    tqdm.write(printable(line))


def restore_files(
    restorer: PictureRestorer,
    jobs: Jobs,
    *,
    compare: bool = False,
    assessor: Assessor | None = None,
    overwrite: bool = False,
    crf: int | None = None,
    quality: int | None = None,
    shard: Shard | None = None,
    command: Sequence[str] = (),
    say: Callable[[str], None] = _say,
) -> tuple[list[Record], dict]:
    """Restore files, with a progress bar and a manifest beside the results.

    Each result is whole or not there. Results that are there, not older than their input, and made by this run, with
    the same model and options, are left as they are. No other process can restore to the same place meanwhile.

    Args:
        restorer: What restores them.
        jobs: Which files.
        compare: Write an image of each input, enlarged, beside its result.
        assessor: Writes a report on each result, and a heat map. Without one, a line says whether the first images
            look unlike what the model was made for, if that is known.
        overwrite: Restore everything again, and replace results of another run.
        crf: Quality of videos, as :func:`glean_plus.inference.video.restore_video` takes it; None for its default.
        quality: Of results in JPEG and WebP, 1 to 100; None for 95.
        shard: Which share of the jobs is done here; other processes do the others, at the same time or not. All agree
            on the names of the results, and each has a manifest of its own.
        command: The command line, for the manifest.
        say: Is given a line about each image that fails or is judged, and about what is passed over.

    Returns:
        A record of each image, and the content of the manifest.

    Raises:
        RestoreError: If there are results of another run, or of none, another process restores to the same place, two
            inputs have one result, an option is not for what is there, or nothing can be written.
    """
    crf = _video_quality(jobs, crf, compare or assessor is not None or restorer.keep_crops)
    if quality is not None:
        check_quality(quality, {job.target.suffix for job in jobs.jobs if not job.is_video})
    asked = dict(compare=compare, report=assessor is not None, faces=restorer.keep_crops)
    refuse_doubles(jobs.jobs, **asked)
    ending = {} if jobs.single else dict(ending=_ending(jobs))
    jobs = jobs.divided(shard)
    given = {name: value for name, value in dict(crf=crf, quality=quality).items() if value is not None}
    options = ending | given
    content = manifest.manifest(restorer, options, command)
    if shard is not None:
        content['about']['shard'] = str(shard)
    where = claims.own_manifest(jobs)
    with ExitStack() as stack:
        try:
            stack.enter_context(claims.only_run(jobs))
            goes_on = _begin(jobs, where, content, overwrite)
            since = where.stat().st_mtime_ns
        except OSError as error:
            raise RestoreError(
                f'Nothing can be written to {jobs.out} ({error.strerror or error}): choose another place.'
            ) from error
        records = [Record(name, '', error=why) for name, why in jobs.refused]
        for line in (*jobs.notes, *(f'{record.input}: {record.error}' for record in records)):
            say(line)
        todo = []
        for job in jobs.jobs:
            if goes_on and _is_done(job, job.results(**asked), since):
                records.append(Record(str(job.source), str(job.target), 'there'))
            else:
                todo.append(job)
        with tqdm(total=len(todo), unit='image', disable=not todo) as bar:
            _Run(restorer, where, compare, assessor, crf, quality, records, bar, say).restore(todo)
    return records, content


def _begin(jobs: Jobs, where: Path, content: dict, overwrite: bool) -> bool:
    """Write the manifest, unless this run resumes; say whether it does.

    Raises:
        RestoreError: If there are results that are not of this run.
    """
    if jobs.shard is not None:
        manifest.check_shards(where, jobs.shard, content, overwrite)
    goes_on = not overwrite and manifest.goes_on(where, content)
    if not goes_on and not overwrite and (strange := [job.target for job in jobs.jobs if job.target.exists()]):
        raise RestoreError(
            f'{strange[0]} is there already ({len(strange)} such files), of no run that is known: choose another '
            'place, or overwrite.'
        )
    others = claims.others(jobs)
    if not overwrite and (strange_of := [(target, other) for target, other in others if target.exists()]):
        target, other = strange_of[0]
        raise RestoreError(
            f'{target} is of another run, that of {other} ({len(strange_of)} such files): choose another place, remove '
            'it, or overwrite.'
        )
    if not goes_on:
        manifest.write(where, content)
    for _, other in others:
        other.unlink(missing_ok=True)
    sweep([where, *(path for job in jobs.jobs for path in job.results())])
    return goes_on


def _is_done(job: Job, results: Sequence[Path], since: int) -> bool:
    try:
        return job.done(results, since)
    except OSError:  # the input is gone since it was listed, which is said when it is its turn
        return False


def _ending(jobs: Jobs) -> str:
    """Of the pictures' results."""
    return next((job.target.suffix for job in jobs.jobs if not job.is_video), '')


def _video_quality(jobs: Jobs, crf: int | None, images_only: bool) -> int | None:
    """Quality of the videos, None if there are none; what these cannot have is refused."""
    first = next((job.source for job in jobs.jobs if job.is_video), None)
    if first is None:
        if crf is not None:
            raise RestoreError('crf is the quality of videos, but there are none: leave it out.')
        return None
    if images_only:
        raise RestoreError(
            f'Side by side, reports and saved faces are for images, but {first} is a video: leave these options, or '
            'the videos, out.'
        )
    crf = CRF if crf is None else crf
    check_crf(crf)
    return crf


Group = list[tuple[Job, Picture]]


@dataclass
class _Pending:
    """Images whose results are being written.

    Attributes:
        bytes: Of their results.
        notes: What is to be said of each; what the format has no room for joins it.
        written: Done when all is.
    """

    group: Group
    restoration: Restored
    rows: Rows
    bytes: int
    start: float
    watched: bool
    notes: list[list[str]]
    written: Future[None] = field(default_factory=Future)


@dataclass
class _Run:
    """Jobs on their way: what fails is recorded, and the others continue.

    Images are read ahead and results are written behind, while the network runs in the caller's thread, where
    everything is recorded and said, too.

    Attributes:
        where: The manifest. Where it has gone, so has the folder of the results, which is not made again without it.
        crf: Quality of videos; None if there are none.
    """

    restorer: PictureRestorer
    where: Path
    compare: bool
    assessor: Assessor | None
    crf: int | None
    quality: int | None
    records: list[Record]
    bar: tqdm
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.watch = None if self.assessor is not None else Watch.of(self.restorer, self.say)
        self.share = self.restorer.memory // 8  # of what is read ahead, of rows that wait, and of unwritten results
        self.budget = Budget(self.share)
        self.pending: deque[_Pending] = deque()

    def restore(self, todo: Sequence[Job]) -> None:
        try:
            self._restore_images([job for job in todo if not job.is_video])
            for job in todo:
                if job.is_video and self.crf is not None:
                    self._check_place()
                    self._restore_video(job, self.crf)
        except _PlaceGone as error:
            self.say(str(error))
            named = {record.input for record in self.records}
            self.records += [
                Record(str(job.source), str(job.target), error='the folder of the results has gone')
                for job in todo if str(job.source) not in named
            ]  # fmt: skip
        if self.watch is not None and (line := self.watch.verdict()):
            self.say(line)

    def _restore_images(self, todo: Sequence[Job]) -> None:
        with ThreadPoolExecutor(max_workers=min(WRITERS, os.cpu_count() or 1)) as self.pool:
            try:
                for group in self._groups(todo):
                    self._restore_group(group)
                while self.pending:
                    self._finish()
            except BaseException:
                self.budget.close()
                for each in self.pending:
                    each.rows.fail(Stopped())
                raise

    def _check_place(self) -> None:
        if not self.where.is_file():
            raise _PlaceGone(
                f'{self.where.parent} or {self.where.name} in it has been moved or removed during the run, which ends '
                'here; the same command begins again.'
            )

    def _groups(self, todo: Sequence[Job]) -> Iterator[Group]:
        """Neighbours of one size and kind, as many as a batch and the memory hold."""
        group: Group = []
        for job, picture in read_ahead(todo, self.share):
            self._check_place()
            if isinstance(picture, BaseException):
                self._failed(job, picture)
                continue
            if group and (group[0][1].kind != picture.kind or len(group) >= self.restorer.at_once(picture)):
                yield group
                group = []
            group.append((job, picture))
        if group:
            yield group

    def _failed(self, job: Job, error: BaseException) -> None:
        text = str(error) or type(error).__name__
        if isinstance(error, OSError):
            text = f'its result cannot be written: {error.strerror or error}'
        elif not isinstance(error, RestoreError):
            text = f'{type(error).__name__}: {text}'
        self.records.append(Record(str(job.source), str(job.target), error=' '.join(text.split())))
        self.say(f'{job.source}: {self.records[-1].error}')
        self.bar.update()

    def _restore_group(self, group: Group) -> None:
        """Restore images together, and write them behind."""
        watched = self.watch is not None and self.watch.wants
        pictures = [picture for _, picture in group]
        start = time.perf_counter()
        restoration = self.restorer.restoration(pictures, assess=self.assessor is not None or watched)
        size = len(group) * math.prod(restoration.shape) * np.dtype(restoration.kind).itemsize
        while self.pending and size + sum(each.bytes for each in self.pending) > self.share:
            self._finish()
        notes = [[*picture.notes] for picture in pictures]
        each = _Pending(group, restoration, Rows(self.budget), size, start, watched, notes)
        self.pending.append(each)
        each.written = self.pool.submit(self._write_group, each)
        try:
            for parts in restoration:
                each.rows.put(parts)
        except Stopped:  # why, the writer knows
            pass
        except Exception as error:
            each.rows.fail(error)
        else:
            each.rows.end()
        while self.pending and self.pending[0].written.done():
            self._finish()

    def _write_group(self, each: _Pending) -> None:
        """In another thread: results as their rows come, and faces."""
        try:
            group, made = each.group, each.restoration
            if len(group) == 1:
                job, picture = group[0]
                each.notes[0] += self._write(job, picture, (part[0] for part in each.rows), made)
            else:
                parts = list(each.rows)
                for i, (job, picture) in enumerate(group):
                    each.notes[i] += self._write(job, picture, iter([part[i] for part in parts]), made)
            if self.restorer.keep_crops:
                for i, (job, picture) in enumerate(group):
                    kept = picture.kept(made.shape[2])
                    save_faces(job.faces, (made.faces or [])[i], made.crops[i], kept)
        finally:
            each.rows.abandon()

    def _finish(self) -> None:
        """Record the oldest of what is pending; if it failed, restore one by one, so that only what fails is lost."""
        each = self.pending[0]
        group, restoration = each.group, each.restoration
        failures: list[dict | None] = [None] * len(group)
        try:
            each.written.result()
            if self.assessor is not None:
                failures = [
                    self._report(self.assessor, job, picture, scores)
                    for (job, picture), scores in zip(group, restoration.own_scores)
                ]
        except _PlaceGone:
            raise
        except Exception as error:  # whatever it is, it is named, and the other images have their turn
            self._check_place()
            self.pending.popleft()
            if len(group) > 1:
                for one in group:
                    self._restore_group([one])
            else:
                self._failed(group[0][0], error)
            return
        self.pending.popleft()
        seconds = (time.perf_counter() - each.start) / len(group)
        faces: Sequence[list | None] = [None] * len(group) if restoration.faces is None else restoration.faces
        for (job, picture), score, failure, found, said in zip(group, restoration.scores, failures, faces, each.notes):
            height, width = picture.image.shape[:2]
            finite = None if score is None or score == float('inf') else score
            content = None if found is None else [face.content() for face in found]
            if content == []:
                self.say(f'{job.source}: no face was found; the photo is enlarged only')
            for note in said:
                self.say(f'{job.source}: {note}')
            if failure is not None:
                self.say(f'{job.source}: {failure["verdict"]}; see {job.report}')
            self.records.append(Record(
                str(job.source), str(job.target), 'restored', (height, width), restoration.shape[:2], seconds, finite,
                failure=failure, faces=content, notes=said,
            ))  # fmt: skip
            self.bar.update()
        if each.watched and self.watch is not None:
            for (job, picture), scores in zip(group, restoration.own_scores):
                self.watch.add(job.source, picture, *scores)

    def _write(self, job: Job, picture: Picture, rows: Iterator[np.ndarray], made: Restored) -> list[str]:
        """Returns what the format of the result has no room for."""
        self._check_place()
        if self.compare:
            rows = compared(rows, picture, made, job.compare)
        return write(job.target, rows, made.shape, made.kind, picture.kept(made.shape[2]), self.quality)

    def _restore_video(self, job: Job, crf: int) -> None:
        start, name = time.perf_counter(), printable(job.source.name)
        with tqdm(total=frame_count(job.source), unit='frame', desc=name, leave=False) as frames:
            try:
                clip = restore_video(self.restorer, job.source, job.target, crf, frames.update)
            except Exception as error:  # as for images
                self._check_place()
                self._failed(job, error)
                return
        if clip.sound == 'encoded again':
            self.say(f'{job.source}: {job.target.suffix} cannot hold its sound as it is, which was encoded again')
        for note in clip.notes:
            self.say(f'{job.source}: {note}')
        self.records.append(Record(
            str(job.source), str(job.target), 'restored', clip.size, clip.result_size, time.perf_counter() - start,
            frames=clip.frames, sound=clip.sound, notes=clip.notes,
        ))  # fmt: skip
        self.bar.update()

    @staticmethod
    def _report(assessor: Assessor, job: Job, picture: Picture, scores: tuple[float, float]) -> dict:
        """Written beside the result, its heat map first: where there is a report, it is whole."""
        job.report.parent.mkdir(parents=True, exist_ok=True)
        failure = assessor(picture, *scores, heat_map=job.report.with_suffix('.png')).content()
        save_json(failure, job.report)
        return failure


class _PlaceGone(Exception):
    """The manifest, and so the folder of the results, is no longer there."""
