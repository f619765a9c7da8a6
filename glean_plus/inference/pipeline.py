"""Images are read ahead, and results written behind, in threads, while the network runs in the caller's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Union

import numpy as np
from PIL import Image

from glean_plus.inference.errors import AnimationError, RestoreError
from glean_plus.inference.frame_writers import WRITERS
from glean_plus.inference.image import Picture
from glean_plus.inference.jobs import Job
from glean_plus.inference.plan import Item
from glean_plus.inference.read import read, read_animation
from glean_plus.utils.images.animation import Animation

Given = Union[Picture, Animation, BaseException, None]

MOST_BYTES = 8  # of a pixel: four channels of 16 bits
AHEAD = 1000  # files, at most, however small


class Stopped(Exception):
    """The other side has ended."""


class Budget:
    """Bytes that may lie between threads; what is larger than all of them lies alone."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used, self.closed = limit, 0, False
        self._changed = threading.Condition()

    def take(self, size: int, unless: Callable[[], bool] = lambda: False) -> None:
        """Wait until there is room.

        Raises:
            Stopped: If it is closed meanwhile, or ``unless`` is true.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.closed or unless() or not self.used or self.used + size <= self.limit
            )
            if self.closed or unless():
                raise Stopped
            self.used += size

    def give(self, size: int) -> None:
        with self._changed:
            self.used -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Whoever waits, or will, is stopped."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def read_ahead(
    items: Iterable[Item], memory: int, given_up: threading.Event | None = None
) -> Generator[tuple[Item, Given], None, None]:  # fmt: skip
    """A plan's items, and the image of each job of one, or why it cannot be read; the next are read in a thread.

    An animation is looked through, and its frames are decoded when it is restored.

    Args:
        items: They are found in that thread, too.
        memory: Bytes that images which are read ahead may take; one may always be.
        given_up: Once it is set, nothing more is read, and no image has come.
    """
    budget = Budget(memory)
    found = queue.SimpleQueue[tuple[Item, Given, int] | BaseException | None]()
    given_up = given_up or threading.Event()

    def work() -> None:
        try:
            for item in items:
                job = item if isinstance(item, Job) and not item.is_video and not given_up.is_set() else None
                size = max(0 if job is None else _size(job.source), memory // AHEAD)
                budget.take(size)
                picture: Given = None
                if job is not None:
                    try:
                        picture = _read(job)
                    except BaseException as error:  # raised where the image is asked for
                        picture = error
                found.put((item, picture, size))
        except Stopped:
            pass
        except BaseException as error:
            found.put(error)
        finally:
            found.put(None)

    thread = threading.Thread(target=work, name='read ahead', daemon=True)
    thread.start()
    try:
        while (each := found.get()) is not None:
            if isinstance(each, BaseException):
                raise each
            item, picture, size = each
            budget.give(size)
            if isinstance(picture, BaseException) and not isinstance(picture, (RestoreError, MemoryError)):
                raise picture
            yield item, picture
    finally:
        budget.close()
        thread.join()


def _read(job: Job) -> Picture | Animation:
    """Its image; or all frames, where the result can have them, or else the first."""
    try:
        return read(job.source)
    except AnimationError:
        if job.target.suffix.lower() in WRITERS:
            return read_animation(job.source)
    return read(job.source, first=True)


def _size(path: Path) -> int:
    """Bytes of an image at most, by its header; 0 where that cannot be read, which is said when its turn has come."""
    try:
        with Image.open(path) as image:
            return MOST_BYTES * image.width * image.height
    except Exception:  # whatever PIL raises on a file that is broken
        return 0


class Rows:
    """Rows of the results of some images on their way from the network to their files.

    One thread puts them, and ends or fails; another iterates, where a failure is raised.

    Args:
        budget: Of the rows that wait.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget, self._waiting = budget, queue.SimpleQueue[list[np.ndarray] | BaseException | None]()
        self._over = False

    def put(self, parts: list[np.ndarray]) -> None:
        """Rows of each image, once there is room.

        Raises:
            Stopped: If nobody takes them any more.
        """
        self._budget.take(_bytes(parts), unless=lambda: self._over)
        self._waiting.put(parts)
        if self._over:  # meanwhile
            self.abandon()

    def end(self) -> None:
        self._waiting.put(None)

    def fail(self, error: BaseException) -> None:
        self._waiting.put(error)

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        while (parts := self._waiting.get()) is not None:
            if isinstance(parts, BaseException):
                raise parts
            self._budget.give(_bytes(parts))
            yield parts

    def abandon(self) -> None:
        """Nobody takes more of them."""
        self._over = True
        while not self._waiting.empty():
            parts = self._waiting.get()
            if isinstance(parts, list):
                self._budget.give(_bytes(parts))
        self._budget.give(0)  # wakes who waits


def _bytes(parts: Sequence[np.ndarray]) -> int:
    return sum(part.nbytes for part in parts)
