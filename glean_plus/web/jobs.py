"""The queue: jobs wait for their turn, run in threads, and stop when nobody asks for them any more."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

from torch.nn.modules.module import register_module_forward_pre_hook

from glean_plus.inference.errors import RestoreError
from glean_plus.web.errors import Refused, sentence
from glean_plus.web.restorers import Choice, Restorers
from glean_plus.web.store import Entry, Store
from glean_plus.web.work import Result, restore

LEFT = 20.0  # seconds without a request after which a job's client has left
LONGEST_LAYER = 10.0  # seconds that a layer takes at most, about
STOPPED = 'This was stopped, as nobody asked for it any more: restore the image again.'


class Stopped(RestoreError):
    """Raised inside of a restoration that is no longer wanted."""


State = Literal['waiting', 'running', 'done', 'failed', 'stopped']


@dataclass(eq=False)
class Job:
    """A restoration that waits, runs, or has ended."""

    choice: Choice  # model and options
    report: bool  # whether out-of-distribution scores are wanted
    # Of the store: the image, and what is made of it.
    upload: Entry
    entry: Entry = field(init=False)
    held: ExitStack = field(init=False)  # keeps both in the store until the job ends
    state: State = 'waiting'  # `waiting`, `running`, `done`, `failed` or `stopped`
    progress: float = 0.0  # share of the rows that are done
    error: str | None = None  # why it failed or stopped, a sentence
    result: Result | None = None  # once it is done
    # When its client last asked for it, in seconds of a monotonic clock.
    seen: float = field(default_factory=time.monotonic)
    cancelled: bool = False  # whether it is to stop

    @property
    def ended(self) -> bool:
        return self.state not in ('waiting', 'running')

    @property
    def unwanted(self) -> bool:
        return self.cancelled or time.monotonic() - self.seen > LEFT

    def check(self) -> None:
        """Raise Stopped if nobody wants it any more."""
        if self.unwanted:
            raise Stopped(STOPPED)

    def advance(self, progress: float) -> None:
        self.check()
        self.progress = progress


class Jobs:
    """Runs at most ``concurrency`` jobs at a time, and lets at most ``queue`` wait.

    A running job is checked before each layer of a network, and stops there if it is not wanted any more.
    """

    def __init__(self, store: Store, restorers: Restorers, concurrency: int, queue: int) -> None:
        self.store, self.restorers, self.queue = store, restorers, queue
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._closed = False
        self._changed = threading.Condition()  # guards the lists
        self._local = threading.local()
        self._hook = register_module_forward_pre_hook(self._check_thread)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(concurrency)]
        for thread in self._threads:
            thread.start()

    def submit(self, key: str, choice: Choice, report: bool) -> Entry:
        """Put the restoration of an upload into the queue; returns the entry of its result.

        Raises:
            Refused: If too many wait already, the upload is not here, or the store is full.
        """
        with ExitStack() as stack, self._changed:
            upload = stack.enter_context(self.store.using(key))
            if upload.job is not None:
                raise Refused(404, 'This is a result: give the key of an uploaded image.')
            self._drop_unwanted()
            if len(self._waiting) >= self.queue:
                raise Refused(503, 'Too many images are waiting: try again in a minute.')
            job = Job(choice, report, upload)
            entry = job.entry = stack.enter_context(self.store.using(self.store.new(upload.stem, job).key))
            job.held = stack.pop_all()
            self._waiting.append(job)
            self._changed.notify()
        return entry

    def cancel(self, job: Job) -> None:
        """Stop a job, if it has not ended."""
        job.cancelled = True
        with self._changed:
            self._drop_unwanted()

    def ahead(self, job: Job) -> int:
        """Number of jobs whose turn is before this one's."""
        with self._changed:
            return len(self._running) + self._waiting.index(job) if job in self._waiting else 0

    def close(self) -> None:
        """Stop all, and wait until none runs."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, *self._running):
                job.cancelled = True
            self._drop_unwanted()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(LONGEST_LAYER)
        self._hook.remove()

    def _drop_unwanted(self) -> None:
        for job in [each for each in self._waiting if each.unwanted]:
            self._waiting.remove(job)
            job.state, job.error = 'stopped', STOPPED
            job.held.close()

    def _work(self) -> None:
        """Run jobs in one thread, until the server ends."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._waiting.pop(0)
                job.state = 'running'
                self._running.append(job)
            self._local.job = job
            state, error = self._run(job)
            self._local.job = None
            with self._changed:
                self._running.remove(job)
            job.held.close()
            job.error, job.state = error, state

    def _run(self, job: Job) -> tuple[State, str | None]:
        """The state with which a job ends, and why."""
        try:
            try:
                job.check()
                job.result = restore(
                    self.store, self.restorers, job.upload, job.entry, job.choice, job.report, job.advance
                )
            except BaseException:
                self.store.clear(job.entry)
                raise
            return 'done', None
        except Exception as error:  # the page shows a sentence, and the log has what it does not show
            if job.unwanted:  # its files may have been removed meanwhile
                return 'stopped', STOPPED
            return 'failed', sentence(error)

    def _check_thread(self, *_: object) -> None:
        job = getattr(self._local, 'job', None)
        if job is not None:
            job.check()
