"""Images on many machines: Ray Data hands them to processes that each hold one restorer.

A process that dies, alone or with its machine, is started again by Ray, which does again what it had at hand.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.errors import GleanError, MissingPackageError
from glean_plus.inference.base import Described, PictureRestorer
from glean_plus.inference.batches import AT_HAND, Facts, Setup, Work, Worker, facts_of, sweep, to_do
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.folder import Record, counting
from glean_plus.inference.restorer import Restorer
from glean_plus.utils.choices import DEFAULT_MODEL
from glean_plus.weights.errors import brief

try:
    import ray
    import ray.data
except ImportError as error:  # also of a pyarrow that wants another NumPy
    text = f"Ray Data cannot be used ({error}): pip install 'glean_plus[ray]'"
    raise MissingPackageError(text) from error
if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def restore(
    dataset: ray.data.Dataset,
    model: str | Callable[[], PictureRestorer] = DEFAULT_MODEL,
    *,
    reads: FileSystem | None = None,
    writes: FileSystem | None = None,
    num_gpus: float = 0,
    at_hand: int = AT_HAND,
    compare: bool = False,
    report: bool = False,
    crf: int | None = None,
    quality: int | None = None,
) -> ray.data.Dataset:
    """Restore the images of a data set, while what is returned is consumed.

    Args:
        dataset: Rows of ``path`` and ``target``, the files of an image and of its result, whose ending says the format;
            with ``bytes``, the content of the image's file, ``path`` is a name alone. Paths lead to the same files on
            all machines; where they are relative, from the folder of this process.
        model: Name or path of a model, or what makes the restorer in each process.
        reads: Where ``path`` is; None: in folders.
        writes: Where ``target`` is, likewise. An object store gets each result whole or not at all.
        num_gpus: Of each process; without one it has a CPU.
        at_hand: Images that a process takes at a time. Where it dies they are done again, but for results in folders
            that are younger than this call and their input.
        compare, report: Write these, too, into folders.
        crf, quality: Of videos, and of JPEG and WebP, as :func:`glean_plus.inference.folder.restore_files` takes them.

    Returns:
        Rows of ``record``, a :class:`glean_plus.inference.folder.Record`, and ``said``, lines about it, both as JSON.
    """
    make = partial(Restorer, model, device='cuda' if num_gpus else 'cpu') if isinstance(model, str) else model
    setup = Setup(make, Path.cwd(), reads, writes, compare, report, crf, quality, at_hand, time.time_ns())
    return _restored(dataset, setup, num_gpus)


def _restored(dataset: ray.data.Dataset, setup: Setup, num_gpus: float) -> ray.data.Dataset:
    return dataset.map_batches(
        Worker, fn_constructor_args=[setup], batch_size=setup.at_hand, batch_format='pyarrow',
        compute=ray.data.ActorPoolStrategy(), **_resources(num_gpus),
    )  # fmt: skip


def _resources(num_gpus: float) -> dict[str, Any]:
    return dict(num_gpus=num_gpus) if num_gpus else dict(num_cpus=1)


def restore_files(
    setup: Setup,
    begin: Callable[[Described], AbstractContextManager[Work]],
    num_gpus: float,
    say: Callable[[str], None],
    record: Callable[[Record], None],
) -> tuple[Counter[str], dict[str, Any]]:
    """:func:`glean_plus.inference.folder.restore_files` of a run that ``begin`` begins, on the connected cluster."""
    facts = _facts(setup, num_gpus)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger('ray.data').setLevel(logging.ERROR)  # below that, it tells what it does
    with begin(facts) as work, counting(work.jobs, False, record) as tally:
        setup = replace(setup, reads=work.reads, writes=work.writes, since=work.since, where=work.where)
        rows = to_do(work, tally, say)
        try:
            if rows:
                blocks = math.ceil(len(rows) / setup.at_hand)
                given = ray.data.from_items(rows, override_num_blocks=blocks)
                for row in _restored(given, setup, num_gpus).iter_rows():
                    for line in json.loads(row['said']):
                        say(line)
                    tally.add(Record(**json.loads(row['record'])))
        finally:
            sweep(rows, work)
    for line in work.jobs.notes:
        say(line)
    return tally.counts, work.content


def _facts(setup: Setup, num_gpus: float) -> Facts:
    """What a process says of its restorer, or why it has none, before any is given an image."""
    try:
        return ray.get(ray.remote(**_resources(num_gpus))(facts_of).remote(setup))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GleanError):
            raise error.cause from None
        raise


@contextmanager
def connected(address: str | None, device: str) -> Iterator[int]:
    """While entered, there is a cluster; the GPUs of a process on a device.

    Args:
        address: Of a cluster; None: that of ``RAY_ADDRESS``, of this machine, or one that is started and ends with it.
        device: ``auto``, ``cpu``, ``cuda`` or such.

    Raises:
        RestoreError: If none can be reached, or it has no such device; or a process, though others did, cannot start.
    """
    already = ray.is_initialized()
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RestoreError(f'No cluster of Ray can be reached at {address}: {brief(error)}.') from error
    try:
        there = int(ray.cluster_resources().get('GPU', 0) > 0)
        if device == 'cuda' and not there:
            raise RestoreError('The cluster has no GPU: take --device cpu, or start a machine with one first.')
        yield there if device in ('auto', 'cuda') else 0
    except ray.exceptions.RayActorError as error:
        raise RestoreError(f'A process of the cluster cannot start: {brief(str(error).splitlines()[-1])}') from error
    finally:
        if not already:
            ray.shutdown()
