"""One run divided among processes, on one machine or many: each restores its share of the files."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from glean_plus.inference.errors import RestoreError


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``count`` shares of the files, which are of about the same size.

    Whose a file is depends on its name alone, so that shards agree though they list a folder at different times, and
    files come and go meanwhile.

    Attributes:
        index: 1 to ``count``.
        count: Of shards.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise RestoreError(f'There is no shard {self}: they are 1/N to N/N, with N of 1 or more.')

    def __str__(self) -> str:
        return f'{self.index}/{self.count}'

    def has(self, name: str) -> bool:
        """Whether a file, by its path below the folder of all, is in this share."""
        return zlib.crc32(os.fsencode(name)) % self.count == self.index - 1


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """``'2/4'``, or ``'auto'``: the place of this process in an array of SLURM's, else among those of ``torchrun``.

    Raises:
        RestoreError: On another text, a shard that is none, or an environment that tells nothing.
    """
    if match := re.fullmatch(r'([0-9]{1,9})/([0-9]{1,9})', text):
        return Shard(int(match[1]), int(match[2]))
    if text != 'auto':
        raise RestoreError(f'A shard is I/N, such as 2/4, or auto, not {text!r}.')
    names = 'SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT'
    first, step = (environment.get(f'SLURM_ARRAY_TASK_{what}') for what in ('MIN', 'STEP'))
    if names[0] not in environment:
        names, first, step = ('RANK', 'WORLD_SIZE'), '0', '1'
    try:
        place, count = (int(environment[name]) for name in names)
        return Shard((place - int(first or 0)) // int(step or 1) + 1, count)
    except KeyError as error:
        raise RestoreError(f'{error.args[0]} is not set, so this process has no place: give --shard I/N.') from error
    except (ValueError, ZeroDivisionError) as error:
        raise RestoreError(f'{" and ".join(names)} are no numbers of a shard ({error}): give --shard I/N.') from error
