"""The Debian packages that the shipped text models have their fonts and documents from."""

from __future__ import annotations

import csv

from glean_plus.utils.resources import data_folder


def read_list() -> list[dict[str, str]]:
    """Each package: its name, its kind (``fonts`` or ``texts``) and the licences of its content."""
    with open(data_folder('tools') / 'splits' / 'text.csv', encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def packages(kind: str) -> list[str]:
    """Names of the packages of ``fonts`` or ``texts``."""
    return [row['package'] for row in read_list() if row['kind'] == kind]
