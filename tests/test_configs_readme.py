"""The table of configs/README.md: every config, and what its generator has and computes."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from torch.overrides import TorchFunctionMode

from glean_plus.analysis.complexity import complexity

from conftest import CONFIGS

SIZES = ('from -> to', 'parameters', 'multiply-adds')


def rows_of_the_table() -> list[dict[str, str]]:
    """The rows below `| config |`, column -> cell."""
    text = (CONFIGS / 'README.md').read_text()
    (table,) = re.findall(r'^\| config \|.*\n\|[-|]+\n((?:\|.*\n)+)', text, re.MULTILINE)
    (head,) = re.findall(r'^\| config \|.*', text, re.MULTILINE)
    split = lambda line: [cell.strip() for cell in line.strip().strip('|').split('|')]  # noqa: E731
    columns = split(head)
    rows = [split(line) for line in table.splitlines()]
    assert {len(row) for row in rows} == {len(columns)}
    return [dict(zip(columns, row)) for row in rows]


class Valueless(TorchFunctionMode):
    """Leaves out what changes values alone: there are none on the meta device, and it is half of the time."""

    names = (
        'normal_', 'uniform_', 'fill_', 'zero_', 'constant_', 'kaiming_normal_', 'kaiming_uniform_', 'mul_',
        'normalize', 'leaky_relu', 'relu',
    )  # fmt: skip

    def __torch_function__(
        self, function: Callable, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(function, '__name__', '') in self.names:
            return args[0] if args else next(iter(kwargs.values()))
        return function(*args, **(kwargs or {}))


def with_whole_keys(data: dict[str, Any]) -> dict[Any, Any]:
    """Resolution -> channels has whole numbers for keys, which JSON lacks."""
    return {int(key) if key.isdecimal() else key: value for key, value in data.items()}


def generator_of(name: str) -> str:
    """The generator of a config as JSON, without the bank's file: many configs differ in that alone."""
    generator = Config.fromfile(CONFIGS / f'{name}.py').model.generator.to_dict()
    generator.get('bank', {}).pop('pretrained', None)
    return json.dumps(generator, sort_keys=True)


@functools.cache
def expected(generator_json: str) -> tuple[str, str, str]:
    """What the columns SIZES must say."""
    generator = json.loads(generator_json, object_hook=with_whole_keys)
    if 'in_size' in generator:
        result = complexity(generator)
        parameters = f'{sum(result.kept.values()) / 1e6:.2f} M'
        return f'{result.in_size} -> {result.out_size}', parameters, f'{result.macs / 1e9:.2f} G'
    with torch.device('meta'):
        bank = MODELS.build(generator)
    return f'noise -> {bank.out_size}', f'{sum(p.numel() for p in bank.parameters()) / 1e6:.2f} M', ''


def test_table_has_every_config_with_its_size_and_its_command() -> None:
    rows = rows_of_the_table()
    names = [row['config'].strip('`') for row in rows]
    assert sorted(names) == sorted(path.stem for path in CONFIGS.glob('*.py'))
    for name, row in zip(names, rows):
        assert row['command'] == f'`mim train glean_plus {name}.py`'
        with Valueless():
            assert tuple(row[column] for column in SIZES) == expected(generator_of(name)), name
