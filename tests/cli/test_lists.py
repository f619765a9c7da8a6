"""Inputs that a list names."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from glean_plus.inference.jobs import find_jobs

from small_restorers import photo

pytestmark = pytest.mark.usefixtures('exact_speed')


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """a/0.png, b/0.png, b/c/0.jpg, b/not asked for.png, and a text."""
    for name in ('a/0.png', 'b/0.png', 'b/c/0.jpg', 'b/not asked for.png'):
        path = tmp_path / 'in' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo('chelsea', 8, 9)).save(path)
    (tmp_path / 'in' / 'b' / 'x.txt').write_text('no image')
    return tmp_path / 'in'


def lines(source: Path) -> bytes:
    names = ['a/0.png', 'b/../b/0.png', 'b/0.png', 'b/c/0.jpg', 'b/gone.png', 'b/x.txt']
    return '\r\n'.join([*(str(source / name) for name in names), '']).encode()


@pytest.mark.parametrize('how', ['file', 'standard input'])
def test_what_a_list_names_is_restored(
    how: str, source: Path, restore: Callable[..., int], tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, report = tmp_path / 'out', tmp_path / 'report.json'
    if how == 'file':
        (tmp_path / 'names.txt').write_bytes(lines(source))
        given = [out, '--list', tmp_path / 'names.txt']
    else:
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(lines(source))))
        given = ['-', out]
    assert restore(*given, '--json', report) == 1
    assert {path.relative_to(out).as_posix() for path in out.rglob('*.png')} == {'a/0.png', 'b/0.png', 'b/c/0.png'}
    pictures = json.loads(report.read_text())['pictures']
    assert {each['input'].removeprefix(f'{source}/'): each['state'] for each in pictures} == {
        'a/0.png': 'restored', 'b/0.png': 'restored', 'b/c/0.jpg': 'restored', 'b/gone.png': 'failed',
        'b/x.txt': 'failed',
    }  # fmt: skip
    assert f'{source}/b/gone.png: ' in capfd.readouterr().err


def test_relative_names(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source)
    for names, targets in (
        (['a/0.png', 'b/c/0.jpg'], ['a/0.png', 'b/c/0.png']), (['b/c/0.jpg'], ['0.png']),
        (['a/0.png', str(source / 'b' / '0.png')], ['a/0.png', 'b/0.png']),
    ):  # fmt: skip
        jobs = [*find_jobs(names, tmp_path / 'out')]
        assert [job.target.relative_to(tmp_path / 'out').as_posix() for job in jobs] == targets


def test_wrong_lists(source: Path, restore: Callable[..., int], tmp_path: Path, capfd: Any) -> None:
    names, out = tmp_path / 'names.txt', tmp_path / 'out'
    for content, words in ((None, 'cannot be read'), (b'\n\n', 'names no files'), (b'a\0b', 'zero bytes')):
        if content is not None:
            names.write_bytes(content)
        assert restore(out, '--list', names) == 2 and words in capfd.readouterr().err
    names.write_bytes(lines(source))
    assert restore(source, '--list', names) == 2 and 'among their inputs' in capfd.readouterr().err
    for given, words in (([source, out, '--list', names], 'not both'), ([out], 'give IN and OUT, or OUT and --list')):
        with pytest.raises(SystemExit) as stopped:
            restore(*given)
        assert stopped.value.code == 2 and words in capfd.readouterr().err
    assert not out.exists()
