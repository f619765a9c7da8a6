"""A small study, and what runs it in this process or only pretends to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from glean_plus.analysis.study import run as study_run
from glean_plus.analysis.study import worker as study_worker
from glean_plus.analysis.study.runs import Run
from glean_plus.utils.files import save_json

from conftest import CONFIGS, load_tool

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
        save_json(marker, run.folder / 'train.json')
    if run.test_fingerprint:
        values = {name: len(run.row.label) + run.seed + index / 10 for index, name in enumerate('abcd')}
        keys = ['PSNR', 'LR-PSNR', 'KID-ST-LPIPS-alex', 'SSIM'][:len(run.config['test_evaluator']['metrics'])]
        metrics = {key: float(np.mean([*values.values()])) for key in keys}
        content = dict(fingerprint=run.test_fingerprint, metrics=metrics, per_picture={'PSNR': values}, seconds=1.0)
        save_json(content, run.folder / 'test.json')


def study(path: Path, out: Path, launcher: Callable, *options: str) -> int:
    with mock.patch.object(study_run, 'launch_process', launcher):
        return load_tool('study').main([str(path), '--out', str(out), *options])
