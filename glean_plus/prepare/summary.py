"""Printed summaries of a preparation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from glean_plus.prepare.crops import CROPS, SPLITS, CropReport
from glean_plus.prepare.run import Report
from glean_plus.utils.text import printable

SHOWN = 20


def tell_crops(report: CropReport, out: Path) -> None:
    """Print how many crops were made, and what was left out."""
    for note in report.notes:
        print(printable(note))
    for side in SPLITS:
        print(f'{side}: {report.crops[side]} crops of {report.photos[side]} photographs in {out / side}')
    for problem in report.problems[:SHOWN]:
        print(printable(f'  {problem.source}: {problem.kind}: {problem.detail}'))
    if report.problems:
        print(f'{len(report.problems)} problems: all in {out / "problems.csv"}')
    print(f'Sources and licences: {out / CROPS}')


def tell(report: Report, out: Path | None, keep_gray: bool) -> None:
    """Print what was done, and what can be done about files that were left out."""
    for note in report.notes:
        print(printable(note))
    if out is None:
        print(f'{report.pictures} images read')
    else:
        print(f'{report.pictures} images in {out}, {report.new} of them new')
    for problem in report.problems if out is None else report.problems[:SHOWN]:
        print(printable(f'  {problem.source}: {problem.kind}: {problem.detail}'))
    counts = Counter(problem.kind for problem in report.problems)
    if report.problems:
        total = ', '.join(f'{count} {kind}' for kind, count in counts.items())
        print(f'{total}' + ('' if out is None else f': all in {out / "problems.csv"}'))
    if report.lists:
        print(f'Lists: {", ".join(report.lists)}')
    if counts['gray']:
        print('Gray images are taken, and only named here.' if keep_gray else
              'To take the gray images, give the same command with --keep-gray.')  # fmt: skip
    if not report.lists and out is not None:
        print(f'No lists written: fix these files, or leave them out with --allow-problems {len(report.problems)}')
