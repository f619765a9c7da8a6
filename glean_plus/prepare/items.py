"""Images of a set as a reader lists them, and problems of some of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from glean_plus.errors import GleanError


class DataError(GleanError, RuntimeError):
    """A data set that cannot be prepared or used as asked; the message says why and what to do."""


class Item(NamedTuple):
    """One image of a set."""

    name: str  # its name in the prepared set, without ending; `/` separates folders
    source: str  # path below the source folder, or the key in a database: how a problem is reported
    path: str  # file, or folder of an lmdb database
    key: bytes | None = None  # key in the database; None for a file
    label: int | None = None  # class index, for sets that have classes


class Problem(NamedTuple):
    """Why an image is left out: `kind` is one of unreadable, truncated, tiny, gray, missing, link, name."""

    source: str
    kind: str
    detail: str


@dataclass
class Listing:
    """The images of a set in order, those that cannot be listed, and remarks for the user."""

    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def safe_name(path: str) -> str:
    """``path`` with what a line of a meta file cannot hold (spaces, control characters, broken UTF-8) as %XX.

    Letters of any script stay. A `%` is written %25, so that no two paths become one.
    """
    return ''.join(
        character
        if character.isprintable() and character not in ' %'
        else ''.join(f'%{byte:02X}' for byte in os.fsencode(character))
        for character in path
    )


def meta_line(name: str, size: tuple[int, int], label: int | None = None) -> str:
    """`NAME.png (H,W,3)` for MMagic's BasicImageDataset, which reads the first word; a class follows."""
    return f'{name}.png ({size[0]},{size[1]},3)' + ('' if label is None else f' {label}') + '\n'


def label_line(name: str, label: int) -> str:
    """`NAME.png CLASS` for MMagic's BasicConditionalDataset."""
    return f'{name}.png {label}\n'


def refuse_outside(items: Iterable[Item]) -> None:
    """Raise a DataError where an image would be written elsewhere than in its set: names can come from a file."""
    for item in items:
        if item.name.startswith('/') or not {'', '.', '..'}.isdisjoint(item.name.split('/')) or '\0' in item.name:
            raise DataError(f'{item.source} would become {item.name!r}, which is no name in the set: rename it.')


def refuse_doubles(items: Iterable[Item]) -> None:
    """Raise a DataError where two images would become one file."""
    seen: dict[str, str] = {}
    for item in items:
        if item.name in seen:
            raise DataError(
                f'{seen[item.name]} and {item.source} would both become {item.name}.png: rename or remove one of them.'
            )
        seen[item.name] = item.source
