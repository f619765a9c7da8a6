"""The Debian packages that the shipped text models have their fonts and documents from."""

from __future__ import annotations

from glean_plus.prepare.splits import Row, read_rows


def read_list() -> list[Row]:
    """Each package: its name, its kind (``fonts`` or ``texts``) and the licences of its content."""
    return read_rows('text')


def packages(kind: str) -> list[str]:
    """Names of the packages of ``fonts`` or ``texts``."""
    return [row['package'] for row in read_list() if row['kind'] == kind]
