"""Folders and lists of any length: a few files are held at a time, and each folder is listed once."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glean_plus.inference import folder
from glean_plus.inference.base import PictureRestorer, Restored
from glean_plus.inference.folder import Record, restore_files
from glean_plus.inference.image import Picture
from glean_plus.inference.jobs import FIRST, Job, Jobs, find_jobs, read_list
from glean_plus.inference.pipeline import AHEAD
from glean_plus.inference.reports import Records

from conftest import ROOT

FOLDERS = 10
LINKS = 10_000  # names of one file; file systems have bounds


class Copier(PictureRestorer):
    """In place of a network: results are their inputs."""

    scale = 1
    memory = 2**30

    def batch_of(self, picture: Picture) -> int:
        return 8

    def restoration(self, pictures: Sequence[Picture], assess: bool = False) -> Restored:
        return _Copies(self, pictures, pictures[0].layers)

    def run_facts(self) -> dict[str, Any]:
        return {}

    about_facts = run_facts


class _Copies(Restored):
    def __iter__(self) -> Iterator[list[np.ndarray]]:
        yield [picture.image for picture in self.pictures]


def make_names(path: Path, count: int) -> Path:
    """So many names over ten folders; below, 8 x 8 pixels."""
    for i in range(FOLDERS):
        (path / f'{i}').mkdir(parents=True)
        for j in range(count // FOLDERS):
            name = f'{path}/{i}/{j:06d}.png'
            if j % LINKS == 0:
                Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)).save(name)
                first = name
            else:
                os.link(first, name)
    return path


@pytest.mark.parametrize('how', ['folder', 'list'])
def test_what_is_held_does_not_grow_with_the_list(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 names; reading and writing are left out, which cost the same for each."""
    count = 20_000
    source, scandir, listed = make_names(tmp_path / 'in', count), os.scandir, Counter[str]()
    picture = Picture(np.zeros((8, 8, 3), np.uint8))
    held, states = dict(jobs=0, records=0), Counter[str]()

    def listing(path: Any = '.') -> Any:
        found = scandir(path)
        listed[os.fspath(path)] += 1
        return found

    def write(path: Path, rows: Iterator[np.ndarray], *rest: Any) -> list[str]:
        assert len(list(rows)) == 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return []

    def record(each: Record) -> None:
        states[each.state] += 1
        if states.total() % 5000 == 0:
            kinds = Counter(type(one) for one in gc.get_objects())
            held.update(jobs=max(held['jobs'], kinds[Job]), records=max(held['records'], kinds[Record]))

    monkeypatch.setattr(os, 'scandir', listing)
    monkeypatch.setattr('glean_plus.inference.pipeline.read', lambda path: picture)
    monkeypatch.setattr(folder, 'write', write)

    given: str | list[str] = str(source)
    if how == 'list':
        (tmp_path / 'names.txt').write_text('\n'.join(f'{source}/{i % 10}/{i // 10:06d}.png' for i in range(count)))
        given = read_list(str(tmp_path / 'names.txt'))
    folders = [str(source), *(f'{source}/{i}' for i in range(FOLDERS))] if how == 'folder' else []
    for state, results in (('restored', []), ('there', [f'{tmp_path}/out/{i}' for i in range(FOLDERS)])):
        listed.clear()
        states.clear()
        restore_files(Copier(), find_jobs(given, tmp_path / 'out'), record=record)
        assert states == Counter({state: count})
        assert 0 < held['jobs'] < AHEAD + FIRST + 2000 and held['records'] <= 2
        below = {name: times for name, times in listed.items() if name.startswith(str(tmp_path))}
        assert below == dict.fromkeys([*folders, f'{tmp_path}/out', *results], 1)


def measure(count: int, how: str) -> None:
    """Print what it takes to restore so many names: a fresh run, and one that finds all results there."""
    given: str | list[str] = 'in' if how == 'folder' else read_list('names.txt')
    restorer = Copier()
    warm = find_jobs('warm', Path('warm.out'))
    restore_files(restorer, warm)
    before, figures = _resident('VmRSS'), dict[str, Any](count=count, how=how)
    for run in ('fresh', 'resumed'):
        first: list[float] = []
        begin = time.process_time()
        records = Records(Path('run.jsonl'))

        def record(each: Record, first: list[float] = first, records: Records = records) -> None:
            if not first:
                first.append(time.process_time())
            records.add(each)

        jobs: Jobs = find_jobs(given, Path('out'))
        given = given if how == 'folder' else []
        counts, _ = restore_files(restorer, jobs, record=record)
        records.close()
        assert counts['restored' if run == 'fresh' else 'there'] == count, counts
        end = time.process_time()
        figures[run] = dict(
            startup=first[0] - begin, per_image_us=(end - first[0]) / count * 1e6,
            peak_mb=(_resident('VmHWM') - before) / 2**20,
        )  # fmt: skip
        if how == 'list':
            given = read_list('names.txt')
    print(json.dumps(figures))


def _resident(what: str) -> int:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{what}:'):
            return int(line.split()[1]) * 1024
    raise KeyError(what)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != 'linux', reason='the peak is read from /proc')
@pytest.mark.parametrize('how', ['folder', 'list'])
def test_many_names(how: str, tmp_path: Path) -> None:
    """Start-up, memory and time of each image do not grow with the number of names; a process of its own for each.

    The last number is 1,000,000 with NAMES=1000000 in the environment, which takes most of an hour.
    """
    figures = []
    for count in (10_000, int(os.environ.get('NAMES', 50_000))):
        place = tmp_path / str(count)
        make_names(place / 'in', count)
        make_names(place / 'warm', FOLDERS)
        (place / 'names.txt').write_text('\n'.join(str(path) for path in (place / 'in').rglob('*.png')))
        code = f'from {__name__} import measure; measure({count}, {how!r})'
        output = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code], cwd=place, check=True, text=True, stdout=subprocess.PIPE,
            env=os.environ | dict(PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path])),
        ).stdout  # fmt: skip
        figures.append(json.loads(output.splitlines()[-1]))
        print(output.splitlines()[-1], flush=True)
    for run in ('fresh', 'resumed'):
        small, most = figures[0][run], figures[-1][run]
        assert most['peak_mb'] < 300
        assert most['startup'] < (1 if how == 'folder' else 10)
        assert most['per_image_us'] < 1.5 * small['per_image_us']
