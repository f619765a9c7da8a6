"""The table of docs/reference/configs.md: every config, and what its generator has and computes."""

from __future__ import annotations

import re

import torch
from documents import DOCS
from mmagic.registry import MODELS
from mmengine.config import Config

from conftest import CONFIGS, Valueless, cost_of

SIZES = ('from -> to', 'parameters', 'multiply-adds')


def rows_of_the_table() -> list[dict[str, str]]:
    """The rows below `| config |`, column -> cell."""
    text = (DOCS / 'reference' / 'configs.md').read_text()
    (table,) = re.findall(r'^\| config \|.*\n\|[-|]+\n((?:\|.*\n)+)', text, re.MULTILINE)
    (head,) = re.findall(r'^\| config \|.*', text, re.MULTILINE)
    split = lambda line: [cell.strip() for cell in line.strip().strip('|').split('|')]  # noqa: E731
    columns = split(head)
    rows = [split(line) for line in table.splitlines()]
    assert {len(row) for row in rows} == {len(columns)}
    return [dict(zip(columns, row)) for row in rows]


def expected(name: str) -> tuple[str, str, str]:
    """What the columns SIZES must say."""
    generator = Config.fromfile(CONFIGS / f'{name}.py').model.generator.to_dict()
    if 'in_size' in generator:
        result = cost_of(generator)
        parameters = f'{sum(result.kept.values()) / 1e6:.2f} M'
        return f'{result.in_size} -> {result.out_size}', parameters, f'{result.macs / 1e9:.2f} G'
    with torch.device('meta'), Valueless():
        bank = MODELS.build(generator)
    return f'noise -> {bank.out_size}', f'{sum(p.numel() for p in bank.parameters()) / 1e6:.2f} M', ''


def test_table_has_every_config_with_its_size_and_its_command() -> None:
    rows = rows_of_the_table()
    names = [row['config'].strip('`') for row in rows]
    assert sorted(names) == sorted(path.stem for path in CONFIGS.glob('*.py'))
    for name, row in zip(names, rows):
        assert row['command'] == f'`mim train glean_plus {name}.py`'
        assert tuple(row[column] for column in SIZES) == expected(name), name
