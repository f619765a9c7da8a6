"""Checkpoints whose configs describe networks that cannot be, or that are not those of their tensors."""

from __future__ import annotations

import copy
import functools
import io
import os
import tempfile
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from glean_plus.cli.main import main
from glean_plus.weights.torch_files import load_plain

from fuzzing import Finding
from hostile_bytes import Rng
from small_restorers import PREPROCESSOR, generator_config, write_checkpoint

# What a config says of a network, by place: each is needed, so that no other value of it fits the tensors.
PLACES = [
    ('in_size',), ('bank', 'out_size'), ('bank', 'start_res'), ('bank', 'style_channels'), ('bank', 'channels'),
    ('bank', 'channels', 8), ('bank', 'channels', 16), ('bank', 'channels', 32), ('bank', 'type'), ('bank',),
    ('encoder', 'num_rrdbs'), ('encoder', 'rrdb_channels'), ('encoder', 'growth_channels'), ('encoder', 'in_channels'),
    ('encoder', 'type'), ('encoder',), ('decoder', 'width_ratio'), ('decoder', 'last_channels'),
    ('decoder', 'bank_resolutions'), ('decoder', 'out_channels'), ('decoder',), ('codes',), ('fuse',), ('type',),
]  # fmt: skip
LEVELS = [('mean',), ('std',)]
ABSURD = [
    0, -1, -(2**40), 3, 7, 10**4, 10**6, 2**20, 2**31, 2**63, 10**4000, 0.5, -0.0, 1e-300, 1e300, '1e999', '-1e999',
    'x', '', 'GLEAN', 'os.system', [], [[]], [[[4]]], {}, {4: {4: 4}}, {'type': 'GLEAN'}, (2**20,) * 9, '1+2j', "b'x'",
    '...',
]  # fmt: skip
LITERALS = {'1e999', '-1e999', '1+2j', "b'x'", '...'}


class Literal(str):
    """Text that is written into a config as it is."""

    def __repr__(self) -> str:
        return str(self)


@functools.lru_cache
def valid(light: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return load_plain(write_checkpoint(Path(folder) / 'x.pth', generator_config(light)))


def absurd(rng: Rng) -> Any:
    value = rng.choice(ABSURD)
    return Literal(value) if isinstance(value, str) and value in LITERALS else value


def make_network(rng: Rng, folder: Path) -> Path:
    light = rng.random() < 0.5
    generator, preprocessor = copy.deepcopy(generator_config(light)), copy.deepcopy(PREPROCESSOR)
    levels = rng.random() < 0.1
    for place in rng.sample(LEVELS if levels else PLACES, 1 if levels else rng.choice((1, 1, 2, 3))):
        part: Any = preprocessor if levels else generator
        for name in place[:-1]:
            part = part.setdefault(name, {}) if isinstance(part, dict) else {}
        if isinstance(part, dict):
            before = part.get(place[-1])
            levels_of = ('x', -1, 0, [1, 2, 3], [], Literal('1e999'), {})
            part[place[-1]] = rng.choice(levels_of) if levels else absurd(rng)
            if part[place[-1]] == before or (levels and place == ('mean',) and part[place[-1]] in (-1, 0)):
                part[place[-1]] = Literal('1e999')
    model = dict(type='GLEANRestorer', generator=generator, ema=dict(decay=0.9), data_preprocessor=preprocessor)
    path = folder / 'x.pth'
    torch.save({**valid(light), 'meta': dict(cfg=f'model = {written(model)}\n')}, path)
    return path


def written(value: Any) -> str:
    """As Python writes it, also numbers of more digits than it writes."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{written(key)}: {written(each)}' for key, each in value.items()) + '}'
    return '9' * 4001 if isinstance(value, int) and value > 10**400 else repr(value)


def use_network(path: Path, folder: Path) -> list[str]:
    """As the command does: a sentence, exit code 2, and no result."""
    Image.new('RGB', (16, 16), (200, 100, 50)).save(folder / 'in.png')
    said = io.StringIO()
    with redirect_stderr(said):
        places = [str(folder / 'in.png'), str(folder / 'out.png')]
        code = main(['restore', *places, '--model', str(path), '--device', 'cpu'])
    lines = said.getvalue().splitlines()
    if code != 2 or len(lines) != 1 or path.name not in lines[0] or len(lines[0]) > 2000:
        raise Finding(f'exit code {code}: {said.getvalue()[:500]!r}')
    if os.path.exists(folder / 'out.png'):
        raise Finding('a result was written')
    return ['refused']
