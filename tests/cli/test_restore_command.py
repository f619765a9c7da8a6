"""`glean-plus`, in this process: folders with broken images, interruptions, every option, the tools behind it."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_folded import needs_compiler

import glean_plus
from glean_plus.cli import main as command
from glean_plus.cli.main import main
from glean_plus.inference import folder as restore_folder
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.jobs import find_jobs
from glean_plus.inference.network import Network

from conftest import BIN, CONFIGS, fork, launch
from image_files import SRGB
from small_restorers import generator_config, photo, write_checkpoint


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight good images and four that are not."""
    source = tmp_path / 'in'
    (source / 'more').mkdir(parents=True)
    for i in range(6):
        Image.fromarray(photo('astronaut', 16 + 4 * (i // 3), 20, 10 * i)).save(source / f'{i}.png')
    Image.fromarray(photo('coffee', 10, 12)).save(source / 'more' / 'a.jpg')
    Image.fromarray(photo('chelsea', 10, 12)).convert('L').save(source / 'more' / 'a.png')
    (source / 'empty.png').touch()
    (source / 'notes.txt').touch()
    (source / 'text.jpg').write_text('no image')
    (source / 'cut.png').write_bytes((source / '0.png').read_bytes()[:300])
    frames = [Image.new('L', (4, 4), level) for level in (0, 200)]
    frames[0].save(source / 'pages.tif', save_all=True, append_images=frames[1:])
    return source


def results(out: Path) -> dict[str, float]:
    """Result -> when it was written."""
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob('*.png')}


def test_folder(
    pictures: Path, restore: Callable[..., int], light_checkpoint: Path, capsys: Any, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    assert restore(pictures, out, '--json', tmp_path / 'report.json') == command.FAILED
    said = capsys.readouterr().err
    for name in ('empty.png', 'text.jpg', 'cut.png', 'pages.tif'):
        assert f'{pictures / name}: it' in said or f'{pictures / name}: the file is empty' in said
    assert '8 restored' in said and '4 failed' in said and 'images/s' in said and 'ending: 1 .txt' in said
    there = results(out)
    assert {*there} == {*(f'{i}.png' for i in range(6)), 'more/a.jpg.png', 'more/a.png.png'}
    assert Image.open(out / 'more' / 'a.jpg.png').size == (24, 20)
    assert Image.open(out / 'more' / 'a.png.png').mode == 'L'
    report = json.loads((tmp_path / 'report.json').read_text())
    states = {Path(each['input']).name: each['state'] for each in report['pictures']}
    assert states['cut.png'] == 'failed' and states['5.png'] == 'restored' and len(report['pictures']) == 12
    restored = [each for each in report['pictures'] if each['state'] == 'restored']
    assert all(each['lr_psnr'] > 0 and each['seconds'] > 0 for each in restored)

    manifest = json.loads((out / 'glean-plus.run.json').read_text())
    assert manifest['run']['weights'] == hashlib.sha256(light_checkpoint.read_bytes()).hexdigest()
    assert manifest['run']['mode'] == 'direct' and manifest['about']['packages']['torch']
    assert manifest['run']['version'] == glean_plus.__version__ and str(pictures) in manifest['about']['command']

    # What is missing, or older than its input, is made; nothing else.
    (out / '2.png').unlink()
    (out / '3.png.4242.part').write_bytes(b'left by a process that was killed')
    later = time.time() + 5
    os.utime(pictures / '3.png', (later, later))
    assert restore(pictures, out) == command.FAILED
    assert '2 restored' in (said := capsys.readouterr().err) and '6 there already' in said
    again = results(out)
    assert {name for name in there if there[name] != again[name]} == {'2.png', '3.png'}
    assert not [*out.rglob('*.part')]


def test_another_run_s_results_are_not_mixed_in(
    pictures: Path, restore: Callable[..., int], capsys: Any, tmp_path: Path
) -> None:
    out, single = tmp_path / 'out', pictures / '0.png'
    assert restore(f'{pictures}/[0-5].png', out) == 0
    there = results(out)
    assert len(there) == 6
    assert restore(f'{pictures}/[0-5].png', out, '--mode', 'tiles') == command.WRONG
    assert "mode 'direct', now 'tiles'" in capsys.readouterr().err and results(out) == there
    assert restore(f'{pictures}/[0-5].png', out, '--mode', 'tiles', '--overwrite') == 0
    assert all(results(out)[name] > there[name] for name in there)
    (out / 'glean-plus.run.json').unlink()
    assert restore(pictures, out) == command.WRONG
    assert 'of no run that is known' in capsys.readouterr().err

    target = tmp_path / 'one.png'
    assert restore(single, target) == 0 and restore(single, target) == 0
    assert '1 there already' in capsys.readouterr().err
    assert (tmp_path / 'one.png.run.json').is_file()
    assert restore(single, single) == command.WRONG and 'would be overwritten' in capsys.readouterr().err
    assert restore(single, pictures, '--overwrite') == command.WRONG


def test_what_an_overwriting_run_did_not_replace_is_not_its_own(
    pictures: Path, restore: Callable[..., int], capsys: Any, tmp_path: Path
) -> None:
    """An image cannot be read when another model's results are replaced; the next run restores it by that model."""
    out, call = tmp_path / 'out', (f'{pictures}/[01].png', tmp_path / 'out', '--compare')
    assert restore(*call) == 0
    there, whole = results(out), (pictures / '0.png').read_bytes()
    (pictures / '0.png').write_bytes(whole[:60])
    assert restore(*call, '--mode', 'tiles', '--overwrite') == command.FAILED
    assert results(out)['0.png'] == there['0.png']
    (pictures / '0.png').write_bytes(whole)
    os.utime(pictures / '0.png', (0, 0))
    assert restore(*call, '--mode', 'tiles') == 0
    assert '1 restored' in (said := capsys.readouterr().err) and '1 there already' in said
    assert all(results(out)[name] > there[name] for name in there)


def test_interrupted_run_goes_on(
    pictures: Path, restore: Callable[..., int], capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the fourth image is written; others may be on their way, too, and are given up."""
    out, begun = tmp_path / 'out', []
    write, one_by_one, arrived = restore_folder.write, threading.Lock(), threading.Event()

    def noticed(*arguments: Any) -> None:
        arrived.set()
        signal.default_int_handler(*arguments)

    def interrupted(path: Path, *arguments: Any) -> list[str]:
        with one_by_one:
            begun.append(path)
            if len(begun) == 4:
                os.kill(os.getpid(), signal.SIGINT)
            if len(begun) >= 4:
                assert arrived.wait(60)
                for _ in arguments[0]:  # the rows, until they are given up
                    pass
                raise AssertionError('the run goes on')
            return write(path, *arguments)

    before = signal.signal(signal.SIGINT, noticed)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(restore_folder, 'write', interrupted)
            assert restore(f'{pictures}/?.png', out, '--batch', 1) == command.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    there = results(out)
    assert len(there) == 3
    assert restore(f'{pictures}/?.png', out, '--batch', 1) == 0
    assert '3 restored' in capsys.readouterr().err
    assert len(results(out)) == 6 and all(results(out)[name] == there[name] for name in there)


def test_two_hundred_pictures_killed_and_repeated(
    light_checkpoint: Path, restore: Callable[..., int], capsys: Any, tmp_path: Path
) -> None:
    """A process of its own is killed in the middle; the same command then makes what is missing, and that alone."""
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    for i in range(200):
        Image.fromarray(photo('astronaut', 8, 8 + i % 5, i)).save(source / f'{i:03}.png')
    broken = [f'{i:03}.png' for i in range(7, 200, 40)]
    for name in broken:
        (source / name).write_bytes((source / name).read_bytes()[:60])
    options = ['--device', 'cpu', '--model', str(light_checkpoint), '--batch', '1']
    with open(os.devnull, 'w') as nowhere:
        process = fork(main, ['restore', str(source), str(out), *options], cwd=tmp_path, output=nowhere.fileno())
    while len([*out.glob('*.png')]) < 60:
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    there = results(out)
    assert 60 <= len(there) < 195
    assert restore(source, out, '--batch', 1, '--json', tmp_path / 'report.json') == command.FAILED
    assert f'{195 - len(there)} restored' in (said := capsys.readouterr().err) and f'{len(there)} there already' in said
    again = results(out)
    assert len(again) == 195 and all(again[name] == there[name] for name in there)
    records = json.loads((tmp_path / 'report.json').read_text())['pictures']
    assert sorted(Path(each['input']).name for each in records if each['state'] == 'failed') == broken
    assert all(f'{source / name}: ' in said for name in broken)
    assert not [*out.rglob('*.part')]


def test_one_of_a_batch_that_fails_is_the_only_one_lost(
    pictures: Path, restore: Callable[..., int], capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Network.__call__

    def failing(self: Network, tiles: Any, *arguments: Any) -> Any:
        if any(np.array_equal((255 * each).round().permute(1, 2, 0).numpy(), photo('astronaut', 16, 20, 10))
               for each in tiles):  # fmt: skip
            raise RuntimeError('out of memory')
        return call(self, tiles, *arguments)

    monkeypatch.setattr(Network, '__call__', failing)
    monkeypatch.setattr('glean_plus.inference.restorer.ONE_BY_ONE', frozenset())  # as on a GPU
    assert restore(f'{pictures}/?.png', tmp_path / 'out') == command.FAILED
    said = capsys.readouterr().err
    assert '1.png: RuntimeError: out of memory' in said and '5 restored' in said
    assert {*results(tmp_path / 'out')} == {f'{i}.png' for i in (0, 2, 3, 4, 5)}


OPTIONS = [
    ('--mode', 'tiles'), ('--mode', 'fit'), ('--precision', 'bf16'), ('--speed', 'folded'),
    pytest.param(('--speed', 'compiled'), marks=needs_compiler), ('--seed', '3'),
    ('--consistent',), ('--consistent', '1'), ('--fidelity', '0'), ('--fidelity', '0.8'), ('--max-memory', '1M'),
    ('--checkpoint', 'OTHER'),
]  # fmt: skip


@pytest.mark.parametrize('options', OPTIONS, ids=' '.join)
def test_option_changes_the_result(
    options: tuple[str, ...], light_checkpoint: Path, restore: Callable[..., int], tmp_path: Path
) -> None:
    source = tmp_path / 'in.png'
    Image.fromarray(photo('chelsea', 70, 60)).save(source)
    if options[-1] == 'OTHER':
        other = write_checkpoint(tmp_path / 'other.pth', generator_config(False))
        config = tmp_path / 'config.py'
        from mmengine.config import Config

        Config(dict(model=dict(type='GLEANRestorer', generator=generator_config(False), ema=dict(),
                               pixel_loss=dict(type='MSELoss')))).dump(config)  # fmt: skip
        options = ('--model', str(config), '--checkpoint', str(other))
    # The default speed, auto, is one of the others.
    assert restore(source, tmp_path / 'plain.png', *(('--speed', 'exact') if '--speed' in options else ())) == 0
    assert restore(source, tmp_path / 'other.png', *options) == 0
    plain, changed = (np.asarray(Image.open(tmp_path / f'{name}.png')).astype(int) for name in ('plain', 'other'))
    assert plain.shape == changed.shape
    if options[0] == '--speed':
        assert np.abs(plain - changed).max() <= 1, 'all speeds give what exact gives'
    else:
        assert (plain != changed).any()
    run = json.loads((tmp_path / 'other.png.run.json').read_text())['run']
    assert run != json.loads((tmp_path / 'plain.png.run.json').read_text())['run'], 'the manifest tells them apart'


def test_batch_format_and_comparison(
    pictures: Path, restore: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    call = Network.__call__
    monkeypatch.setattr(
        Network, '__call__', lambda self, tiles, *rest: sizes.append(len(tiles)) or call(self, tiles, *rest)
    )
    assert restore(f'{pictures}/[0-2].png', tmp_path / 'cpu') == 0 and sizes == [1, 1, 1]
    sizes.clear()
    monkeypatch.setattr('glean_plus.inference.restorer.ONE_BY_ONE', frozenset())  # as on a GPU
    assert restore(f'{pictures}/[0-2].png', tmp_path / 'three') == 0 and sizes == [3]
    sizes.clear()
    assert restore(f'{pictures}/[0-2].png', tmp_path / 'one', '--batch', 1, '--format', 'jpg', '--compare') == 0
    assert sizes == [1, 1, 1]
    assert {path.name for path in (tmp_path / 'one').glob('*.jpg')} == {'0.jpg', '1.jpg', '2.jpg'}
    for i in range(3):
        result = np.asarray(Image.open(tmp_path / 'three' / f'{i}.png')).astype(int)
        both = np.asarray(Image.open(tmp_path / 'one' / 'compare' / f'{i}.png'))
        np.testing.assert_array_equal(both[::2, :40:2], photo('astronaut', 16, 20, 10 * i))
        np.testing.assert_allclose(both[:, 40:].astype(int), result, atol=1)


@pytest.mark.parametrize('ending', ['png', 'jpg', 'webp', 'tif'])
def test_results_and_comparisons_have_the_profile(ending: str, restore: Callable[..., int], tmp_path: Path) -> None:
    """A gray one's comparison is gray, as its profile is."""
    gray = SRGB[:16] + b'GRAY' + SRGB[20:]
    image = Image.fromarray(photo('astronaut', 16, 20))
    (tmp_path / 'in').mkdir()
    for name in ('a.png', 'b.jpg', 'c.tif', 'd.webp'):
        image.save(tmp_path / 'in' / name, icc_profile=SRGB)
    image.convert('L').save(tmp_path / 'in' / 'gray.png', icc_profile=gray)
    image.convert('CMYK').save(tmp_path / 'in' / 'inks.jpg', icc_profile=SRGB)
    assert restore(tmp_path / 'in', tmp_path / 'out', '--format', ending, '--compare') == 0
    for name, profile in (*((name, SRGB) for name in 'abcd'), ('gray', gray), ('inks', None)):
        for path in (tmp_path / 'out' / f'{name}.{ending}', tmp_path / 'out' / 'compare' / f'{name}.png'):
            assert Image.open(path).info.get('icc_profile') == profile, path
    both = np.asarray(Image.open(tmp_path / 'out' / 'compare' / 'gray.png'))
    np.testing.assert_array_equal(both[::2, :40:2], np.asarray(image.convert('L')))
    if ending == 'png':
        np.testing.assert_array_equal(both[:, 40:], np.asarray(Image.open(tmp_path / 'out' / 'gray.png')))


def test_what_is_left_out_of_a_file_is_said(restore: Callable[..., int], capsys: Any, tmp_path: Path) -> None:
    source, report = tmp_path / 'in.jpg', tmp_path / 'report.json'
    Image.fromarray(photo('astronaut', 16, 20)).save(source, exif=b'Exif\0\0nonsense', icc_profile=SRGB)
    assert restore(source, tmp_path / 'out.bmp', '--json', report) == 0
    said = capsys.readouterr().err
    (record,) = json.loads(report.read_text())['pictures']
    assert record['state'] == 'restored' and len(record['notes']) == 2
    for note, words in zip(record['notes'], ('EXIF data are broken', 'colour profile of 588 bytes is left out: BMP')):
        assert words in note and f'{source}: {note}' in said


def test_comparison_of_a_transparent_picture_is_on_white(restore: Callable[..., int], tmp_path: Path) -> None:
    Image.new('RGBA', (6, 4), (10, 20, 30, 0)).save(tmp_path / 'in.png')
    assert restore(tmp_path / 'in.png', tmp_path / 'out.png', '--compare') == 0
    assert np.asarray(Image.open(tmp_path / 'out.compare.png')).min() == 255
    assert Image.open(tmp_path / 'out.png').mode == 'RGBA'


@pytest.mark.parametrize('arguments, words', [
    (('nowhere', 'out'), 'There is neither a file nor a folder at nowhere'),
    (('no*.png', 'out'), 'no images and no videos in'),
    (('IN', 'out', '--model', 'lightglean_twemoji_5x'), 'There is no model'),
    (('IN', 'out', '--device', 'cuda:77'), 'cannot be used'), (('IN', 'out.xyz'), 'ends in one of'),
    (('IN', 'out', '--max-memory', 'much'), 'Memory is a number'), (('IN', 'out', '--batch', '0'), 'batch is 1'),
    (('IN', 'out', '--seed', '1', '--model', 'lightglean_twemoji_multiclass_4x'), 'no noise maps'),
    (('IN', 'out', '--label', '1'), 'takes no label'), (('.', '.'), 'would be inputs of the next run'),
    (('IN', 'in.png/out'), 'choose another place'),
    (('IN', 'out', '--model', 'glean_cat_16x'), 'GLEAN_PLUS_OFFLINE'),
])  # fmt: skip
def test_wrong_calls_are_sentences(
    arguments: tuple[str, ...], words: str, restore: Callable[..., int], capsys: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('GLEAN_PLUS_OFFLINE', '1')
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path / 'cache'))
    Image.new('RGB', (4, 4)).save('in.png')
    assert restore(*('in.png' if each == 'IN' else each for each in arguments)) == command.WRONG
    said = capsys.readouterr().err
    assert words in said and 'Traceback' not in said
    assert not Path('out').exists()


def test_the_command_itself(light_checkpoint: Path, tmp_path: Path) -> None:
    """As it is installed, in a process that has imported nothing."""
    Image.new('RGB', (16, 16), (200, 90, 30)).save(tmp_path / 'in.png')
    options = ['--device', 'cpu', '--model', str(light_checkpoint)]
    assert '1 restored' in launch([str(BIN / 'glean-plus'), 'restore', 'in.png', 'out.png', *options], tmp_path)
    assert Image.open(tmp_path / 'out.png').size == (32, 32)


def test_models_lists_what_has_a_name(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    assert main(['models']) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    shipped = {path.stem for path in (CONFIGS / 'weights').glob('*glean*.safetensors')}
    assert all('shipped' in lines[name] for name in shipped) and 'a download' in lines['glean_cat_8x']


def test_the_package_as_a_module_is_the_command(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`python -m glean_plus`."""
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    monkeypatch.setattr(sys, 'argv', ['__main__.py', 'models'])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module('glean_plus', run_name='__main__')
    assert ended.value.code == 0 and 'lightglean_twemoji_4x' in capsys.readouterr().out


def test_other_commands_are_run_and_listed(capsys: Any) -> None:
    before = [*sys.argv]
    assert main(['complexity', str(CONFIGS / 'lightglean_twemoji_4x.py'), '--table']) == 0
    assert '`lightglean_twemoji_4x` | 16 -> 64' in capsys.readouterr().out
    assert sys.argv == before
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and 'Exit codes: 0 everything' in said and 'study' in said


@pytest.mark.parametrize('names, words', [
    (('a.png', 'A.png'), 'would both have the result'),
    (('x/a.png', 'X/A.jpg', 'X/a.png'), 'would both have the result'),
    (('compare/a.png', 'A.png'), 'rename its folder'), (('a.png', 'Compare/x/b.png'), 'rename its folder'),
])  # fmt: skip
def test_two_results_are_never_one_file(
    names: tuple[str, ...], words: str, restore: Callable[..., int], capsys: Any, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / 'in' / name)
    assert restore(tmp_path / 'in', tmp_path / 'out', '--compare') == command.WRONG
    assert words in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_names_that_would_meet_keep_their_endings(restore: Callable[..., int], tmp_path: Path) -> None:
    for name in ('a.jpg', 'A.png', 'a.jpg.png', 'a.jpg.png.png', 'b.jpg', 'c/a.webp'):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / 'in' / name)
    assert restore(tmp_path / 'in', tmp_path / 'out', '--compare') == 0
    expected = {'a.jpg.png', 'A.png.png', 'a.jpg.png.png', 'a.jpg.png.png.png', 'b.png', 'c/a.png'}
    assert {*results(tmp_path / 'out')} == expected | {f'compare/{name}' for name in expected}


def test_report_that_cannot_be_written_is_a_sentence(restore: Callable[..., int], capsys: Any, tmp_path: Path) -> None:
    Image.new('RGB', (4, 4)).save(tmp_path / 'in.png')
    call = (tmp_path / 'in.png', tmp_path / 'out.png', '--json', tmp_path / 'in.png' / 'report.json')
    assert restore(*call) == command.FAILED
    assert 'The report cannot be written' in capsys.readouterr().err and (tmp_path / 'out.png').is_file()


def test_results_in_the_folder_of_inputs_are_no_inputs(pictures: Path) -> None:
    out = pictures / 'restored'
    before = len([*find_jobs(str(pictures), out)])
    out.mkdir()
    Image.new('RGB', (4, 4)).save(out / '0.png')
    assert len([*find_jobs(str(pictures), out)]) == before
    # In the very folder only where a pattern does not find them again.
    more = pictures / 'more'
    (more / 'a.png').unlink()
    assert [job.target for job in find_jobs(f'{more}/*.jpg', more)] == [more / 'a.png']
    for given in (str(more), f'{more}/*'):
        with pytest.raises(RestoreError, match='would be inputs of the next run'):
            find_jobs(given, more)
