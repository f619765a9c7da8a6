"""Tables of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

Rows = Sequence[Sequence[str]]


def markdown(rows: Rows) -> list[str]:
    """Lines of a Markdown table; the first row is its head."""
    lines = [f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in row)} |' for row in rows]
    return [lines[0], '|---' * len(rows[0]) + '|', *lines[1:]]


def aligned(rows: Rows, between: str = '  ') -> list[str]:
    """Lines for a terminal: cells padded to the width of their column."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [between.join(map(str.ljust, row, widths)).rstrip() for row in rows]


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV; the first is its head, and None an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    return text.getvalue()
