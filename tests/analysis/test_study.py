"""Studies: what is run, what is run again, what is refused, and the paired test; nothing is trained here."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from glean_plus.analysis.study.definition import StudyError, read_study
from glean_plus.analysis.study.execute import Progress, carry_out, only_one
from glean_plus.analysis.study.hooks import PerImage
from glean_plus.analysis.study.runs import Run, plan
from glean_plus.analysis.study.statistics import better_pairs, group_average, paired_test, seed_average, spread

from conftest import BANK_FILE, CONFIGS
from small_study import Done, Launcher, pretend, study, write_study


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


def test_what_only_looks_at_a_training_is_no_part_of_it(tiny_data: Path, tmp_path: Path) -> None:
    """Where the curves show all metrics, and one is added; where the held-out images are others."""
    data = tmp_path / 'data'
    data.symlink_to(tiny_data)
    curves = ("val_metrics = [dict(type='PSNR')]\n", '')
    metric = ("features='stlpips-alex')", "features='stlpips-alex'), dict(type='SSIM')")
    runs = [plan(read_study(write_study(tmp_path, data, *changes)), tmp_path)[1]
            for changes in ((curves,), (curves, metric))]  # fmt: skip
    data.unlink()
    shutil.copytree(tiny_data, data)
    names = data / 'meta_info_Twemoji_people_test.txt'
    names.write_text(''.join(names.read_text().splitlines(keepends=True)[1:]))
    runs.append(plan(read_study(write_study(tmp_path, data, curves)), tmp_path)[1])
    assert len({run.test_fingerprint for run in runs}) == 3
    # Another path of the same images is another data_root, and so another training.
    assert len({run.train_fingerprint for run in runs}) == 1


def test_another_list_of_pictures_is_another_training(tiny_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / 'data'))
    path = write_study(tmp_path, data)
    before = plan(read_study(path), tmp_path)[1].train_fingerprint
    names = data / 'meta_info_Twemoji_people_train.txt'
    names.write_text(''.join(names.read_text().splitlines(keepends=True)[1:]))
    assert plan(read_study(path), tmp_path)[1].train_fingerprint != before


def test_a_short_budget_keeps_each_schedule(tmp_path: Path) -> None:
    """A warm-up of a tenth, of five iterations."""
    study = read_study(CONFIGS / 'studies' / 'twemoji_8x.py').select(budget=dict(iters=5))
    warm_up, rest = plan(study, tmp_path)[1].config['param_scheduler']
    assert (warm_up['begin'], warm_up['end']) == (0, 1) and (rest['begin'], rest['end'], rest['T_max']) == (0, 5, 4)


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
    assert study(path, out, launcher, '--report', '--reference', 'Light') == 0
    assert json.loads((out / 'results.json').read_text())['reference'] == 'Light'
    assert study(path, out, launcher, '--report', '--reference', 'Heavy') == 2
    assert "There is no row 'Heavy'" in capsys.readouterr().err

    launcher = Launcher()
    assert study(path, out, launcher, '--rows', 'Random', '--seeds', '5', '--budget', 'images=9') == 0
    assert launcher.names == ['Random, seed 5']
    assert json.loads((out / 'runs' / 'Random' / 'seed_5' / 'run.json').read_text())['iters'] == 4  # of 2 images
    # Seconds are measured, and that is the study's only training where it is all that is asked for.
    launcher = Launcher()
    assert study(path, tmp_path / 'timed', launcher, '--rows', 'Light', '--budget', 'seconds=7', '--seeds', '0') == 0
    assert launcher.names == ['Light, seed 0', 'Light, seed 0']
    timed = ('--rows', 'Light', '--budget', 'seconds=7', '--seeds')
    another = Launcher()
    assert study(path, tmp_path / 'timed', another, *timed, '1') == 0 and another.names == ['Light, seed 1']
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
    assert study(write_study(tmp_path, tiny_data, change), tmp_path / 'out', Launcher()) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / 'out').exists()


def test_unknown_rows_and_studies_are_named(tiny_data: Path, tmp_path: Path, capsys: Any) -> None:
    path = write_study(tmp_path, tiny_data)
    assert study(path, tmp_path / 'out', Launcher(), '--rows', 'Heavy') == 2
    assert "no row 'Heavy'; the study has 'bicubic', 'Light', 'Random'" in capsys.readouterr().err
    assert study(tmp_path / 'nothing.py', tmp_path / 'out', Launcher()) == 2
    assert 'no study' in (error := capsys.readouterr().err) and 'twemoji_4x, twemoji_8x' in error


# ---- numbers


def test_paired_test_is_scipy_s() -> None:
    random = np.random.default_rng(1)
    names = [f'image {i}' for i in range(30)]
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
    with pytest.raises(StudyError, match="different images: 1 are in one only, such as 'b'"):
        paired_test(dict(a=1.0, b=2.0), dict(a=1.0))
    with pytest.raises(StudyError, match='in no group'):
        group_average(dict(a=1.0), {})


def test_counts_beside_a_metric_are_no_metrics() -> None:
    """A study has one number for each of its metrics, also where an image is exact or left out."""
    hook = PerImage()
    hook.after_test_epoch(None, {'PSNR': 40.0, 'PSNR-exact': 1, 'bicubic/NIQE': 5.0, 'bicubic/NIQE-left-out': 2})
    assert hook.metrics == {'PSNR': 40.0, 'bicubic/NIQE': 5.0}
