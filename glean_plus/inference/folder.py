"""Files in, files out: a file that fails is named and the others are restored; an interrupted run resumes."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from glean_plus.inference.animation import restore_animation
from glean_plus.inference.base import PictureRestorer, Restored
from glean_plus.inference.begin import begin
from glean_plus.inference.comparison import compared
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.faces.save import save_faces
from glean_plus.inference.image import Picture
from glean_plus.inference.jobs import Found, Job, Jobs, Refused
from glean_plus.inference.ood import Assessor
from glean_plus.inference.pipeline import Budget, Given, Rows, Stopped, read_ahead
from glean_plus.inference.plan import Item, There
from glean_plus.inference.read import pictures_of
from glean_plus.inference.video import CRF, Clip, frame_count, restore_video
from glean_plus.inference.watch import Watch
from glean_plus.inference.write import write
from glean_plus.utils.files import save_json
from glean_plus.utils.images.animation import Animation
from glean_plus.utils.text import printable

WRITERS = 4  # threads, at most
MOST_KINDS = 8  # sizes and kinds of images that wait for others of theirs
MOST_PENDING = 64  # groups of images whose results are being written, however small


@dataclass
class Record:
    """How it went with an image, an animation, or a video.

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
        frames, sound: Of a video or animation, see :class:`glean_plus.inference.video.Clip`.
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
    command: Sequence[str] = (),
    say: Callable[[str], None] = _say,
    record: Callable[[Record], None] = lambda record: None,
) -> tuple[Counter[str], dict]:
    """Restore files, with a progress bar and a manifest beside the results.

    Each result is whole or not there. Results that are there, not older than their input, and made by this run, with
    the same model and options, are left as they are. No other process can restore to the same place meanwhile. However
    many files there are, a few at a time are held.

    Args:
        restorer: What restores them.
        jobs: Which files. A shard of them has a manifest of its own; other processes do the others, at the same time
            or not.
        compare: Write an image of each input, enlarged, beside its result.
        assessor: Writes a report on each result, and a heat map. Without one, a line says whether the first images
            look unlike what the model was made for, if that is known.
        overwrite: Restore everything again, and replace results of another run.
        crf: Quality of videos, as :func:`glean_plus.inference.video.restore_video` takes it; None for its default.
        quality: Of results in JPEG and WebP, 1 to 100; None for 95.
        command: The command line, for the manifest.
        say: Is given a line about each image that fails or is judged, and about what is passed over.
        record: Is given the record of each file, once it is done.

    Returns:
        How many files were ``restored``, were ``there``, or ``failed``, and how many ``faces`` were restored; and the
        content of the manifest.

    Raises:
        RestoreError: If there are results of another run, or of none, another process restores to the same place, two
            inputs have one result, an option is not for what is there, or nothing can be written. What is found after
            the first thousand files costs its file alone.
    """
    asked = dict(compare=compare, report=assessor is not None, faces=restorer.keep_crops)
    begun = begin(restorer, jobs, asked, overwrite=overwrite, crf=crf, quality=quality, command=command)
    with begun as (plan, where, content), counting(jobs, plan.nothing, record) as tally:
        restore_items(
            restorer, plan, where, compare=compare, assessor=assessor, crf=crf, quality=quality, say=say,
            record=tally.add,
        )  # fmt: skip
    for line in jobs.notes:
        say(line)
    return tally.counts, content


def restore_items(
    restorer: PictureRestorer,
    items: Iterable[Item],
    where: Path | None,
    *,
    compare: bool,
    assessor: Assessor | None,
    crf: int | None,
    quality: int | None,
    say: Callable[[str], None],
    record: Callable[[Record], None],
    watched: bool = True,
) -> None:
    """Do what a plan has left, as :func:`restore_files` does, of a run that has begun.

    Args:
        items: Of the plan, some or all.
        where: The manifest. Where it has gone, so has the folder of the results, which is not made again without it.
            None: nothing is looked for.
        watched: Whether these are the first images of the run, which are looked at.
    """
    watch = Watch.of(restorer, say) if watched and assessor is None else None
    _Run(restorer, where, compare, assessor, watch, CRF if crf is None else crf, quality, record, say).restore(items)


def settled(item: There | Refused) -> Record:
    """The record of what is not to be done."""
    if isinstance(item, There):
        return Record(str(item.job.source), str(item.job.target), 'there')
    return Record(item.source, item.target, error=item.why)


@dataclass
class Tally:
    """Counts records on their way, and shows a bar.

    Attributes:
        counts: As :func:`restore_files` returns them.
    """

    jobs: Found
    record: Callable[[Record], None]
    bar: tqdm
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        self.counts[record.state] += 1
        self.counts['faces'] += len(record.faces or ())
        self.record(record)
        self.bar.total = self.jobs.found - self.counts['there'] if self.jobs.complete else None
        if record.state != 'there':
            self.bar.update()


@contextmanager
def counting(jobs: Found, nothing: bool, record: Callable[[Record], None]) -> Iterator[Tally]:
    """A tally, with a bar while entered unless there is nothing to do."""
    with tqdm(unit='image', **(dict(disable=True) if nothing else {})) as bar:  # TQDM_DISABLE counts, too
        yield Tally(jobs, record, bar)


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
        where: The manifest, as :func:`restore_items` takes it.
        watch: Looks at the first images, if anything does.
        crf: Quality of videos.
    """

    restorer: PictureRestorer
    where: Path | None
    compare: bool
    assessor: Assessor | None
    watch: Watch | None
    crf: int
    quality: int | None
    record: Callable[[Record], None]
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.share = self.restorer.memory // 8  # of what is read ahead, of rows that wait, and of unwritten results
        self.budget = Budget(self.share)
        self.pending: deque[_Pending] = deque()
        self.bytes = 0  # of the results that are pending
        self.again: deque[Group] = deque()  # images of a group that failed, one by one
        self.groups: dict[Any, Group] = {}  # that are being collected, by size and kind, the oldest first
        self.waiting = 0  # bytes of their images
        self.group: Group = []  # that is begun
        self.turn: Item | None = None

    def restore(self, plan: Iterable[Item]) -> None:
        given_up = threading.Event()
        items = read_ahead(plan, self.share, given_up)
        try:
            self._restore(items)
        except _PlaceGone as error:
            given_up.set()
            self.say(str(error))
            groups = [*(each.group for each in self.pending), *self.again, self.group, *self.groups.values()]
            begun = (job for group in groups for job, _ in group)
            for each in chain(begun, [self.turn], (item for item, _ in items)):
                if isinstance(each, Job):
                    self.record(Record(str(each.source), str(each.target), error='the folder of the results has gone'))
        finally:
            items.close()
        if self.watch is not None and (line := self.watch.verdict()):
            self.say(line)

    def _restore(self, items: Iterable[tuple[Item, Given]]) -> None:
        with ThreadPoolExecutor(max_workers=min(WRITERS, os.cpu_count() or 1)) as self.pool:
            try:
                for item, picture in items:
                    self.turn = item
                    self._take(item, picture)
                    self.turn = None
                self._restore_collected()
                while self.pending or self.again:
                    self._finish()
                    self._restore_again()
            except BaseException:
                self.budget.close()
                for each in self.pending:
                    each.rows.fail(Stopped())
                raise

    def _take(self, item: Item, picture: Given) -> None:
        """Images of one size and kind are restored together, as many as a batch and the memory hold."""
        if not isinstance(item, Job):
            self.record(record := settled(item))
            if record.error:
                self.say(f'{record.input}: {record.error}')
        elif item.is_video:
            self._restore_frames(item, frame_count(item.source), self._restore_video)
        elif isinstance(picture, Animation):
            animation = picture
            self._restore_frames(
                item, len(animation.times), lambda job, done: self._restore_animation(job, animation, done)
            )
        elif isinstance(picture, Picture):
            self._check_place()
            self._collect(item, picture)
        else:
            self._check_place()
            self._failed(item, picture or RestoreError('it was not read'))

    def _collect(self, job: Job, picture: Picture) -> None:
        """Let an image wait for others of its size and kind; all that wait are bounded, and the oldest give way."""
        group = self.groups.setdefault(picture.kind, [])
        group.append((job, picture))
        self.waiting += picture.image.nbytes
        self.turn = None
        if len(group) >= self.restorer.at_once(picture):
            self._restore_kind(picture.kind)
        while len(self.groups) > MOST_KINDS or self.waiting > self.share:
            self._restore_kind(next(iter(self.groups)))

    def _restore_kind(self, kind: Any) -> None:
        self.group = self.groups.pop(kind)
        self.waiting -= sum(picture.image.nbytes for _, picture in self.group)
        self._restore_group(self.group)
        self._restore_again()

    def _restore_collected(self) -> None:
        while self.groups:
            self._restore_kind(next(iter(self.groups)))
        self._restore_again()

    def _restore_again(self) -> None:
        while self.again:
            self.group = self.again.popleft()
            self._restore_group(self.group)

    def _check_place(self) -> None:
        if self.where is not None and not self.where.is_file():
            raise _PlaceGone(
                f'{self.where.parent} or {self.where.name} in it has been moved or removed during the run, which ends '
                'here; the same command begins again.'
            )

    def _failed(self, job: Job, error: BaseException) -> None:
        text = str(error) or type(error).__name__
        if isinstance(error, OSError):
            text = f'its result cannot be written: {error.strerror or error}'
        elif not isinstance(error, RestoreError):
            text = f'{type(error).__name__}: {text}'
        text = ' '.join(text.split())
        self.record(Record(str(job.source), str(job.target), error=text))
        self.say(f'{job.source}: {text}')

    def _restore_group(self, group: Group) -> None:
        """Restore images together, and write them behind."""
        watched = self.watch is not None and self.watch.wants
        pictures = [picture for _, picture in group]
        start = time.perf_counter()
        restoration = self.restorer.restoration(pictures, assess=self.assessor is not None or watched)
        size = len(group) * math.prod(restoration.shape) * np.dtype(restoration.kind).itemsize
        while self.pending and (size + self.bytes > self.share or len(self.pending) >= MOST_PENDING):
            self._finish()
        notes = [[*picture.notes] for picture in pictures]
        each = _Pending(group, restoration, Rows(self.budget), size, start, watched, notes)
        self.pending.append(each)
        self.group, self.bytes = [], self.bytes + size
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
            self._forget_oldest()
            if len(group) > 1:
                self.again += [[one] for one in group]
            else:
                self._failed(group[0][0], error)
            return
        self._forget_oldest()
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
            self.record(Record(
                str(job.source), str(job.target), 'restored', (height, width), restoration.shape[:2], seconds, finite,
                failure=failure, faces=content, notes=said,
            ))  # fmt: skip
        if each.watched and self.watch is not None:
            for (job, picture), scores in zip(group, restoration.own_scores):
                self.watch.add(job.source, picture, *scores)

    def _forget_oldest(self) -> None:
        self.bytes -= self.pending.popleft().bytes

    def _write(self, job: Job, picture: Picture, rows: Iterator[np.ndarray], made: Restored) -> list[str]:
        """Returns what the format of the result has no room for."""
        self._check_place()
        if self.compare:
            rows = compared(rows, picture, made, job.compare)
        return write(job.target, rows, made.shape, made.kind, picture.kept(made.shape[2]), self.quality)

    def _restore_frames(
        self, job: Job, count: int | None, restore: Callable[[Job, Callable[[int], object]], Clip]
    ) -> None:  # fmt: skip
        """Restore a video or an animation, after all images before it; ``count`` its frames, if that is known."""
        self._restore_collected()
        self._check_place()
        start, name = time.perf_counter(), printable(job.source.name)
        with tqdm(total=count, unit='frame', desc=name, leave=False) as frames:
            try:
                clip = restore(job, frames.update)
            except Exception as error:  # as for images
                self._check_place()
                self._failed(job, error)
                return
        if clip.sound == 'encoded again':
            self.say(f'{job.source}: {job.target.suffix} cannot hold its sound as it is, which was encoded again')
        for note in clip.notes:
            self.say(f'{job.source}: {note}')
        self.record(Record(
            str(job.source), str(job.target), 'restored', clip.size, clip.result_size, time.perf_counter() - start,
            frames=clip.frames, sound=clip.sound, notes=clip.notes,
        ))  # fmt: skip

    def _restore_video(self, job: Job, done: Callable[[int], object]) -> Clip:
        return restore_video(self.restorer, job.source, job.target, self.crf, done)

    def _restore_animation(self, job: Job, animation: Animation, done: Callable[[int], object]) -> Clip:
        """Whatever is written beside results is of its first frame."""
        clip = restore_animation(self.restorer, animation, job.target, self.quality, done)
        if not (self.compare or self.assessor is not None or self.restorer.keep_crops):
            return clip
        picture = next(pictures_of(animation))
        made = self.restorer.restoration([picture], assess=self.assessor is not None)
        rows = (part[0] for part in made)
        for _ in compared(rows, picture, made, job.compare) if self.compare else rows:
            pass
        if self.assessor is not None:
            verdict = self._report(self.assessor, job, picture, made.own_scores[0])['verdict']
            self.say(f'{job.source}: {verdict}; see {job.report}')
        if self.restorer.keep_crops:
            save_faces(job.faces, (made.faces or [])[0], made.crops[0], picture.kept(made.shape[2]))
        what = 'side by side, reports and saved faces are of its first frame alone'
        return replace(clip, notes=(*clip.notes, what))

    @staticmethod
    def _report(assessor: Assessor, job: Job, picture: Picture, scores: tuple[float, float]) -> dict:
        """Written beside the result, its heat map first: where there is a report, it is whole."""
        job.report.parent.mkdir(parents=True, exist_ok=True)
        failure = assessor(picture, *scores, heat_map=job.report.with_suffix('.png')).content()
        save_json(failure, job.report)
        return failure


class _PlaceGone(Exception):
    """The manifest, and so the folder of the results, is no longer there."""
