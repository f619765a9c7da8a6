"""An animation restored frame by frame, from one file to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.frame_writers import WRITERS
from glean_plus.inference.read import pictures_of, read_animation
from glean_plus.inference.source import PathLike
from glean_plus.inference.video import Clip
from glean_plus.inference.write import FEW_COLOURS, QUALITY, fitting, obstacle
from glean_plus.utils.files import whole_or_not_at_all
from glean_plus.utils.images.animation import Animation
from glean_plus.utils.images.exif import resized


def restore_animation(
    restorer: PictureRestorer,
    source: PathLike | Animation,
    target: PathLike,
    quality: int | None = None,
    done: Callable[[int], object] = lambda count: None,
) -> Clip:
    """Restore each frame of an animated GIF, WebP, PNG or AVIF; the file is there once it is whole.

    Frames, their times and how often they are shown are those of the source. A frame is the same as if it were
    restored alone, but for what a GIF or WebP loses. In memory are the frames that are restored together, and their
    results.

    Args:
        restorer: What restores them.
        source: The animation, or its file.
        target: That of the result: .webp, .png, .apng or .gif.
        quality: Of a WebP, 1 to 100; None for 95.
        done: Is given a number of frames when they are done.

    Raises:
        RestoreError: If the source is no animation or is broken, or the format cannot hold the result.
    """
    target = Path(target)
    ending = target.suffix.lower()
    if ending not in WRITERS:
        raise RestoreError(f'The result of an animation ends in one of {", ".join(WRITERS)}, not in {target.suffix!r}.')
    given = source if isinstance(source, Animation) else read_animation(Path(source))
    frames = pictures_of(given)
    first = next(frames)
    height, width = first.image.shape[:2]
    frames, at_once = chain([first], frames), restorer.at_once(first)
    shape = restorer.restoration([first]).shape
    if why := obstacle(ending, shape, first.image.dtype.name):
        raise RestoreError(f'{why}: take .png')
    meta = first.kept(shape[2])
    meta, notes = fitting(ending, replace(meta, exif=meta.exif and resized(meta.exif, *shape[:2])))
    quality = QUALITY if quality is None else quality
    with whole_or_not_at_all(target) as file:
        writer = WRITERS[ending](file, shape, len(given.times), given.plays, meta, quality)
        times = iter(given.times)
        while batch := [*islice(frames, at_once)]:
            for result in restorer.restore_together(batch):
                writer.write(result, next(times))
            done(len(batch))
        writer.close()
    if writer.retimed:
        notes.append(f'times of frames are rounded to what {ending} has')
    if writer.reduced:
        notes.append(FEW_COLOURS)
    return Clip(len(given.times), (height, width), shape[:2], None, (*given.notes, *notes))
