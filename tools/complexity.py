"""Print parameters and FLOPs of configs beside the paper's Table 1.

    python tools/complexity.py configs/glean_face_16x.py configs/lightglean_face_16x.py --in-size 64

The exit code is 1 if a model that the table has (64 -> 1024) is outside its tolerance.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import Config

import glean_plus  # noqa: F401
from glean_plus.analysis.complexity import PARTS, TABLE_1, Complexity, Published, complexity, misses


def rows(name: str, result: Complexity, published: Published | None) -> list[tuple[str, ...]]:
    lines = []
    for part in PARTS:
        paper = f'{published.params[part]:.1f} M' if published else ''
        lines.append((name, part, paper, f'{result.paper[part] / 1e6:.2f} M', f'{result.kept[part] / 1e6:.2f} M'))
        name = ''
    total = f'{published.total:.1f} M' if published else ''
    kept = f'{sum(result.kept.values()) / 1e6:.2f} M'
    lines.append(('', 'parameters', total, f'{sum(result.paper.values()) / 1e6:.2f} M', kept))
    flops = f'{published.flops:.2f} G' if published else ''
    lines.append(('', 'FLOPs', flops, f'{result.paper_flops / 1e9:.2f} G', f'{result.macs / 1e9:.2f} G multiply-adds'))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', type=Path)
    parser.add_argument('--in-size', type=int, help='refuse configs of another input size')
    args = parser.parse_args()

    table = [('model', 'part', 'paper', "ours, paper's accounting", 'ours, kept and computed')]
    failures = []
    for path in args.configs:
        generator = Config.fromfile(path).model.generator
        in_size, out_size = generator.in_size, generator.bank.out_size
        if args.in_size and in_size != args.in_size:
            sys.exit(f'{path} has input size {in_size}, not {args.in_size}.')
        light = generator.bank.get('start_res', 4) != 4
        published = TABLE_1['LightGLEAN' if light else 'GLEAN'] if (in_size, out_size) == (64, 1024) else None
        result = complexity(generator.to_dict())
        table += rows(f'{path.stem} ({in_size} -> {out_size})', result, published)
        if published:
            failures += [f'{path.stem}: {miss}' for miss in misses(result, published)]

    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print(' | '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    for failure in failures:
        print(f'MISSED: {failure}')
    sys.exit(bool(failures))


if __name__ == '__main__':
    main()
