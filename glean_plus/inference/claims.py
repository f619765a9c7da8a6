"""Whose a result is: runs into one folder, a folder in it, or single files of it, do not mix their results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from glean_plus.inference import manifest
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.jobs import Jobs
from glean_plus.utils.files import NAME_MAX
from glean_plus.utils.locks import Locked, hold, holder


@contextmanager
def only_run(jobs: Jobs) -> Iterator[None]:
    """Keep other processes from these results while entered, but for those of other shards.

    Raises:
        RestoreError: If another process is restoring to the same place.
        OSError: If nothing can be written there.
    """
    own, whole = own_manifest(jobs), manifest.path_of(jobs.out, jobs.single)
    is_new = not own.parent.exists()
    own.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            if own != whole:
                stack.enter_context(hold(manifest.lock_path(whole), shared=True))
            stack.enter_context(hold(manifest.lock_path(own)))
            # Of two runs that meet, each has its own lock before it looks for that of the other.
            for other in _manifests(jobs, own, above=True):
                if (process := holder(manifest.lock_path(other))) is not None:
                    raise Locked(process)
            yield
    except Locked as error:
        if is_new:
            with suppress(OSError):  # the other run has put something there
                own.parent.rmdir()
        raise RestoreError(
            f'Another run ({error}) is restoring to {jobs.out}: wait for it, or choose another place.'
        ) from error


def own_manifest(jobs: Jobs) -> Path:
    return manifest.path_of(jobs.out, jobs.single, jobs.shard)


def others(jobs: Jobs) -> list[tuple[Path, Path]]:
    """Results that the manifest of another run, nearer to them than that of ``jobs``, speaks for.

    Returns:
        Each such result, whether or not it is there, and that manifest.
    """
    own = own_manifest(jobs)
    found = {path for path in _manifests(jobs, own, above=False) if path.is_file()}
    return [
        (job.target, path)
        for job in jobs.jobs if found
        for path in _near(job.target, own, jobs.single) if path in found
    ]  # fmt: skip


def _manifests(jobs: Jobs, own: Path, above: bool) -> Sequence[Path]:
    """Where manifests would be that speak for results of ``jobs``, too; ``above`` adds those of the folders around."""
    places = dict.fromkeys(each for job in jobs.jobs for each in _near(job.target, own, jobs.single))
    if above:
        places |= dict.fromkeys(manifest.path_of(folder, single=False) for folder in jobs.out.absolute().parents)
    return [place for place in places if place != own]


def _near(target: Path, own: Path, single: bool) -> Iterator[Path]:
    """Of the result itself, and of the folders between it and ``own``."""
    if single:
        return
    own_manifest = manifest.path_of(target, single=True)
    if len(os.fsencode(own_manifest.name)) <= NAME_MAX:  # else there can be none
        yield own_manifest
    for folder in target.parents:
        if folder == own.parent:
            return
        yield manifest.path_of(folder, single=False)
