"""One run divided among processes: names, resumption, kills, divisions that do not agree, and joined reports."""

from __future__ import annotations

import glob
import json
import os
import random
import re
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import DOCS, commands
from PIL import Image

from glean_plus.cli.main import main
from glean_plus.inference import RestoreError
from glean_plus.inference.shards import Shard, parse_shard
from glean_plus.utils.locks import hold, holder

from conftest import fork
from small_restorers import photo

pytestmark = pytest.mark.usefixtures('exact_speed')


def folder_of(path: Path, count: int, broken: int) -> Path:
    path.mkdir()
    for i in range(count):
        Image.fromarray(photo('chelsea', 8 + i % 3, 9, i % 50, i % 70)).save(path / f'{i:03d}.png')
    for i in range(broken):
        (path / f'{7 * i + 3:03d}.png').write_bytes(b'no image')
    return path


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob('*.png')}


def left_over(out: Path) -> list[str]:
    """Partial files and locks."""
    return [path.name for path in out.rglob('*') if path.name.startswith('.') or path.suffix == '.part']


def test_places_of_processes() -> None:
    assert parse_shard('2/4') == Shard(2, 4)
    array = {f'SLURM_ARRAY_TASK_{name}': value for name, value in dict(ID='10', COUNT='4', MIN='4', STEP='2').items()}
    assert parse_shard('auto', array | dict(RANK='0', WORLD_SIZE='9')) == Shard(4, 4)
    assert parse_shard('auto', dict(SLURM_ARRAY_TASK_ID='0', SLURM_ARRAY_TASK_COUNT='3')) == Shard(1, 3)
    assert parse_shard('auto', dict(RANK='1', WORLD_SIZE='2')) == Shard(2, 2)
    for text, environment, words in (
        ('4', {}, 'I/N, such as 2/4'), ('0/4', {}, 'no shard 0/4'), ('5/4', {}, 'no shard 5/4'),
        ('auto', {}, 'RANK is not set'), ('auto', dict(RANK='1'), 'WORLD_SIZE is not set'),
        ('auto', dict(RANK='x', WORLD_SIZE='2'), 'no numbers'),
        ('auto', dict(RANK='2', WORLD_SIZE='2'), 'no shard 3/2'),
    ):  # fmt: skip
        with pytest.raises(RestoreError, match=words):
            parse_shard(text, environment)


def test_each_file_is_in_one_shard_and_shards_are_alike() -> None:
    names = [f'{i % 7}/{i:05d}.png' for i in range(9000)]
    shares = [[name for name in names if Shard(i, 3).has(name)] for i in (1, 2, 3)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(2800 < len(share) < 3200 for share in shares)


def test_shards_make_what_one_run_makes(restore: Callable[..., int], tmp_path: Path, capfd: Any) -> None:
    source, whole, out = folder_of(tmp_path / 'in', 11, 2), tmp_path / 'whole', tmp_path / 'out'
    Image.fromarray(photo('coffee', 8, 8)).save(source / '000.jpg')  # beside 000.png: both keep their endings
    (source / 'notes.txt').touch()
    assert restore(source, whole, '--json', tmp_path / 'whole.json') == 1
    capfd.readouterr()
    reports = []
    for i in (1, 2, 3):
        reports.append(tmp_path / f'{i}.json')
        assert restore(source, out, '--shard', f'{i}/3', '--json', reports[-1]) in (0, 1)
    assert capfd.readouterr().err.count('ending: 1 .txt') == 1
    assert bytes_of(out) == bytes_of(whole) and len(bytes_of(out)) == 10
    assert restore(source, out, '--shard', '1/3') in (0, 1) and ' 0 restored' in capfd.readouterr().err

    assert main(['merge', *map(str, reversed(reports)), '--out', str(tmp_path / 'all.json')]) == 1
    assert '3 reports: 10 restored, 0 there, 2 failed' in capfd.readouterr().err
    merged, single = (json.loads((tmp_path / name).read_text()) for name in ('all.json', 'whole.json'))
    assert merged['run'] == single['run'] and [each['shard'] for each in merged['about']] == ['3/3', '2/3', '1/3']
    states = [{each['input']: each['state'] for each in report['pictures']} for report in (merged, single)]
    assert states[0] == states[1]
    twice = tmp_path / '4.json'
    twice.write_bytes(reports[0].read_bytes())
    for given, words in (
        (reports[:2], 'missing: 3/3'), ([*reports, twice], 'both of shard 1/3'),
        ([tmp_path / 'whole.json'], 'of a whole run'),
        ([tmp_path / 'nosuch.json'], 'No such file'), ([source / '000.png'], 'cannot be read as a report'),
    ):  # fmt: skip
        assert main(['merge', *map(str, given)]) == 2 and words in capfd.readouterr().err


def test_documented_slurm_array(
    restore: Callable[..., int], tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job with what SLURM would tell it."""
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / 'photos', 12, 1)
    assert restore('photos', 'whole') == 1
    lines = commands(DOCS / 'guides' / 'scale.md')
    submit, merge = (line for line in lines if re.match('sbatch|glean-plus merge', line))
    words = shlex.split(submit)
    assert '--array=1-16' in words and words[-2] == '--wrap'
    for name, value in dict(COUNT=16, MIN=1, STEP=1).items():
        monkeypatch.setenv(f'SLURM_ARRAY_TASK_{name}', str(value))
    for place in range(1, 17):
        monkeypatch.setenv('SLURM_ARRAY_TASK_ID', str(place))
        assert restore(*shlex.split(os.path.expandvars(words[-1]))[2:]) in (0, 1)
    assert bytes_of(Path('restored')) == bytes_of(Path('whole')) and len(bytes_of(Path('whole'))) == 11
    words = [each for word in shlex.split(merge) for each in (sorted(glob.glob(word)) or [word])]
    assert len(words) == 20 and main(words[1:]) == 1
    assert '16 reports: 11 restored, 0 there, 1 failed' in capfd.readouterr().err


def test_divisions_that_do_not_agree(restore: Callable[..., int], tmp_path: Path, capfd: Any) -> None:
    source, out = folder_of(tmp_path / 'in', 4, 0), tmp_path / 'out'
    assert restore(source, out, '--shard', '1/2') == 0
    for options, words in (
        (['--shard', '1/3'], 'a run in 2 shards, not 3'), (['--shard', '2/2', '--seed', '5'], 'seed None, now 5'),
        ([], 'of no run that is known'), (['--shard', 'x'], 'such as 2/4'),
    ):  # fmt: skip
        capfd.readouterr()
        assert restore(source, out, *options) == 2 and words in capfd.readouterr().err
    assert restore(source / '000.png', tmp_path / 'x.png', '--shard', '1/2') == 2
    assert 'A single file is not divided' in capfd.readouterr().err and not left_over(out)


def test_a_whole_run_and_a_shard_keep_apart(restore: Callable[..., int], tmp_path: Path, capfd: Any) -> None:
    source, out = folder_of(tmp_path / 'in', 2, 0), tmp_path / 'out'
    out.mkdir()
    lock = out / '.glean-plus.run.json.lock'
    with hold(lock):
        assert restore(source, out, '--shard', '1/2') == 2 and 'Another run' in capfd.readouterr().err
    with hold(lock, shared=True):
        assert holder(lock) and restore(source, out) == 2 and 'Another run' in capfd.readouterr().err
        assert restore(source, out, '--shard', '1/2') == 0
        assert lock.exists()
    assert not left_over(out)


def divided(source: Path, out: Path, checkpoint: Path, count: int, kill_after: Callable[[], float] | None) -> None:
    """Restore in shards at the same time; each is killed at a random moment, if asked for, and begins again."""
    logs = [open(out.parent / f'{out.name}.{i}.log', 'w+b') for i in range(count)]  # noqa: SIM115

    def start(i: int) -> Any:
        arguments = [
            'restore', str(source), str(out), '--device', 'cpu', '--speed', 'exact', '--model', str(checkpoint),
            '--shard', f'{i + 1}/{count}', '--json', f'{out}.{i}.json',
        ]  # fmt: skip
        return fork(main, arguments, cwd=out.parent, output=logs[i].fileno())

    processes = [start(i) for i in range(count)]
    if kill_after is not None:
        ends = sorted((time.monotonic() + kill_after(), i) for i in range(count))
        for end, i in ends:
            time.sleep(max(0, end - time.monotonic()))
            if processes[i].is_alive():
                os.kill(processes[i].pid, signal.SIGKILL)
            processes[i].join()
            processes[i] = start(i)
    for process, log in zip(processes, logs):
        process.join(300)
        log.seek(0)
        assert process.exitcode == 0, log.read().decode()
        log.close()


def check_divided(out: Path, whole: dict[str, bytes], count: int, broken: int) -> None:
    assert bytes_of(out) == whole and not left_over(out)
    reports = [json.loads((out.parent / f'{out.name}.{i}.json').read_text()) for i in range(count)]
    failed = [each['input'] for report in reports for each in report['pictures'] if each['state'] == 'failed']
    assert len(failed) == len({*failed}) == broken


def test_shards_at_the_same_time(restore: Callable[..., int], light_checkpoint: Path, tmp_path: Path) -> None:
    source = folder_of(tmp_path / 'in', 30, 3)
    assert restore(source, tmp_path / 'whole', '--speed', 'exact') == 1
    moments = np.random.default_rng().uniform(0, 2, 100).tolist()
    divided(source, tmp_path / 'out', light_checkpoint, 3, moments.pop)
    check_divided(tmp_path / 'out', bytes_of(tmp_path / 'whole'), 3, 3)


@pytest.mark.soak
def test_shards_that_are_killed(restore: Callable[..., int], light_checkpoint: Path, tmp_path: Path) -> None:
    """Four shards on 200 images of which five are broken, each killed at a random time and started again, 20 times."""
    source = folder_of(tmp_path / 'in', 200, 5)
    assert restore(source, tmp_path / 'whole', '--speed', 'exact') == 1
    whole, seed = bytes_of(tmp_path / 'whole'), random.SystemRandom().getrandbits(32)
    assert len(whole) == 195
    moments = random.Random(seed)
    for repetition in range(20):
        divided(source, tmp_path / f'out{repetition}', light_checkpoint, 4, lambda: moments.uniform(0, 8))
        check_divided(tmp_path / f'out{repetition}', whole, 4, 5)
    print(f'20 repetitions, seed {seed}')
