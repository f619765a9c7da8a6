"""Records of a run as JSON lines: written while it runs, whole after a kill, continued, and joined."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from glean_plus.cli.main import main
from glean_plus.inference import RestoreError, folder
from glean_plus.inference.folder import Record
from glean_plus.inference.reports import Records, read_report

from conftest import fork
from small_restorers import photo

pytestmark = pytest.mark.usefixtures('exact_speed')


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Forty photographs, of which two are broken."""
    (tmp_path / 'in').mkdir()
    for i in range(40):
        Image.fromarray(photo('chelsea', 8, 8 + i % 2, i, i)).save(tmp_path / 'in' / f'{i:02d}.png')
    for name in ('07.png', '33.png'):
        (tmp_path / 'in' / name).write_bytes(b'no image')
    return tmp_path / 'in'


def lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert text.endswith('\n')
    return [json.loads(line) for line in text.splitlines()]


def test_records_and_the_report_say_the_same(
    source: Path, restore: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, report, write, seen = tmp_path / 'run.jsonl', tmp_path / 'run.json', folder.write, []

    def looking(path: Path, *rest: Any) -> list[str]:
        if path.stem == '39':
            seen.extend(lines(place))
        return write(path, *rest)

    monkeypatch.setattr(folder, 'write', looking)
    assert restore(source, tmp_path / 'out', '--batch', 1, '--records', place, '--json', report) == 1
    *records, end = lines(place)
    whole = json.loads(report.read_text())
    assert len(records) == 40 and records == whole.pop('pictures') and end == whole and not seen[0]['error']
    assert 0 < len(seen) < 40 and records[:len(seen)] == seen
    found = read_report(place)
    assert [json.loads(line) for line in found.sorted()] == sorted(records, key=lambda each: each['input'])
    assert found.content == whole and found.states == dict(restored=38, failed=2)
    assert restore(source, tmp_path / 'out', '--records', place) == 1
    assert len(lines(place)) == 82
    assert read_report(place).states == found.states
    assert restore(source, tmp_path / 'out', '--seed', 3, '--records', place) == 2
    assert 'made otherwise' in lines(place)[-1]['error']
    with pytest.raises(RestoreError, match='ended early'):
        read_report(place)


def test_a_killed_run_leaves_whole_lines_and_is_continued(
    source: Path, light_checkpoint: Path, restore: Callable[..., int], tmp_path: Path, capfd: Any
) -> None:
    out, places = tmp_path / 'out', [tmp_path / f'{i}.jsonl' for i in (1, 2)]
    arguments = ['restore', str(source), str(out), '--device', 'cpu', '--speed', 'exact', '--model',
                 str(light_checkpoint), '--batch', '1', '--shard', '1/2', '--records', str(places[0])]  # fmt: skip
    with open(os.devnull, 'w') as nowhere:
        process = fork(main, arguments, cwd=tmp_path, output=nowhere.fileno())
        while not places[0].exists() or places[0].read_bytes().count(b'\n') < 5:
            assert process.is_alive()
            time.sleep(0.005)
        process.kill()
        process.join()
    before = lines(places[0])
    assert 5 <= len(before) < 20 and all('run' not in each for each in before)
    with pytest.raises(RestoreError, match='it was killed'):
        read_report(places[0])
    with open(places[0], 'ab') as file:
        file.write(b'{"input": "torn')
    options = ('--batch', 1, '--speed', 'exact')
    for i, place in enumerate(places, 1):
        assert restore(source, out, *options, '--shard', f'{i}/2', '--records', place) in (0, 1)
    assert lines(places[0])[:len(before)] == before
    capfd.readouterr()
    assert main(['merge', *map(str, places), '--out', str(tmp_path / 'all.json')]) == 1
    # A kill between an image and its line leaves an image that the second run finds.
    assert re.search('38 restored, 0 there, 2 failed|37 restored, 1 there, 2 failed', capfd.readouterr().err)
    names = [Path(each['input']).name for each in json.loads((tmp_path / 'all.json').read_text())['pictures']]
    assert names == [f'{i:02d}.png' for i in range(40)]


def test_wrong_files_of_records(source: Path, restore: Callable[..., int], tmp_path: Path, capfd: Any) -> None:
    with pytest.raises(SystemExit):
        restore(source, tmp_path / 'out', '--records', tmp_path / 'run.json')
    assert 'name the file NAME.jsonl' in capfd.readouterr().err
    assert restore(source, tmp_path / 'out', '--records', source / '00.png' / 'run.jsonl') == 2
    assert 'The records cannot be written to' in capfd.readouterr().err and not (tmp_path / 'out').exists()


def test_a_torn_line_is_cut_off_however_long(tmp_path: Path) -> None:
    place = tmp_path / 'run.jsonl'
    for before, kept in ((b'', b''), (b'x' * 200_000, b''), (b'{}\n' + b'x' * 200_000, b'{}\n'), (b'{}\n', b'{}\n')):
        place.write_bytes(before)
        records = Records(place)
        records.add(Record('a', 'b', 'restored'))
        assert [json.loads(line)['input'] for line in records] == ['a']
        records.close()
        added = place.read_bytes().removeprefix(kept)
        assert added.startswith(b'{"input": "a", ') and added.count(b"\n") == 1
