"""A small study with real training: killed, interrupted, done, and what it says then."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from PIL import Image

from glean_plus.analysis.study.definition import read_study
from glean_plus.analysis.study.execute import launch_process

from conftest import is_running
from small_study import Launcher, study, write_study


@pytest.fixture(scope='module')
def carried_out(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A study killed in its first training, interrupted in the third, and done; each time with what was run then."""
    folder = tmp_path_factory.mktemp('study')
    path, out = write_study(folder, tiny_data), folder / 'out'
    # Forked, as it takes ten seconds to import what it needs; the worker that it starts is a process of its own.
    arguments = [path, out, launch_process, '--threads', '1', '--rows', 'Light', 'Random']
    process = multiprocessing.get_context('fork').Process(target=study, args=arguments, daemon=True)
    process.start()
    first = out / 'runs' / 'Light' / 'seed_0'
    end = time.monotonic() + 300
    while not (first / 'last_checkpoint').is_file():
        assert process.is_alive() and time.monotonic() < end, list(out.glob('runs/*/*/log.txt'))
        time.sleep(0.02)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    process.kill()
    process.join()
    end = time.monotonic() + 120
    while any(map(is_running, children)) and time.monotonic() < end:
        time.sleep(0.05)
    orphans = [*filter(is_running, children)]
    for child in orphans:
        os.kill(int(child), signal.SIGKILL)
    killed_late = (first / 'train.json').exists()

    torch.set_num_threads(1)
    launchers = [Launcher(real=True, stop_at='Light, seed 1'), Launcher(real=True), Launcher(real=True)]
    codes = [study(path, out, launcher) for launcher in launchers]
    again = Launcher(real=True)
    codes.append(study(path, folder / 'again', again, '--rows', 'Light', '--seeds', '0'))
    return SimpleNamespace(
        path=path, out=out, data=tiny_data, orphans=orphans, killed_late=killed_late, children=children,
        names=[launcher.names for launcher in launchers], codes=codes, again=folder / 'again',
    )  # fmt: skip


def test_killed_and_restarted_it_does_only_what_is_missing(carried_out: SimpleNamespace) -> None:
    assert carried_out.children and not carried_out.orphans, 'a run outlived its study'
    assert not carried_out.killed_late
    # Done when it was interrupted: three runs, of which the killed one went on.
    assert carried_out.names[0] == ['bicubic', 'Light, seed 0', 'Random, seed 0']
    assert carried_out.names[1:] == [['Light, seed 1', 'Random, seed 1'], []]
    assert carried_out.codes == [130, 0, 0, 0]
    logs = ''.join(log.read_text() for log in (carried_out.out / 'runs' / 'Light' / 'seed_0').glob('*/*.log'))
    assert 'resumed epoch' in logs or 'Advance dataloader' in logs


def test_same_seed_gives_the_same_numbers_and_another_seed_others(carried_out: SimpleNamespace) -> None:
    """The one was killed and went on, the other was not."""
    read = lambda out, seed: json.loads((out / 'runs' / 'Light' / f'seed_{seed}' / 'test.json').read_text())  # noqa: E731
    first, again, other = read(carried_out.out, 0), read(carried_out.again, 0), read(carried_out.out, 1)
    for part in ('metrics', 'per_picture'):
        assert first[part] == again[part]
    assert first['metrics']['PSNR'] != other['metrics']['PSNR']


def test_pictures_have_their_own_numbers(carried_out: SimpleNamespace) -> None:
    """PSNR of each, from the images that the test wrote; their mean is the metric."""
    folder = carried_out.out / 'runs' / 'Random' / 'seed_1'
    tested = json.loads((folder / 'test.json').read_text())
    assert set(tested['per_picture']) == {'PSNR', 'LR-PSNR'}  # a distance of sets has none
    assert len(tested['per_picture']['PSNR']) == 4
    for name, value in tested['per_picture']['PSNR'].items():
        ours, truth = (np.asarray(Image.open(path)).astype(float) for path in (
            folder / 'pictures' / f'{name}.png', carried_out.data / 'GT' / f'{name}.png'))  # fmt: skip
        assert value == pytest.approx(10 * np.log10(255**2 / np.mean((ours - truth) ** 2)), abs=0.02)
    for key, values in tested['per_picture'].items():
        assert np.mean([*values.values()]) == pytest.approx(tested['metrics'][key])
    assert tested['metrics']['KID-ST-LPIPS-alex'] > 0


def test_table_has_every_column_and_the_right_numbers(carried_out: SimpleNamespace) -> None:
    out = carried_out.out
    tests = {
        label: [json.loads(path.read_text()) for path in sorted((out / 'runs' / label).glob('*/test.json'))]
        for label in ('bicubic', 'Light', 'Random')
    }
    lines = (out / 'table.md').read_text().splitlines()
    head, _, *rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('|')]
    assert head == ['', 'seeds', 'PSNR ↑', 'LR-PSNR ↑', 'KID-ST-LPIPS-alex ↓', 'parameters', 'trained', 'multiply-adds',
                    's/iteration', 's/picture', 'pictures seen']  # fmt: skip
    table = {row[0]: dict(zip(head, row)) for row in rows[:3]}
    assert list(table) == ['bicubic', 'Light', 'Random']
    assert (table['bicubic']['seeds'], table['bicubic']['parameters'], table['Light']['seeds']) == ('1', '', '2')
    light = [test['metrics']['PSNR'] for test in tests['Light']]
    assert table['Light']['PSNR ↑'] == f'{np.mean(light):.2f} ± {np.std(light, ddof=1):.2f}'
    assert table['Light']['pictures seen'] == '8'  # 4 iterations of 2

    config = Config.fromfile(read_study(carried_out.path).row('Light').config)
    config.model.generator.encoder.num_rrdbs = 1
    generator = MODELS.build(config.model.generator.to_dict())
    parameters = sum(p.numel() for p in generator.parameters())
    trained = sum(p.numel() for p in generator.parameters() if p.requires_grad)
    assert trained < parameters
    assert (table['Light']['parameters'], table['Light']['trained']) == (
        f'{parameters / 1e6:.2f} M', f'{trained / 1e6:.2f} M')  # fmt: skip
    assert float(table['Light']['s/iteration']) > 0 and float(table['Light']['s/picture']) > 0

    (wide,) = [line for line in csv.DictReader((out / 'table.csv').open()) if line['row'] == 'Light']
    assert float(wide['PSNR mean']) == pytest.approx(np.mean(light))
    assert float(wide['parameters']) == parameters and float(wide['pictures seen']) == 8
    # The paired test, from each picture's numbers.
    means = {
        label: {name: np.mean([test['per_picture']['PSNR'][name] for test in each])
                for name in each[0]['per_picture']['PSNR']}
        for label, each in tests.items()
    }  # fmt: skip
    for label in ('Light', 'bicubic'):
        (row,) = [r for r in json.loads((out / 'results.json').read_text())['rows'] if r['label'] == label]
        differences = np.array([means[label][name] - means['Random'][name] for name in means['Random']])
        test = row['comparison']['PSNR']
        assert test['pictures']['p'] == pytest.approx(scipy.stats.wilcoxon(differences).pvalue)
        assert test['pictures']['difference'] == pytest.approx(differences.mean())
        assert test['groups']['units'] == 2
        assert test['seed_pairs'] == (4 if label == 'Light' else 2)
        assert row['comparison']['KID-ST-LPIPS-alex']['pictures'] is None
    assert 'Wilcoxon signed-rank' in (out / 'table.md').read_text()


def test_curves_are_of_every_seed(carried_out: SimpleNamespace) -> None:
    lines = list(csv.DictReader((carried_out.out / 'curves.csv').open()))
    psnr = [line for line in lines if line['name'] == 'PSNR']
    assert {(line['row'], line['seed'], line['iteration']) for line in psnr} == {
        (row, seed, step) for row in ('Light', 'Random') for seed in '01' for step in ('2', '4')
    }
    # Of the training that was killed, too: each iteration, and once.
    killed = [line for line in lines if (line['row'], line['seed']) == ('Light', '0')]
    assert [line['iteration'] for line in killed if line['name'] == 'loss_pix'] == list('1234')
    with Image.open(carried_out.out / 'curves.png') as picture:
        assert min(picture.size) > 200


def test_only_the_last_checkpoint_is_kept(carried_out: SimpleNamespace) -> None:
    for path in (carried_out.out / 'runs').glob('*/seed_*'):
        assert [file.name for file in path.glob('*.pth')] == ['iter_4.pth'], path
