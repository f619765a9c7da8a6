"""Files in, files out: what fails is named and the rest goes on; a run that was interrupted goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from glean_plus.data.pictures import save_text
from glean_plus.faces.save import save_faces
from glean_plus.files import whole_or_not_at_all
from glean_plus.restore import manifest
from glean_plus.restore.base import PictureRestorer, Restored
from glean_plus.restore.errors import RestoreError
from glean_plus.restore.failure import Assessor
from glean_plus.restore.jobs import Job, Jobs, refuse_doubles
from glean_plus.restore.picture import WHITES, Meta, Picture
from glean_plus.restore.png import PngWriter
from glean_plus.restore.read import read
from glean_plus.restore.video import CRF, check_crf, frame_count, restore_video
from glean_plus.restore.write import fitting, sweep, write


@dataclass
class Record:
    """How it went with a picture, or a video.

    Attributes:
        input, output: Its files.
        state: ``restored``, ``there`` already, or ``failed``.
        size, result_size: Height and width.
        seconds: It took; of pictures that were restored together, each one's share.
        lr_psnr: How well the result, shrunk, meets its input, in dB; None in colorization, and where it is exact.
        error: Why it failed.
        failure: Its :class:`glean_plus.restore.failure.Failure`, where a report is asked for.
        faces: Box, score and landmarks of each face that was restored; None where none are looked for.
        frames, sound: Of a video, see :class:`glean_plus.restore.video.Clip`.
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


def restore_files(
    restorer: PictureRestorer,
    jobs: Jobs,
    *,
    compare: bool = False,
    assessor: Assessor | None = None,
    overwrite: bool = False,
    crf: int | None = None,
    command: Sequence[str] = (),
    say: Callable[[str], None] = tqdm.write,
) -> tuple[list[Record], dict]:
    """Restore files, with a progress bar and a manifest beside the results.

    Each result is whole or not there. Results that are there, not older than their input, and made by this run, with
    the same model and options, are left as they are.

    Args:
        restorer: Who does it.
        jobs: Which files.
        compare: Write a picture of each input, enlarged, beside its result.
        assessor: Writes a report on each result, and a heat map.
        overwrite: Restore everything anew, and replace results of another run.
        crf: Quality of videos, as :func:`glean_plus.restore.video.restore_video` takes it; None for its default.
        command: The command line, for the manifest.
        say: Is given a line about each picture that fails, and about what is passed over.

    Returns:
        A record of each picture, and the content of the manifest.

    Raises:
        RestoreError: If there are results of another run, or of none, two inputs have one result, an option is not for
            what is there, or nothing can be written.
    """
    crf = _video_quality(jobs, crf, compare or assessor is not None or restorer.keep_crops)
    asked = dict(compare=compare, report=assessor is not None, faces=restorer.keep_crops)
    refuse_doubles(jobs.jobs, **asked)
    options = ({} if jobs.single else dict(ending=_ending(jobs))) | ({} if crf is None else dict(crf=crf))
    content = manifest.manifest(restorer, options, command)
    where = manifest.path_of(jobs.out, jobs.single)
    goes_on = not overwrite and manifest.goes_on(where, content)
    if not goes_on and not overwrite and (strange := [job.target for job in jobs.jobs if job.target.exists()]):
        raise RestoreError(
            f'{strange[0]} is there already ({len(strange)} such files), of no run that is known: choose another '
            'place, or overwrite.'
        )
    try:
        if not goes_on:
            manifest.write(where, content)
        since = where.stat().st_mtime_ns
        for job in jobs.jobs:
            sweep(job.target)
    except OSError as error:
        raise RestoreError(
            f'Nothing can be written to {jobs.out} ({error.strerror or error}): choose another place.'
        ) from error
    records = [Record(name, '', error=why) for name, why in jobs.refused]
    for line in (*jobs.notes, *(f'{record.input}: {record.error}' for record in records)):
        say(line)
    todo = []
    for job in jobs.jobs:
        if goes_on and job.done(job.results(**asked), since):
            records.append(Record(str(job.source), str(job.target), 'there'))
        else:
            todo.append(job)
    with tqdm(total=len(todo), unit='picture', disable=not todo) as bar:
        for group in _groups(restorer, [job for job in todo if not job.is_video], records, bar, say):
            _restore_group(restorer, group, compare, assessor, records, bar, say)
        for job in todo:
            if job.is_video and crf is not None:
                _restore_video(restorer, job, crf, records, bar, say)
    return records, content


def _ending(jobs: Jobs) -> str:
    """Of the pictures' results."""
    return next((job.target.suffix for job in jobs.jobs if not job.is_video), '')


def _video_quality(jobs: Jobs, crf: int | None, pictures_only: bool) -> int | None:
    """Quality of the videos, None if there are none; what these cannot have is refused."""
    first = next((job.source for job in jobs.jobs if job.is_video), None)
    if first is None:
        if crf is not None:
            raise RestoreError('crf is the quality of videos, but there are none: leave it out.')
        return None
    if pictures_only:
        raise RestoreError(
            f'Side by side, reports and saved faces are for pictures, but {first} is a video: leave these options, or '
            'the videos, out.'
        )
    crf = CRF if crf is None else crf
    check_crf(crf)
    return crf


Group = list[tuple[Job, Picture]]


def _groups(
    restorer: PictureRestorer, todo: Sequence[Job], records: list[Record], bar: tqdm, say: Callable[[str], None]
) -> Iterator[Group]:
    """Neighbours of one size and kind, as many as a batch and the memory hold."""
    group: Group = []
    for job in todo:
        try:
            picture = read(job.source)
        except (RestoreError, MemoryError) as error:
            _failed(job, error, records, bar, say)
            continue
        if group and (group[0][1].kind != picture.kind or len(group) >= restorer.at_once(picture)):
            yield group
            group = []
        group.append((job, picture))
    if group:
        yield group


def _failed(job: Job, error: BaseException, records: list[Record], bar: tqdm, say: Callable[[str], None]) -> None:
    text = str(error) or type(error).__name__
    text = text if isinstance(error, RestoreError) else f'{type(error).__name__}: {text}'
    records.append(Record(str(job.source), str(job.target), error=' '.join(text.split())))
    say(f'{job.source}: {records[-1].error}')
    bar.update()


def _restore_group(
    restorer: PictureRestorer,
    group: Group,
    compare: bool,
    assessor: Assessor | None,
    records: list[Record],
    bar: tqdm,
    say: Callable[[str], None],
) -> None:
    """Restore pictures together; if that fails, one by one, so that only the one that fails is lost."""
    start = time.perf_counter()
    restoration = restorer.restoration([picture for _, picture in group], assess=assessor is not None)
    failures: list[dict | None] = [None] * len(group)
    notes = [[*picture.notes] for _, picture in group]
    try:
        if len(group) == 1:
            job, picture = group[0]
            notes[0] += _write(job, picture, (part[0] for part in restoration), restoration, compare)
        else:
            parts = list(restoration)
            for i, (job, picture) in enumerate(group):
                notes[i] += _write(job, picture, iter([part[i] for part in parts]), restoration, compare)
        if restorer.keep_crops:
            for i, (job, picture) in enumerate(group):
                kept = picture.kept(restoration.shape[2])
                save_faces(job.faces, (restoration.faces or [])[i], restoration.crops[i], kept)
        if assessor is not None:
            failures = [
                _report(assessor, job, picture, scores)
                for (job, picture), scores in zip(group, restoration.own_scores)
            ]
    except Exception as error:  # whatever it is, it is named, and the other pictures have their turn
        if len(group) > 1:
            for each in group:
                _restore_group(restorer, [each], compare, assessor, records, bar, say)
        else:
            _failed(group[0][0], error, records, bar, say)
        return
    seconds = (time.perf_counter() - start) / len(group)
    faces: Sequence[list | None] = [None] * len(group) if restoration.faces is None else restoration.faces
    for (job, picture), score, failure, found, said in zip(group, restoration.scores, failures, faces, notes):
        size, result_size = picture.image.shape[:2], restoration.shape[:2]
        finite = None if score is None or score == float('inf') else score
        content = None if found is None else [face.content() for face in found]
        if content == []:
            say(f'{job.source}: no face was found; the photo is enlarged only')
        for note in said:
            say(f'{job.source}: {note}')
        records.append(Record(
            str(job.source), str(job.target), 'restored', size, result_size, seconds, finite, failure=failure,
            faces=content, notes=said,
        ))  # fmt: skip
        bar.update()


def _restore_video(
    restorer: PictureRestorer, job: Job, crf: int, records: list[Record], bar: tqdm, say: Callable[[str], None]
) -> None:
    start = time.perf_counter()
    with tqdm(total=frame_count(job.source), unit='frame', desc=job.source.name, leave=False) as frames:
        try:
            clip = restore_video(restorer, job.source, job.target, crf, frames.update)
        except Exception as error:  # as for pictures
            _failed(job, error, records, bar, say)
            return
    if clip.sound == 'encoded anew':
        say(f'{job.source}: {job.target.suffix} cannot hold its sound as it is, which was encoded anew')
    for note in clip.notes:
        say(f'{job.source}: {note}')
    records.append(Record(
        str(job.source), str(job.target), 'restored', clip.size, clip.result_size, time.perf_counter() - start,
        frames=clip.frames, sound=clip.sound, notes=clip.notes,
    ))  # fmt: skip
    bar.update()


def _report(assessor: Assessor, job: Job, picture: Picture, scores: tuple[float, float]) -> dict:
    """Written beside the result, its heat map first: where there is a report, it is whole."""
    job.report.parent.mkdir(parents=True, exist_ok=True)
    failure = assessor(picture, *scores, heat_map=job.report.with_suffix('.png')).content()
    save_text(json.dumps(failure, indent=2) + '\n', job.report)
    return failure


def _write(job: Job, picture: Picture, rows: Iterator[np.ndarray], made: Restored, compare: bool) -> list[str]:
    """Returns what the format of the result has no room for."""
    if compare:
        rows = compared(rows, picture, made, job.compare)
    return write(job.target, rows, made.shape, made.kind, picture.kept(made.shape[2]))


def compared(
    rows: Iterator[np.ndarray], picture: Picture, made: Restored, path: Path
) -> Iterator[np.ndarray]:
    """The same rows; on their way they are written to ``path``, right of the input, enlarged without smoothing.

    It has the colour profile of both, and so is gray where both are.
    """
    scale = made.restorer.scale
    height, width, channels = made.shape
    colours = 1 if channels < 3 else 3
    meta, _ = fitting('.png', Meta(icc=picture.kept(channels).icc))
    with whole_or_not_at_all(path) as file:
        writer, top = PngWriter(file, height, 2 * width, colours, meta=meta), 0
        for part in rows:
            first = top // scale
            last = -(-(top + len(part)) // scale)
            given = np.repeat(np.repeat(_shown(picture.image[first:last], colours), scale, axis=0), scale, axis=1)
            given = given[top - first * scale:][:len(part)]
            writer.write(np.concatenate([given, _shown(part, colours)], axis=1))
            top += len(part)
            yield part
        writer.close()


def _shown(image: np.ndarray, colours: int) -> np.ndarray:
    """(H, W, K) of any type -> (H, W, colours) uint8, on white where it is transparent."""
    image = image / np.float32(WHITES[image.dtype.name])
    opacity = image[..., -1:] if image.shape[2] in (2, 4) else 1
    colour = image[..., :1 if image.shape[2] < 3 else 3]
    shown = (255 * (colour * opacity + (1 - opacity))).round().astype(np.uint8)
    return np.broadcast_to(shown, (*image.shape[:2], colours))


def report(records: Sequence[Record], content: dict, seconds: float) -> dict:
    """Everything about a run, for programs."""
    return dict(content, seconds=seconds, pictures=[asdict(record) for record in records])
