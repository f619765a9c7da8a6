"""What is left to do of a stream of jobs, found out one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Union

from glean_plus.inference.claims import Neighbours
from glean_plus.inference.jobs import BESIDE, FACE_LIST, FIRST, Job, Jobs, Refused, check_first
from glean_plus.utils.files import sweep


@dataclass(frozen=True)
class There:
    """A job whose results are there already."""

    job: Job


Item = Union[Job, There, Refused]


class Plan:
    """A job to do, one that is done, or what is refused, for each file; can be iterated over once.

    Args:
        jobs: All files.
        neighbours: What others do in the folders of the results.
        asked: Which results are made, as :meth:`Job.results` takes it.
        since: When the run that this one resumes began, in nanoseconds; None if it resumes none.
        replaces: Results that are older than the run are replaced.

    Attributes:
        first: What it begins with.

    Raises:
        RestoreError: If one of the first jobs is in conflict with what is there.
    """

    def __init__(
        self, jobs: Jobs, neighbours: Neighbours, asked: Mapping[str, bool], since: int | None, replaces: bool
    ) -> None:  # fmt: skip
        self._jobs, self._neighbours, self._asked, self._since = jobs, neighbours, asked, since
        self._replaces = replaces
        self._beside = {name for name in BESIDE if asked[name]}
        self._items = (each if isinstance(each, Refused) else self._item(each) for each in jobs)
        self.first = list(islice(self._items, FIRST))
        check_first(self.first)

    @property
    def nothing(self) -> bool:
        """Whether all is done, or refused; until it is iterated over."""
        return self._jobs.complete and not any(isinstance(each, Job) for each in self.first)

    def __iter__(self) -> Iterator[Item]:
        first, self.first = self.first, []
        return chain(first, self._items)

    def _item(self, job: Job) -> Item:
        results = job.results(**self._asked)
        if why := self._conflict(job):
            return Refused(str(job.source), why, str(job.target), conflict=True)
        try:
            done = self._since is not None and job.done(results, self._since)
        except OSError:  # the input is gone since it was listed, which is said when it is its turn
            done = False
        return There(job) if done else job

    def _conflict(self, job: Job) -> str:
        """Why a result cannot be made where it would be; empty if it can."""
        if self._beside and job.is_video:
            return (
                f'Side by side, reports and saved faces are for images, but {job.source} is a video: leave these '
                'options, or the videos, out.'
            )
        place = '' if self._jobs.single else job.target.parts[len(self._jobs.out.parts)].lower()
        if place in self._beside:
            return (
                f'{job.source} would have the result {job.target}, but what {place} asks for is in '
                f'{self._jobs.out / place}: rename its folder.'
            )
        if self._asked['faces']:
            sweep(job.faces / FACE_LIST)
        if why := self._neighbours.claim(job.target, job.results(faces=False)[1:]):
            return why
        try:
            age = os.stat(job.target).st_mtime_ns
        except OSError:
            return ''
        if self._replaces or (self._since is not None and age >= self._since):
            return ''
        return f'{job.target} is there already, of no run that is known: choose another place, or overwrite.'
