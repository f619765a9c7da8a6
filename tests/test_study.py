"""Studies: what is run, what is run again, what comes out."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from mmagic.registry import MODELS
from PIL import Image

from glean_plus.analysis.complexity import complexity
from glean_plus.study import worker as study_worker
from glean_plus.study.definition import StudyError, read_study
from glean_plus.study.execute import Progress, carry_out, only_one
from glean_plus.study.files import write_json
from glean_plus.study.runs import Run, plan
from glean_plus.study.statistics import better_pairs, group_average, paired_test, seed_average, spread

from conftest import BANK_FILE, CONFIGS, ROOT, load_tool

STUDIES = CONFIGS / 'studies'

BODY = """
title = 'Tiny'
budget = dict(iters=4)
seeds = [0, 1]
val_points = 2
val_metrics = [dict(type='PSNR')]
metrics = [dict(type='PSNR'), dict(type='LRConsistency'), dict(type='KIDMetric', features='stlpips-alex')]
reference = 'Random'
groups = dict(file='groups.csv', picture='name', group='base')
_loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
cfg_options = {
    'model.perceptual_loss': None, 'model.generator.encoder.num_rrdbs': 1,
    'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False, 'train_dataloader.dataset.data_root': DATA,
    'val_dataloader.num_workers': 0, 'val_dataloader.persistent_workers': False,
    'val_dataloader.dataset.data_root': DATA, 'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False, 'test_dataloader.dataset.data_root': DATA,
}
_config = CONFIG
rows = {
    'bicubic': dict(config=_config, picture='bicubic_img'),
    'Light': dict(config=_config),
    'Random': dict(config=_config, cfg_options={'model.generator.bank.pretrained': None}),
}
"""


def write_study(folder: Path, data: Path, *changes: tuple[str, str]) -> Path:
    body = BODY.replace('DATA', repr(str(data))).replace('CONFIG', repr(str(CONFIGS / 'lightglean_twemoji_4x.py')))
    for old, new in changes:
        assert old in body
        body = body.replace(old, new)
    names = [line.split('.')[0] for line in (data / 'meta_info_Twemoji_people_test.txt').read_text().splitlines()]
    lines = ''.join(f'{name},group {index // 2}\n' for index, name in enumerate(names))
    pretended = ''.join(f'{name},group {name}\n' for name in 'abcd')
    (folder / 'groups.csv').write_text(f'name,base\n{lines}{pretended}')
    path = folder / 'tiny.py'
    path.write_text(body)
    return path


class Done:
    """A job that has ended."""

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def poll(self) -> int:
        return self.code

    def terminate(self) -> None:
        pass

    def wait(self) -> int:
        return self.code


class Launcher:
    """Notes what is run, and runs it in this process; or only pretends, which is quick. It may be interrupted."""

    def __init__(self, real: bool = False, stop_at: str | None = None, fail: Sequence[str] = ()) -> None:
        self.real, self.stop_at, self.fail = real, stop_at, fail
        self.names: list[str] = []

    def __call__(self, run: Run, threads: int) -> Done:
        if run.name == self.stop_at:
            raise KeyboardInterrupt
        self.names.append(run.name)
        if run.name in self.fail:
            (run.folder / 'log.txt').write_text('Traceback\nOops: why it failed\n')
            return Done(3)
        if self.real:
            study_worker.run(run.folder)
        else:
            pretend(run)
        return Done()


def pretend(run: Run) -> None:
    """Leave behind what a run leaves; the number is the seed and the label's length."""
    if 'train' in run.missing:
        marker = dict(fingerprint=run.train_fingerprint, iters=run.iters, images=4, seconds_per_iter=2.0, seconds=1.0)
        write_json(run.folder / 'train.json', marker)
    if run.test_fingerprint:
        values = {name: len(run.row.label) + run.seed + index / 10 for index, name in enumerate('abcd')}
        keys = ['PSNR', 'LR-PSNR', 'KID-ST-LPIPS-alex', 'SSIM'][:len(run.config['test_evaluator']['metrics'])]
        metrics = {key: float(np.mean([*values.values()])) for key in keys}
        write_json(run.folder / 'test.json', dict(
            fingerprint=run.test_fingerprint, metrics=metrics, per_picture={'PSNR': values}, seconds=1.0))  # fmt: skip


def study(path: Path, out: Path, launcher: Callable, *options: str) -> int:
    return load_tool('study').main([str(path), '--out', str(out), *options], launcher)


# ---- for real


@pytest.fixture(scope='module')
def carried_out(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A study killed in its first training, interrupted in the third, and done; each time with what was run then."""
    folder = tmp_path_factory.mktemp('study')
    path, out = write_study(folder, tiny_data), folder / 'out'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'}
    tool = [sys.executable, str(ROOT / 'tools' / 'study.py')]
    command = [*tool, str(path), '--out', str(out), '--threads', '1', '--rows', 'Light', 'Random']
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first = out / 'runs' / 'Light' / 'seed_0'
    end = time.monotonic() + 900
    while not (first / 'last_checkpoint').is_file():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    process.kill()
    process.wait()
    end = time.monotonic() + 120
    while any(Path(f'/proc/{child}').exists() for child in children) and time.monotonic() < end:
        time.sleep(0.05)
    orphans = [child for child in children if Path(f'/proc/{child}').exists()]
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
    """PSNR of each, from the pictures that the test wrote; their mean is the metric."""
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

    config = read_study(carried_out.path).row('Light').config
    from mmengine.config import Config

    config = Config.fromfile(config)
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


# ---- what is run, with runs that only pretend


def test_what_changed_is_run_again_and_nothing_else(tiny_data: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / 'out'
    first = Launcher()
    assert study(write_study(tmp_path, tiny_data), out, first) == 0
    assert first.names == ['bicubic', 'Light, seed 0', 'Random, seed 0', 'Light, seed 1', 'Random, seed 1']

    random = "'model.generator.bank.pretrained': None"
    row = (random, f"{random}, 'model.generator.encoder.growth_channels': 8")
    changed = Launcher()
    assert study(write_study(tmp_path, tiny_data, row), out, changed) == 0
    assert changed.names == ['Random, seed 0', 'Random, seed 1']
    assert (out / 'runs' / 'Random' / 'seed_0.old1' / 'train.json').is_file()  # never thrown away
    assert 'the old one is kept in' in capsys.readouterr().out

    # Another metric is a test, no training.
    metric = ("features='stlpips-alex')", "features='stlpips-alex'), dict(type='SSIM')")
    path = write_study(tmp_path, tiny_data, row, metric)
    assert study(path, out, Launcher(), '--dry-run') == 0
    assert 'Light, seed 0: to do: test\n' in capsys.readouterr().out
    markers = [run.folder / 'train.json' for run in plan(read_study(path), out) if run.iters]
    times = [marker.stat().st_mtime_ns for marker in markers]
    more = Launcher()
    assert study(path, out, more) == 0 and len(more.names) == 5
    assert times == [marker.stat().st_mtime_ns for marker in markers]


def test_a_bank_that_is_trained_anew_is_another_bank(tiny_data: Path, tmp_path: Path) -> None:
    bank = tmp_path / 'bank.safetensors'
    bank.write_bytes(BANK_FILE.read_bytes())
    option = f"{{'model.generator.bank.pretrained.checkpoint': {str(bank)!r}}}"
    rows = ("'Light': dict(config=_config)", f"'Light': dict(config=_config, cfg_options={option})")
    path = write_study(tmp_path, tiny_data, rows)
    prints = [plan(read_study(path), tmp_path)[1].train_fingerprint]
    moved = write_study(tmp_path, tiny_data)  # the same bank elsewhere
    prints.append(plan(read_study(moved), tmp_path)[1].train_fingerprint)
    bank.write_bytes(bank.read_bytes()[:-1] + b'x')
    prints.append(plan(read_study(write_study(tmp_path, tiny_data, rows)), tmp_path)[1].train_fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_run_that_fails_is_named_and_tried_again(tiny_data: Path, tmp_path: Path, capsys: Any) -> None:
    path, out = write_study(tmp_path, tiny_data), tmp_path / 'out'
    assert study(path, out, Launcher(fail=['Light, seed 1'])) == 1
    said = capsys.readouterr()
    assert 'Light, seed 1: FAILED with 3' in said.out and 'Oops: why it failed' in said.out
    assert '1 runs failed: Light, seed 1' in said.err
    assert 'Not done yet: Light, seed 1.' in (out / 'table.md').read_text()
    again = Launcher()
    assert study(path, out, again) == 0
    assert again.names == ['Light, seed 1']
    assert 'Not done yet' not in (out / 'table.md').read_text()


def test_options_of_the_tool(tiny_data: Path, tmp_path: Path, capsys: Any) -> None:
    path, out = write_study(tmp_path, tiny_data), tmp_path / 'out'
    launcher = Launcher()
    assert study(path, out, launcher, '--dry-run') == 0
    assert '5 of 5 runs to do, about an unknown time' in capsys.readouterr().out
    assert study(path, out, launcher, '--dry-run', '--measure') == 0
    assert launcher.names == ['Light, seed 0', 'Random, seed 0']  # the measurements
    # Four trainings of 4 iterations of 2 s.
    assert '5 of 5 runs to do, about 32 s of training' in capsys.readouterr().out
    assert study(path, out, launcher, '--dry-run', '--jobs', '2') == 0
    assert 'about 16 s of training' in capsys.readouterr().out
    assert study(path, out, launcher, '--report') == 0
    assert 'Not done yet' in (out / 'table.md').read_text()

    launcher = Launcher()
    assert study(path, out, launcher, '--rows', 'Random', '--seeds', '5', '--budget', 'images=9') == 0
    assert launcher.names == ['Random, seed 5']
    assert json.loads((out / 'runs' / 'Random' / 'seed_5' / 'run.json').read_text())['iters'] == 4  # of 2 pictures
    # Seconds are measured, and that is the study's only training where it is all that is asked for.
    launcher = Launcher()
    assert study(path, tmp_path / 'timed', launcher, '--rows', 'Light', '--budget', 'seconds=7', '--seeds', '0') == 0
    assert launcher.names == ['Light, seed 0', 'Light, seed 0']
    asked = [json.loads((tmp_path / 'timed' / part / 'run.json').read_text())
             for part in ('speed/Light', 'runs/Light/seed_0')]  # fmt: skip
    assert [each['iters'] for each in asked] == [12, 3]
    launcher = Launcher()
    options = ('--rows', 'Light', '--cfg-options', 'train_dataloader.batch_size=3')
    assert study(path, tmp_path / 'other', launcher, *options) == 0
    config = (tmp_path / 'other' / 'runs' / 'Light' / 'seed_0' / 'config.py').read_text()
    assert re.search(r"'batch_size': 3", config)


def test_jobs_run_side_by_side_with_their_share_of_the_processors(tiny_data: Path, tmp_path: Path) -> None:
    runs = plan(read_study(write_study(tmp_path, tiny_data)), tmp_path / 'out')
    going: list[str] = []
    seen: list[tuple[int, int]] = []

    class Slow(Done):
        def __init__(self, run: Run) -> None:
            super().__init__()
            self.run, self.left = run, 2
            going.append(run.name)

        def poll(self) -> int | None:  # type: ignore[override]
            self.left -= 1
            if self.left:
                return None
            pretend(self.run)
            going.remove(self.run.name)
            return 0

    def launch(run: Run, threads: int) -> Slow:
        job = Slow(run)
        seen.append((len(going), threads))
        return job

    assert carry_out(runs, Progress(len(runs), {}, 2, lambda line: None), launch=launch) == []
    assert max(count for count, _ in seen) == 2
    assert {threads for _, threads in seen} == {max(1, (os.cpu_count() or 1) // 2)}


def test_schedule_is_stretched_to_the_budget(tiny_data: Path, tmp_path: Path) -> None:
    run = plan(read_study(write_study(tmp_path, tiny_data)), tmp_path)[1]
    assert (run.config['train_cfg']['max_iters'], run.config['train_cfg']['val_interval']) == (4, 2)
    scheduler = run.config['param_scheduler']
    assert (scheduler['T_max'], scheduler['end']) == (4, 4)  # of 1000, as is the config's training


def test_two_studies_do_not_share_a_folder(tmp_path: Path) -> None:
    with only_one(tmp_path / 'out'), pytest.raises(StudyError, match='at work in .*out'), only_one(tmp_path / 'out'):
        pass
    with only_one(tmp_path / 'out'):
        pass


@pytest.mark.parametrize(('change', 'message'), [
    (("reference = 'Random'", "reference = 'Rendom'"), "reference 'Rendom' is none of the rows 'bicubic', 'Light'"),
    (("budget = dict(iters=4)", 'budget = dict(iters=0)'), r'budget\.iters must be a positive whole number, but is 0'),
    (("budget = dict(iters=4)", 'budget = dict(iters=2.5)'), r'budget\.iters must be a positive whole number'),
    (("budget = dict(iters=4)", 'budget = dict(epochs=2)'), r'budget must have one of iters, images, seconds'),
    (("budget = dict(iters=4)", 'budget = dict(images=1)'), "1 images is less than one iteration of 'Light'"),
    (("'Light': dict(config=_config)", "'Light': dict(config='nowhere.py')"), "'Light' has no config .*nowhere.py"),
    (("'Light': dict(config=_config)", "'Light': dict(cfg_options={})"), "'Light' lacks its config"),
    (("'Light': dict(config=_config)", "'Light': dict(config=_config, checkpoint='no.pth')"), 'no checkpoint .*no.pth'),
    (("'Light': dict(config=_config)", "'random': dict(config=_config)"), "'random' and 'Random' would share"),
    (('seeds = [0, 1]', 'seeds = [0, 0]'), r'seeds must be different whole numbers .*\[0, 0\]'),
    (('val_points = 2', 'val_point = 2'), r"unknown keys \['val_point'\]"),
    (("file='groups.csv'", "file='sets.csv'"), 'no file .*sets.csv'),
    (("group='base'", "group='kind'"), 'no column kind'),
    (("dict(config=_config),", "dict(config=_config, cfg_options={'model.discriminator.in_size': 32}),"),
     '`model.discriminator` differs between the rows .Light. and .Random.'),
])  # fmt: skip
def test_errors_name_what_is_wrong(
    change: tuple[str, str], message: str, tiny_data: Path, tmp_path: Path, capsys: Any
) -> None:
    assert study(write_study(tmp_path, tiny_data, change), tmp_path / 'out', Launcher()) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / 'out').exists()


def test_unknown_rows_and_studies_are_named(tiny_data: Path, tmp_path: Path, capsys: Any) -> None:
    path = write_study(tmp_path, tiny_data)
    assert study(path, tmp_path / 'out', Launcher(), '--rows', 'Heavy') == 1
    assert "no row 'Heavy'; the study has 'bicubic', 'Light', 'Random'" in capsys.readouterr().err
    assert study(tmp_path / 'nothing.py', tmp_path / 'out', Launcher()) == 1
    assert 'no study' in (error := capsys.readouterr().err) and 'twemoji_4x, twemoji_8x' in error


# ---- numbers


def test_paired_test_is_scipy_s() -> None:
    random = np.random.default_rng(1)
    names = [f'picture {i}' for i in range(30)]
    draw = lambda mean: [dict(zip(names, random.normal(mean, 1, 30))) for _ in range(3)]  # noqa: E731
    seeds = dict(a=draw(0.3), b=draw(0))
    ours = paired_test(seed_average(seeds['a']), seed_average(seeds['b']))
    a, b = (np.array([[run[name] for name in names] for run in seeds[row]]).mean(axis=0) for row in 'ab')
    assert ours.p == pytest.approx(scipy.stats.wilcoxon(a, b).pvalue)
    assert (ours.units, ours.difference) == (30, pytest.approx((a - b).mean()))
    interval = scipy.stats.bootstrap((a - b,), np.mean, method='percentile', n_resamples=10_000).confidence_interval
    assert (ours.low, ours.high) == (pytest.approx(interval.low, abs=0.02), pytest.approx(interval.high, abs=0.02))

    groups = {name: str(i // 5) for i, name in enumerate(names)}
    grouped = paired_test(*(group_average(seed_average(seeds[row]), groups) for row in 'ab'))
    by_group = (a - b).reshape(6, 5).mean(axis=1)
    assert (grouped.units, grouped.p) == (6, pytest.approx(scipy.stats.wilcoxon(by_group).pvalue))
    equal = paired_test(seeds['a'][0], seeds['a'][0])
    assert (equal.p, equal.difference, equal.low, equal.high) == (1, 0, 0, 0)

    assert (better_pairs([3, 1], [2, 0], False), better_pairs([3, 1], [2, 0], True)) == (3, 1)
    assert spread([1.0, 3.0]) == pytest.approx(2**0.5) and spread([1.0]) is None
    with pytest.raises(StudyError, match="different pictures: 1 are in one only, such as 'b'"):
        paired_test(dict(a=1.0, b=2.0), dict(a=1.0))
    with pytest.raises(StudyError, match='in no group'):
        group_average(dict(a=1.0), {})


@pytest.mark.parametrize('name', ['twemoji_4x', 'twemoji_8x'])
def test_our_studies_can_be_carried_out(name: str, tmp_path: Path) -> None:
    """Every row builds; all have one discriminator, data and losses; the random banks are those that should be."""
    whole = read_study(STUDIES / f'{name}.py')
    runs = [run for run in plan(whole, tmp_path) if run.seed == 0]
    assert [run.row.label for run in runs] == list(whole.rows)
    sizes = {}
    for run in runs:
        model = run.config['model']
        with torch.device('meta'):
            generator = MODELS.build(model['generator'])
        cost = complexity(model['generator'])  # a test's last step: it must not fail behind a long training
        sizes[run.row.label] = sum(cost.kept.values())
        assert cost.trained == sum(p.numel() for p in generator.parameters() if p.requires_grad), run.name
        assert (generator.in_size, generator.out_size) == (64 // int(name[-2]), 64)
        assert Path(model['discriminator']['pretrained']['checkpoint']).is_file()
        bank = model['generator'].get('bank', {})
        if bank:
            assert (bank['pretrained'] is None) == ('random' in run.row.label), run.name
            assert generator.bank.frozen == ('fine-tuned' not in run.row.label), run.name
            light = run.row.label.startswith('LightGLEAN')
            start = re.search(r'from (\d+)', run.row.label)
            expected = int(start.group(1)) if start else generator.in_size if light else 4
            assert generator.bank.start_res == expected, run.name
    assert {run.seed for run in plan(whole, tmp_path)} == {0, 1, 2}
    assert sizes['LightGLEAN, 1 RRDB'] < sizes['LightGLEAN'] < sizes['GLEAN']
    groups = whole.groups or {}
    assert groups['1f477-1f3fb'] == groups['1f477'] != groups['1f46a']
