"""Hostile cards, bounds, manifests and configs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from glean_plus.inference import manifest
from glean_plus.inference.source import find, literal
from glean_plus.inference.thresholds import bounds_path, read_bounds
from glean_plus.weights import read_card

from hostile_bytes import CANARY, Rng, any_json, mutated, nested, outcome
from hostile_weights import CARD, saved, tensors


def make_card(rng: Rng, folder: Path) -> Path:
    path = folder / 'x.json'
    content: Any = dict(CARD, extra={}, sha256='0' * 64, size=3)
    for _ in range(rng.choice((1, 2, 4))):
        content[rng.choice((*content, 'more'))] = any_json(rng)
    how = rng.randrange(8)
    if how == 0:
        content = any_json(rng)
    for name in ('x.json', 'bounds.json', 'run.json'):
        given = (
            dict(weights='x', figures={'a': dict(side='low', bound=1, used=True)}, side=64)
            if name[0] == 'b'
            else content
        )
        if name[0] == 'b':
            given[rng.choice((*given, 'figures'))] = any_json(rng)
        if name[0] == 'r':
            given = {'run': any_json(rng)} if rng.random() < 0.8 else any_json(rng)
        text = digits(given)
        if how == 1:
            text = nested(rng)
        (folder / name).write_bytes(mutated(rng, text.encode()) if how < 4 and how != 1 else text.encode())
    return path


def digits(value: Any) -> str:
    """JSON with as many digits as the numbers have, which Python itself does not write."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value)
    finally:
        sys.set_int_max_str_digits(before)


def use_card(path: Path, folder: Path) -> list[str]:
    weights = folder / 'w.safetensors'
    text = path.read_bytes().decode('utf-8', 'replace').encode('utf-8', 'replace').decode()
    weights.write_bytes(save({'a': torch.zeros(1)}, metadata=dict(card=text)))
    bounds = bounds_path(weights)
    bounds.parent.mkdir()
    (folder / 'bounds.json').rename(bounds)
    return [
        outcome(lambda: read_card(path), path.name),
        outcome(lambda: find(weights), weights.name),
        outcome(lambda: read_bounds(weights), bounds.name),
        outcome(lambda: manifest.goes_on(folder / 'run.json', dict(run=dict(model='x'))), 'run.json'),
    ]


def expression(rng: Rng, depth: int = 3) -> str:
    kind = rng.randrange(14 if depth else 8)
    if kind < 8:
        return rng.choice(
            (
                '1',
                '-1',
                '1e999',
                'None',
                "'x'",
                '2**99999999',
                '10**10**10',
                f"__import__('{CANARY}')",
                'x',
                'dict',
                '1+2j',
                "'a' * 10**10",
                '[0] * 10**10',
                "f'{1}'",
                '(lambda: 1)()',
                '...',
                '{1, 2}',
                '9' * 5000,
                "b'x'",
                "'\\N{DIGIT ONE}'",
            )
        )
    parts = [expression(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 8:
        return f'[{", ".join(parts)}]'
    if kind == 9:
        return f'({", ".join(parts)})'
    if kind == 10:
        return f'dict({", ".join(parts)})'
    if kind == 11:
        return f'{{{", ".join(f"{part}: 1" for part in parts)}}}'
    if kind == 12:
        return f'dict(**{parts[0] if parts else {}}, _scope_={CANARY!r}, type={CANARY!r})'
    name = rng.choice(('subprocess.call', 'GLEAN', f'{CANARY}.run'))
    return f'dict(type={name!r}, generator={parts[0] if parts else 1}, in_size=1)'


def make_config(rng: Rng, folder: Path) -> Path:
    how = rng.randrange(6)
    if how == 0:
        text = f'model = {expression(rng)}\n'
    elif how == 1:
        depth = rng.choice((90, 500, 20_000))
        one, end = rng.choice([
            ('[', ']'), ('(', ')'), ('{1:', '}'), ('dict(a=', ')'), ('-', ''), ('not ', ''), ('1+', ''),
        ])  # fmt: skip
        text = f'model = {one * depth}1{end * depth}\n'
    elif how == 2:
        text = rng.randbytes(99).decode('latin1')
    else:
        part = rng.choice(('encoder', 'bank', 'decoder', '_scope_', 'in_size', 'type'))
        text = (
            f'model = dict(type="GLEANRestorer", generator=dict(type="GLEAN", in_size=16, {part}={expression(rng)}))\n'
        )
        if how == 3:
            text = mutated(rng, text.encode()).decode('utf-8', 'replace')
    path = folder / 'x.pth'
    path.write_bytes(saved(dict(state_dict=tensors(), meta=dict(cfg=text))))
    return path


def use_config(path: Path, folder: Path) -> list[str]:
    text = torch.load(path, weights_only=True)['meta']['cfg']
    return [outcome(lambda: find(path), path.name), outcome(lambda: literal(text, 'model', path.name), path.name)]
