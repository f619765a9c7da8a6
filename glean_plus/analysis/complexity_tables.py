"""Parameters and FLOPs of configs as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glean_plus.analysis.complexity import Complexity, Published, complexity, misses, published_column
from glean_plus.utils import tables
from glean_plus.weights.resources import ConfigError, read_config

HEAD = ('model', 'part', 'paper', "ours, paper's accounting", 'ours, kept and computed')
SUMMARY_HEAD = ('config', 'from -> to', 'parameters', 'trained', 'multiply-adds', "FLOPs, paper's accounting")


def rows(name: str, result: Complexity, published: Published | None) -> list[tuple[str, ...]]:
    """A config part by part."""
    lines: list[tuple[str, ...]] = []
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


def summary_row(name: str, result: Complexity) -> tuple[str, ...]:
    """A config in one line: what it holds, trains and computes."""
    return (
        f'`{name}`',
        f'{result.in_size} -> {result.out_size}',
        f'{sum(result.kept.values()) / 1e6:.2f} M',
        f'{result.trained / 1e6:.2f} M',
        f'{result.macs / 1e9:.2f} G',
        f'{result.paper_flops / 1e9:.2f} G',
    )


def tabulate(configs: Sequence[Path], in_size: int | None = None, summary: bool = False) -> tuple[list[str], list[str]]:
    """Count configs.

    Args:
        summary: A Markdown table with one line a config, in place of one with its parts.

    Returns:
        Lines of the table, and where a model is outside the tolerance of what the paper says.

    Raises:
        ConfigError: If a config is no restorer, has another input size, or cannot be counted.
    """
    table: list[tuple[str, ...]] = [SUMMARY_HEAD if summary else HEAD]
    missed = []
    for path in configs:
        generator = read_config(path).model.get('generator')
        if not generator or 'in_size' not in generator:
            raise ConfigError(f'{path} is no restorer: its model has no generator with an `in_size`.')
        generator = generator.to_dict()
        if in_size and generator['in_size'] != in_size:
            raise ConfigError(f'{path} has input size {generator["in_size"]}, not {in_size}.')
        published = published_column(generator)
        try:
            result = complexity(generator)
        except ValueError as error:
            raise ConfigError(f'{path} cannot be counted: {error}') from error
        table += [summary_row(path.stem, result)] if summary else rows(path.stem, result, published)
        if published:
            missed += [f'{path.stem}: {miss}' for miss in misses(result, published)]
    return tables.markdown(table) if summary else tables.aligned(table, ' | '), missed
