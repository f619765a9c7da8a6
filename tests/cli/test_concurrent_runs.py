"""Runs of `glean-plus restore`: odd names and dates, several at once, places and streams that go away, reports."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from test_video import make_clip

from glean_plus.cli import main as command
from glean_plus.cli.main import main
from glean_plus.inference import Restorer, claims
from glean_plus.inference import folder as restore_folder
from glean_plus.utils.files import sweep, whole_or_not_at_all
from glean_plus.utils.locks import Locked, hold, holder
from glean_plus.utils.text import printable
from glean_plus.weights.errors import WeightsError, brief

from conftest import ROOT, fork
from small_restorers import generator_config, photo

pytestmark = pytest.mark.usefixtures('exact_speed')

NAMES = ('a b.png', 'ü é.png', '100%d.png', 'x[1].png', "q'uote.png", 'UPPER.JPEG', 'n.a.m.e.png', '😀.png',
         'new\nline.png', '-dash.png', 'tail .png', '\x1b[31mred\x1b]0;title\x07.png', '\u202egnp.exe.png')  # fmt: skip


def results(out: Path) -> dict[str, int]:
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob('*.png')}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four photographs."""
    folder = tmp_path / 'in'
    folder.mkdir()
    for i in range(4):
        Image.fromarray(photo('astronaut', 16, 20, 10 * i)).save(folder / f'{i}.png')
    return folder


def test_every_name_is_restored_under_its_own(restore: Callable[..., int], capsys: Any, tmp_path: Path) -> None:
    source, out = tmp_path / 'in [1] 100%', tmp_path / 'out [1] %s'
    source.mkdir()
    for i, name in enumerate(NAMES):
        Image.fromarray(photo('coffee', 8, 8, 10 * i)).save(source / name)
    undecodable = os.fsencode(source) + b'/bad\xff.png'
    Image.fromarray(photo('coffee', 8, 8)).save(undecodable)
    (source / 'broken\n\x1b[2J.png').write_bytes(b'no image')
    (source / '.hidden.png').touch()
    assert restore(source, out, '--json', '-') == command.FAILED
    said = capsys.readouterr()
    records = {os.fsencode(each['input']): each for each in json.loads(said.out)['pictures']}
    assert {*records} == {*(os.fsencode(source / name) for name in (*NAMES, 'broken\n\x1b[2J.png')), undecodable}
    restored = [each for each in records.values() if each['state'] == 'restored']
    assert len(restored) == len(NAMES) + 1 and all(Path(each['output']).stem == Path(each['input']).stem
                                                   and Path(each['output']).is_file() for each in restored)  # fmt: skip
    assert '\x1b[2J' not in said.err and 'broken\\n\\x1b[2J.png: it is no image' in said.err
    assert 'Hidden files passed over: 1' in said.err


def test_text_of_strangers_is_printable() -> None:
    text = 'a\x1b[31m\n\r\t\x07\u202e\u2028\x9b\udcff\ue000 é 😀'
    assert printable(text) == r'a\x1b[31m\n\r\t\x07\u202e\u2028\x9b\xff\ue000 é 😀'
    assert brief('a  b\n\x1b[2J\u202e\ud800') == r'a b \x1b[2J\u202e\ud800'
    assert str(WeightsError('a\x1b[2J\ud800\nb\x9b')) == 'a\\x1b[2J\\ud800\nb\\x9b'


@pytest.mark.parametrize('call', [
    'restore \x1b[2J out', 'restore a b \x1b[2J', 'export zzz\x1b[2J x.ts', 'prepare folder \x1b[2J out --size 16',
])
def test_no_command_prints_what_a_terminal_obeys(call: str, capsys: Any) -> None:
    with contextlib.suppress(SystemExit):
        assert main(call.split(' ')) == command.WRONG
    assert '\x1b' not in (said := capsys.readouterr().err) and '\\x1b[2J' in said


def test_a_date_in_the_future_is_not_newer_for_ever(
    restore: Callable[..., int], source: Path, capsys: Any, tmp_path: Path
) -> None:
    later = time.time() + 1e8
    os.utime(source / '0.png', (later, later))
    assert restore(source, tmp_path / 'out') == 0 and restore(source, tmp_path / 'out') == 0
    assert '4 there already' in capsys.readouterr().err
    (source / '0.png').write_bytes((source / '1.png').read_bytes())
    os.utime(source / '0.png', (later, later))
    assert restore(source, tmp_path / 'out') == 0
    assert '1 restored' in capsys.readouterr().err


def test_a_folder_that_cannot_be_listed_is_named(
    restore: Callable[..., int], source: Path, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / 'locked').mkdir()
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == 'locked':
            raise PermissionError(13, 'Permission denied')
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refused)
    assert restore(source, tmp_path / 'out') == command.FAILED
    said = capsys.readouterr().err
    assert f'{source / "locked"}: Permission denied' in said and '4 restored' in said


def test_configs_are_compared_by_content(
    light_checkpoint: Path, source: Path, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = dict(type='GLEANRestorer', generator=generator_config(True), ema=dict(), pixel_loss=dict(type='MSELoss'),
                 data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))  # fmt: skip
    Config(dict(model=model)).dump('x.py')

    def run(config: str) -> int:
        weights = ['--checkpoint', str(light_checkpoint)]
        return main(['restore', 'in', 'out', '--device', 'cpu', '--model', config, *weights])

    assert run('x.py') == 0 and run('./x.py') == 0
    assert '4 there already' in capsys.readouterr().err
    shutil.copy('x.py', 'other.py')
    assert run('other.py') == 0 and '4 there already' in capsys.readouterr().err
    Config(dict(model=dict(model, data_preprocessor=dict(model['data_preprocessor'], std=[120.0] * 3)))).dump('x.py')
    assert run('x.py') == command.WRONG
    assert 'config.data_preprocessor.std [127.5, 127.5, 127.5], now [120.0, 120.0, 120.0]' in capsys.readouterr().err


def started(model: Path, source: Path, out: Path, folder: Path, *options: str) -> Any:
    """A run in a process of its own; its standard error is at ``folder / NAME``."""
    file = open(folder / f'said {time.monotonic_ns()}', 'w+')  # noqa: SIM115
    arguments = ['restore', str(source), str(out), '--device', 'cpu', '--model', str(model), '--batch', '1', *options]
    process = fork(lambda: sys.exit(main(arguments)), cwd=folder, output=file.fileno())
    process.said = file
    return process


def ended(process: Any) -> tuple[int, str]:
    process.join()
    process.said.seek(0)
    with process.said as file:
        return process.exitcode, file.read()


def test_a_second_run_is_refused_and_leaves_the_first_alone(
    light_checkpoint: Path, source: Path, restore: Callable[..., int], capsys: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """While the first writes: same options and others, into its folder, a folder in it, and a single file of it."""
    out, write, tried = tmp_path / 'out', restore_folder.write, []
    said: list[tuple[Path, tuple[str, ...], int, str]] = []  # what is raised below would be a failure of the image

    def meanwhile(path: Path, *rest: Any) -> list[str]:
        if not tried:
            tried.append(path)
            for given, place in ((source, out), (source / '0.png', out / '0.png'), (source, out / 'more')):
                for options in ((), ('--mode', 'tiles'), ('--mode', 'tiles', '--overwrite')):
                    code = restore(given, place, *options)
                    said.append((place, options, code, capsys.readouterr().err))
        return write(path, *rest)

    monkeypatch.setattr(restore_folder, 'write', meanwhile)
    assert restore(source, out) == 0 and len(said) == 9
    assert '4 restored' in capsys.readouterr().err
    assert all(code == command.WRONG and f'process {os.getpid()} on ' in text for *_, code, text in said), said
    assert {path.name for path in out.rglob('*')} == {'0.png', '1.png', '2.png', '3.png', 'glean-plus.run.json'}


def test_a_killed_run_holds_nothing(
    light_checkpoint: Path, source: Path, restore: Callable[..., int], tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    for i in range(4, 60):
        shutil.copy(source / '0.png', source / f'{i}.png')
    process = started(light_checkpoint, source, out, tmp_path)
    while not [*out.glob('*.png')]:
        assert process.is_alive()
        time.sleep(0.005)
    process.kill()
    ended(process)
    (out / '0.png.01234567.part').touch()
    (out / 'compare').mkdir()
    (out / 'compare' / '0.png.01234567.part').touch()
    assert restore(source, out) == 0 and len(results(out)) == 60
    assert not [*out.rglob('*.part')] and not [*out.rglob('*.lock')]


def concurrent(model: Path, source: Path, folder: Path, count: int, rng: random.Random) -> None:
    """Some runs into one folder at once; whatever they say, each result is one run's, and of those that say so."""
    out, names = folder / 'out', sorted(path.stem for path in source.iterdir())
    kinds = [(), ('--mode', 'tiles'), ('--overwrite',), ('--mode', 'tiles', '--overwrite')]
    options = [rng.choice(kinds) for _ in range(count)]
    if rng.random() < 0.5:
        options = [options[0]] * count
    runs = []
    for each in options:
        runs.append(started(model, source, out, folder, *each))
        time.sleep(rng.choice([0, 0.01, 0.1, 0.3]))
    said = [ended(run) for run in runs]
    assert {code for code, _ in said} <= {0, command.WRONG}, said
    finished = [each for each, (code, _) in zip(options, said) if code == 0]
    assert finished, said
    mode = json.loads((out / 'glean-plus.run.json').read_text())['run']['mode']
    assert mode in {'tiles' if 'tiles' in each else 'direct' for each in finished}
    wanted, others = (Restorer(model, device='cpu', mode=each, batch=1)
                      for each in ((mode, 'direct') if mode == 'tiles' else (mode, 'tiles')))  # fmt: skip
    for path in source.glob('*.png'):
        found = np.asarray(Image.open(out / path.name)).astype(int)
        np.testing.assert_allclose(found, np.asarray(wanted(str(path))), atol=1)
        assert np.abs(found - np.asarray(others(str(path)))).max() > 3, 'the results of other options look otherwise'
    videos = [*source.glob('*.mp4')]
    assert all((out / path.name).stat().st_size > 0 for path in videos)
    for code, text in said:
        assert 'Error' not in text and 'Traceback' not in text
        if code == command.WRONG:
            assert re.search(r'process \d+ on|another process|made otherwise', text), text
        else:
            done = [int(each) for each in re.findall(r'(\d+) (?:restored|there already)', text)]
            assert sum(done) == len(names) and ' 0 failed' in text, text
    assert not [*out.rglob('*.part')] and not [*out.rglob('*.lock')]


@pytest.mark.parametrize('count', [2, 3])
def test_several_runs_at_once(count: int, light_checkpoint: Path, source: Path, tmp_path: Path) -> None:
    concurrent(light_checkpoint, source, tmp_path, count, random.Random(count))


@pytest.mark.soak
@pytest.mark.parametrize('video', [False, True])
@pytest.mark.parametrize('count', [2, 3])
def test_many_runs_at_once(count: int, video: bool, light_checkpoint: Path, source: Path, tmp_path: Path) -> None:
    if video:
        make_clip(source / 'clip.mp4')
    for repetition in range(20):
        folder = tmp_path / str(repetition)
        folder.mkdir()
        concurrent(light_checkpoint, source, folder, count, random.Random(repetition))


def test_partial_files_of_the_living_stay(tmp_path: Path) -> None:
    path, dead = tmp_path / 'a.png', tmp_path / 'a.png.4242.part'
    dead.write_bytes(b'left by a process that was killed')
    (tmp_path / 'b.png.4242.part').touch()
    with whole_or_not_at_all(path) as file:
        sweep(path)
        assert not dead.exists() and Path(file.name).exists() and (tmp_path / 'b.png.4242.part').exists()
        with whole_or_not_at_all(path) as other:  # by another thread, or a process of the same number
            other.write(b'other')
        file.write(b'whole')
    assert path.read_bytes() == b'whole' and {each.name for each in tmp_path.iterdir()} == {'a.png', 'b.png.4242.part'}


def test_a_lock_is_held_by_one_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / '.lock'
    assert holder(path) is None
    with hold(path):
        assert (holder(path) or '').startswith(f'process {os.getpid()} on ')
        with pytest.raises(Locked, match=f'process {os.getpid()} on '), hold(path):
            pass
    assert holder(path) is None and not path.exists()
    path.write_text('process 1 on a machine that was switched off')
    with hold(path):
        pass


def test_a_single_result_of_another_run_is_not_taken_for_the_folder_s(
    restore: Callable[..., int], source: Path, capsys: Any, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    assert restore(source, out) == 0
    assert restore(source / '0.png', out / '0.png', '--mode', 'tiles', '--overwrite') == 0
    assert restore(source, out) == command.WRONG
    assert f'{out / "0.png"} is of another run, that of {out / "0.png.run.json"}' in capsys.readouterr().err
    (out / '0.png').unlink()
    assert restore(source, out) == 0 and '1 restored' in capsys.readouterr().err
    assert restore(source, out) == 0 and '4 there already' in capsys.readouterr().err


def test_an_input_that_disappears_is_named(
    restore: Callable[..., int], source: Path, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert restore(source, tmp_path / 'out') == 0
    find = claims.only_run

    @contextlib.contextmanager
    def vanishing(jobs: Any) -> Any:
        with find(jobs):
            (source / '1.png').unlink()
            yield

    monkeypatch.setattr(claims, 'only_run', vanishing)
    assert restore(source, tmp_path / 'out', '--json', '-') == command.FAILED
    said = capsys.readouterr()
    assert f'{source / "1.png"}: it cannot be read: No such file' in said.err
    states = {Path(each['input']).name: each['state'] for each in json.loads(said.out)['pictures']}
    assert states == {'0.png': 'there', '1.png': 'failed', '2.png': 'there', '3.png': 'there'}


@pytest.mark.parametrize('how', ['moved', 'removed'])
def test_a_folder_of_results_that_goes_ends_the_run(
    how: str, restore: Callable[..., int], source: Path, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / 'out', restore_folder.write

    def going(path: Path, *rest: Any) -> None:
        if path.name == '2.png':
            out.rename(tmp_path / 'elsewhere') if how == 'moved' else shutil.rmtree(out)
        write(path, *rest)

    monkeypatch.setattr(restore_folder, 'write', going)
    code = restore(source, out, '--batch', 1, '--json', '-')
    said = capsys.readouterr()
    assert code == command.FAILED and 'has been moved or removed during the run' in said.err
    assert 'Traceback' not in said.err and said.err.count('moved or removed') == 1
    states = [each['state'] for each in json.loads(said.out)['pictures']]
    assert states.count('failed') >= 1 and len(states) == 4
    assert not (out / '3.png').exists()


def test_the_report_is_there_however_a_run_ends(
    restore: Callable[..., int], source: Path, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, place = tmp_path / 'out', tmp_path / 'report.json'
    assert restore(source, out, '--json', place) == 0 and len(json.loads(place.read_text())['pictures']) == 4
    assert restore(source, out, '--mode', 'tiles', '--json', place) == command.WRONG
    content = json.loads(place.read_text())
    assert content['pictures'] == [] and 'made otherwise' in content['error']
    capsys.readouterr()
    assert restore(source, out, '--mode', 'tiles', '--json', '-') == command.WRONG
    assert 'made otherwise' in json.loads(capsys.readouterr().out)['error']
    with pytest.raises(SystemExit):
        restore(source, out, '--batch', 'two', '--json', '-')
    assert 'error' in json.loads(capsys.readouterr().out)

    def interrupted(*_: Any) -> None:
        assert not place.exists(), 'that of another run'
        raise KeyboardInterrupt

    monkeypatch.setattr(restore_folder, 'write', interrupted)
    assert restore(source, out, '--overwrite', '--json', place) == command.INTERRUPTED
    assert json.loads(place.read_text())['error'] == 'interrupted'


class Full(io.StringIO):
    """A stream whose writes fail."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


@pytest.mark.parametrize('redirection, code, words', [
    ('> /dev/full', 1, 'The standard output cannot be written to: No space left on device.'), ('>&8', 1, None),
    ('>&-', 1, 'The standard output cannot be written to: it is closed.'),
    ('2>&- > /dev/null', 0, None),
])  # fmt: skip
def test_streams_that_are_full_or_closed(redirection: str, code: int, words: str | None, tmp_path: Path) -> None:
    """In a process of its own: Python writes to the streams once more when it ends."""
    unread = 'exec 8> >(true); wait $!'  # a pipe whose reader has ended already
    line = f'{unread}; {sys.executable} -W ignore -m glean_plus --help {redirection}; echo ${{PIPESTATUS[0]}} >&9'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'GLEAN_PLUS_CACHE': str(tmp_path)}
    said = subprocess.run(
        ['bash', '-c', f'exec 9> code; {line}'], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (tmp_path / 'code').read_text().strip() == str(code), said
    assert said.stderr == ('' if words is None else f'glean-plus: {words}\n')


def test_a_run_goes_on_when_nobody_reads_about_it(
    restore: Callable[..., int], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'stderr', Full(BrokenPipeError(32, 'Broken pipe')))
    assert restore(source, tmp_path / 'out') == 0 and len(results(tmp_path / 'out')) == 4


def test_verdicts_are_said(source: Path, capsys: Any, tmp_path: Path) -> None:
    """Photographs, given to a model of emoji; and an emoji."""
    same = ['--device', 'cpu', '--model', 'lightglean_twemoji_4x']
    assert main(['restore', str(source), str(tmp_path / 'out'), *same]) == 0
    said = capsys.readouterr().err
    assert said.count('unlike what the model was made for') == 1 and '4 of the first 4 images' in said
    assert main(['restore', str(source), str(tmp_path / 'judged'), '--report', *same]) == 0
    said = capsys.readouterr().err
    for i in range(4):
        verdict = json.loads((tmp_path / 'judged' / 'report' / f'{i}.json').read_text())['verdict']
        assert f'{source / f"{i}.png"}: {verdict}; see {tmp_path / "judged" / "report" / f"{i}.json"}' in said


def test_nothing_is_said_of_what_the_model_was_made_for(tiny_data: Path, capsys: Any, tmp_path: Path) -> None:
    assert main(['restore', str(tiny_data / 'BIx4_down'), str(tmp_path / 'out'), '--device', 'cpu']) == 0
    assert 'unlike' not in capsys.readouterr().err
