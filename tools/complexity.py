"""Print parameters and FLOPs of configs, beside the paper's Tables 1 and 5 where those have them.

    python tools/complexity.py configs/glean_face_16x.py configs/lightglean_face_16x.py --in-size 64
    python tools/complexity.py configs/*_16x.py --table

The exit code is 1 if a model that the paper has (64 -> 1024) is outside its tolerance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import glean_plus  # noqa: F401
from glean_plus.analysis.complexity import Complexity, Published, complexity, misses, published_column
from glean_plus.cli.tools import read_config
from glean_plus.utils.terminal import Parser

HEAD = ('model', 'part', 'paper', "ours, paper's accounting", 'ours, kept and computed')
SUMMARY_HEAD = ('config', 'from -> to', 'parameters', 'trained', 'multiply-adds', "FLOPs, paper's accounting")


def rows(name: str, result: Complexity, published: Published | None) -> list[tuple[str, ...]]:
    """A config part by part."""
    lines = []
    name = f'{name} ({result.in_size} -> {result.out_size})'
    for part, count in result.paper.items():
        paper = f'{published.params[part]:g} M' if published else ''
        lines.append((name, part, paper, f'{count / 1e6:.2f} M', f'{result.kept[part] / 1e6:.2f} M'))
        name = ''
    total = f'{published.total:g} M' if published else ''
    kept = f'{sum(result.kept.values()) / 1e6:.2f} M'
    lines.append(('', 'parameters', total, f'{sum(result.paper.values()) / 1e6:.2f} M', kept))
    flops = f'{published.flops:.2f} G' if published else ''
    lines.append(('', 'FLOPs', flops, f'{result.paper_flops / 1e9:.2f} G', f'{result.macs / 1e9:.2f} G multiply-adds'))
    return lines


def summary(name: str, result: Complexity) -> tuple[str, ...]:
    """A config in one line: what it holds, trains and computes."""
    return (
        f'`{name}`',
        f'{result.in_size} -> {result.out_size}',
        f'{sum(result.kept.values()) / 1e6:.2f} M',
        f'{result.trained / 1e6:.2f} M',
        f'{result.macs / 1e9:.2f} G',
        f'{result.paper_flops / 1e9:.2f} G',
    )


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Cells padded to the width of their column, with bars in between."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [' | '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in table]


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    lines = [f'| {" | ".join(line)} |' for line in table]
    return [lines[0], '|---' * len(table[0]) + '|', *lines[1:]]


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', type=Path, help='paths or names')
    parser.add_argument('--in-size', type=int, help='refuse configs of another input size')
    parser.add_argument('--table', action='store_true', help='one line a config, as a Markdown table')
    args = parser.parse_args()

    table: list[tuple[str, ...]] = [SUMMARY_HEAD if args.table else HEAD]
    failures = []
    for path in args.configs:
        generator = read_config(path).model.get('generator')
        if not generator or 'in_size' not in generator:
            sys.exit(f'{path} is no restorer: its model has no generator with an `in_size`.')
        generator = generator.to_dict()
        if args.in_size and generator['in_size'] != args.in_size:
            sys.exit(f'{path} has input size {generator["in_size"]}, not {args.in_size}.')
        published = published_column(generator)
        try:
            result = complexity(generator)
        except ValueError as error:
            sys.exit(f'{path} cannot be counted: {error}')
        table += [summary(path.stem, result)] if args.table else rows(path.stem, result, published)
        if published:
            failures += [f'{path.stem}: {miss}' for miss in misses(result, published)]

    print('\n'.join(markdown(table) if args.table else aligned(table)))
    for failure in failures:
        print(f'MISSED: {failure}')
    sys.exit(bool(failures))


if __name__ == '__main__':
    main()
