"""The lists of ``tools/splits``."""

from __future__ import annotations

import csv

from glean_plus.utils.resources import data_folder

Row = dict[str, str]


def read_rows(name: str) -> list[Row]:
    """The rows of ``tools/splits/NAME.csv`` by its columns."""
    with open(data_folder('tools') / 'splits' / f'{name}.csv', encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))
