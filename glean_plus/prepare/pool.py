"""Work in several processes, with a progress bar."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from glean_plus.prepare.items import DataError

Task = TypeVar('Task')
Result = TypeVar('Result')


def _start_worker() -> None:
    """One thread each, so that a result does not depend on how many there are; ends when the parent does.

    Without that, the workers of a parent that was killed would wait for tasks for ever.
    """
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def run_all(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    name: str,
) -> list[Result]:
    """``work`` on every task, in ``workers`` processes; the results in the order of the tasks.

    Raises:
        DataError: If a worker is killed, by the system for want of memory, say.
    """
    if not tasks:
        return []
    from tqdm import tqdm

    import glean_plus.utils.imresize  # noqa: F401  (slow to import: once, before the processes fork)

    with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
        try:
            return list(tqdm(pool.map(work, tasks, chunksize=8), total=len(tasks), desc=name, unit='image'))
        except BrokenProcessPool as error:
            raise DataError(
                'A worker process was killed, perhaps for want of memory: the same command resumes from here; '
                'fewer --workers need less.'
            ) from error
