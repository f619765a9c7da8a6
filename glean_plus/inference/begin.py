"""The beginning of a run: its place is taken, its manifest is written, and what is left to do is found out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from glean_plus.inference import claims, manifest
from glean_plus.inference.base import Described
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.jobs import FIRST, Jobs, Refused
from glean_plus.inference.plan import Item, Plan, There
from glean_plus.inference.video import CRF, check_crf
from glean_plus.inference.write import FORMATS, check_quality
from glean_plus.utils.files import sweep


class Begun(NamedTuple):
    """A run that has begun.

    Attributes:
        plan: What it has to do.
        where: Its manifest.
        content: What that says.
    """

    plan: Plan
    where: Path
    content: dict[str, Any]


@contextmanager
def begin(
    restorer: Described,
    jobs: Jobs,
    asked: Mapping[str, bool],
    *,
    overwrite: bool,
    crf: int | None,
    quality: int | None,
    command: Sequence[str],
) -> Iterator[Begun]:
    """While entered, no other process can restore to the same place.

    Args:
        asked: Which results are made, as :meth:`glean_plus.inference.jobs.Job.results` takes it.

    The others, and what is raised, are as :func:`glean_plus.inference.folder.restore_files` has them.
    """
    content = manifest.manifest(restorer, options_of(jobs.ending, jobs.single, crf, quality), command)
    content['about']['overwrite'] = overwrite
    if jobs.shard is not None:
        content['about']['shard'] = str(jobs.shard)
    where = claims.own_manifest(jobs)
    with ExitStack() as stack:
        try:
            stack.enter_context(claims.only_run(jobs))
            if jobs.shard is not None:
                manifest.check_shards(where, jobs.shard, content, overwrite)
            begun = None if overwrite else manifest.goes_on(where, content)
            since = None if begun is None else where.stat().st_mtime_ns
            replaces = overwrite if begun is None else bool(begun['about'].get('overwrite'))
            plan = Plan(jobs, claims.Neighbours(where, overwrite), asked, since, replaces)
            _check_videos(plan.first, crf)
            sweep(where)
            if begun is None:
                manifest.write(where, content)
        except OSError as error:
            raise RestoreError(
                f'Nothing can be written to {jobs.out} ({error.strerror or error}): choose another place.'
            ) from error
        yield Begun(plan, where, content)


def options_of(ending: str, single: bool, crf: int | None, quality: int | None) -> dict[str, Any]:
    """Those that decide the results beside what restores them, for the manifest.

    Raises:
        RestoreError: If one of them is out of its range, or no result has such an option.
    """
    check_crf(CRF if crf is None else crf)
    of_images = ending.lower() in FORMATS
    if quality is not None:
        check_quality(quality, [ending] if of_images else [])
    options: dict[str, Any] = {} if single else dict(ending=ending)
    options |= {} if single and of_images else dict(crf=CRF if crf is None else crf)
    return options | ({} if quality is None else dict(quality=quality))


def _check_videos(first: Sequence[Item], crf: int | None) -> None:
    """Raise RestoreError if a quality of videos is asked for, and these are all files, of which none is one."""
    if crf is not None and len(first) < FIRST:
        jobs = [each.job if isinstance(each, There) else each for each in first if not isinstance(each, Refused)]
        if not any(job.is_video for job in jobs):
            raise RestoreError('crf is the quality of videos, but there are none: leave it out.')
