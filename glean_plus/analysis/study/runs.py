"""From a study to its runs: a config, a folder and a fingerprint for each row and seed.

A run's folder holds what was asked (``run.json``, ``config.py``), the training (checkpoints, logs, ``train.json`` once
it is whole) and the test (``test.json`` once it is whole). A result counts only if its fingerprint is that of what is
asked now; the fingerprint covers the config and the contents of the weights and lists that it names, not the images.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

from mmengine.config import Config

from glean_plus.analysis.study.definition import Row, Study, StudyError
from glean_plus.utils.files import read_json, save_json, save_text
from glean_plus.weights.fetch import sha256

# What a training depends on, and what a test does beside its weights.
TRAIN_KEYS = (
    'model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'randomness', 'load_from',
    'auto_scale_lr', 'custom_hooks',
)  # fmt: skip
TEST_KEYS = ('model', 'test_dataloader', 'test_cfg', 'test_evaluator', 'load_from')
# Keys of a learning-rate schedule that count iterations.
ITERATIONS = ('begin', 'end', 'T_max', 'step_size', 'milestones', 'periods')
LENGTHS = ('T_max', 'step_size', 'periods')  # which last for one at least
# A checkpoint after each such share of a training.
CHECKPOINTS = 10
# Lines of the log of losses in a training, for the curves.
LOG_LINES = 50
# A row's speed is measured over so many iterations.
MEASURED_ITERS = 12


@dataclass(frozen=True)
class Run:
    """One training and its test, or one of the two alone.

    Attributes:
        iters: Length of the training; None if nothing is trained.
        train_fingerprint, test_fingerprint: Of what the results depend on; None if there is no such part.
    """

    row: Row
    seed: int
    folder: Path
    config: Mapping[str, Any]
    iters: int | None
    train_fingerprint: str | None
    test_fingerprint: str | None

    @property
    def name(self) -> str:
        return f'{self.row.label}, seed {self.seed}' if self.row.trained else self.row.label

    @property
    def trained(self) -> dict[str, Any] | None:
        """The record of the training, if it is whole and of this run."""
        return self._marker('train.json', self.train_fingerprint)

    @property
    def tested(self) -> dict[str, Any] | None:
        """The record of the test, if it is whole and of this run."""
        return self._marker('test.json', self.test_fingerprint)

    def _marker(self, name: str, fingerprint: str | None) -> dict[str, Any] | None:
        marker = read_json(self.folder / name) if fingerprint else None
        return marker if marker and marker['fingerprint'] == fingerprint else None

    @property
    def missing(self) -> list[str]:
        """The parts that are still to do, of ``train`` and ``test``."""
        train = self.train_fingerprint is not None and self.trained is None
        test = self.test_fingerprint is not None and (train or self.tested is None)
        return ['train'] * train + ['test'] * test

    @property
    def begun(self) -> bool:
        """Whether the folder has a part of this very training."""
        asked = read_json(self.folder / 'run.json')
        return bool(asked and self.train_fingerprint and asked['train_fingerprint'] == self.train_fingerprint
                    and not self.trained and (self.folder / 'last_checkpoint').is_file())  # fmt: skip

    def prepare(self) -> Path | None:
        """Write what is asked into the folder.

        Returns:
            Where a folder of another training was put aside, if there was one.
        """
        asked, aside = read_json(self.folder / 'run.json'), None
        if asked and asked['train_fingerprint'] != self.train_fingerprint:
            places = (self.folder.with_name(f'{self.folder.name}.old{number}') for number in itertools.count(1))
            aside = next(place for place in places if not place.exists())
            self.folder.rename(aside)
        lines = (f'{key} = {pformat(value, width=120, sort_dicts=False)}\n' for key, value in self.config.items())
        save_text(''.join(lines), self.folder / 'config.py')
        save_json(dict(
            label=self.row.label, seed=self.seed, iters=self.iters, checkpoint=self.row.checkpoint,
            picture=self.row.picture, train_fingerprint=self.train_fingerprint, test_fingerprint=self.test_fingerprint,
        ), self.folder / 'run.json')  # fmt: skip
        return aside


def plan(study: Study, out: Path, speed: Mapping[str, float] | None = None) -> list[Run]:
    """The runs of a study, done or not, seed by seed, so that every row is there early.

    Args:
        speed: Seconds an iteration by label, which a budget in seconds needs; a row without one has no runs yet.

    Raises:
        StudyError: If the budget is too small, or the rows differ in what must be the same.
    """
    configs = {label: _base_config(study, row) for label, row in study.rows.items()}
    _check_same(study, configs)
    seeds = dict.fromkeys(seed for row in study.rows.values() for seed in study.row_seeds(row))
    runs = []
    for seed in seeds:
        for label, row in study.rows.items():
            iters = _iterations(study, row, configs[label], (speed or {}).get(label)) if row.trained else None
            if seed in study.row_seeds(row) and not (row.trained and iters is None):
                folder = out / 'runs' / row.folder / (f'seed_{seed}' if row.trained else 'test')
                runs.append(_run(study, row, configs[label], seed, folder, iters))
    return runs


def measurements(study: Study, out: Path) -> list[Run]:
    """A short training of each row, to know its seconds an iteration."""
    return [
        _run(study, row, _base_config(study, row), 0, out / 'speed' / row.folder, MEASURED_ITERS, test=False)
        for row in study.rows.values() if row.trained
    ]  # fmt: skip


def speeds(study: Study, out: Path) -> dict[str, float]:
    """Label -> seconds an iteration: measured for it, or else, where the budget needs none, of a run that is done."""
    known = {run.row.label: run.trained['seconds_per_iter'] for run in measurements(study, out) if run.trained}
    if study.budget[0] != 'seconds':
        done: dict[str, list[float]] = {}
        for run in plan(study, out):
            if run.trained:
                done.setdefault(run.row.label, []).append(run.trained['seconds_per_iter'])
        known |= {label: sum(times) / len(times) for label, times in done.items()}
    return known


def _base_config(study: Study, row: Row) -> Config:
    config = Config.fromfile(row.config)
    for options in (study.cfg_options, row.cfg_options):
        config.merge_from_dict(copy.deepcopy(dict(options)))
    return config


def _iterations(study: Study, row: Row, config: Config, speed: float | None) -> int | None:
    kind, amount = study.budget
    if kind == 'iters':
        return int(amount)
    if kind == 'images':
        batch = config.train_dataloader.batch_size
        iters, why = int(amount) // batch, f'a batch of {batch}'
    elif speed is None:
        return None
    else:
        iters, why = math.floor(amount / speed), f'{speed:.3g} s an iteration'
    if iters < 1:
        raise StudyError(f'A budget of {amount:g} {kind} is less than one iteration of {row.label!r}, which has {why}.')
    return iters


def _run(
    study: Study, row: Row, base: Config, seed: int, folder: Path, iters: int | None, test: bool = True
) -> Run:
    config = copy.deepcopy(base)
    config.work_dir = str(folder)
    config.randomness = {**config.get('randomness', {}), 'seed': seed, 'deterministic': study.deterministic}
    config.resume = False
    metrics = [dict(copy.deepcopy(dict(metric))) for metric in study.metrics]
    val = iters is not None and test and study.val_points > 0
    if iters is not None:
        _stretch(config, iters)
        config.train_cfg.max_iters = iters
        config.train_cfg.val_interval = math.ceil(iters / study.val_points) if val else 10**9
        hooks = config.setdefault('default_hooks', {})
        hooks.logger = dict(type='LoggerHook', interval=max(1, iters // LOG_LINES), log_metric_by_epoch=False)
        # Two, so that there is one to resume from where the newest is damaged.
        interval = math.ceil(iters / CHECKPOINTS) if test else -1
        hooks.checkpoint = dict(
            type='WholeCheckpointHook', by_epoch=False, max_keep_ckpts=2, interval=interval, save_last=test
        )
        if val:
            watched = metrics if study.val_metrics is None else study.val_metrics
            config.val_evaluator = dict(type='Evaluator', metrics=copy.deepcopy(list(watched)))
    for key in () if val else ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config.pop(key, None)
    if row.picture:
        metrics = [metric | dict(pred_key=row.picture) for metric in metrics]
    config.load_from = row.checkpoint or config.get('load_from')
    config.test_evaluator = dict(type='Evaluator', metrics=metrics)
    data = config.to_dict()
    trained = _fingerprint(data, TRAIN_KEYS) if iters is not None else None
    tested = _fingerprint({**data, 'trained': trained}, (*TEST_KEYS, 'trained')) if test else None
    return Run(row, seed, folder, data, iters, trained, tested)


def _stretch(config: Config, iters: int) -> None:
    """Bring the learning-rate schedules from the config's length to the budget's."""
    length = config.train_cfg.max_iters

    def scaled(value: Any) -> Any:
        return [scaled(each) for each in value] if isinstance(value, (list, tuple)) else round(value * iters / length)

    def lasting(value: Any) -> Any:
        if isinstance(value, list):
            return [lasting(each) for each in value]
        return max(value, 1)

    def walk(part: Any) -> None:
        if isinstance(part, (list, tuple)):
            for each in part:
                walk(each)
        elif isinstance(part, dict) and 'type' in part:
            if not part.get('by_epoch', True):
                part.update({key: scaled(part[key]) for key in ITERATIONS if part.get(key) is not None})
                part.update({key: lasting(part[key]) for key in LENGTHS if part.get(key) is not None})
                if part.get('end') is not None:  # MMEngine refuses a schedule without an iteration
                    part['end'] = max(part['end'], part.get('begin', 0) + 1)
        elif isinstance(part, Mapping):  # one for each optimiser
            for each in part.values():
                walk(each)

    walk(config.get('param_scheduler') or ())


def _check_same(study: Study, configs: Mapping[str, Config]) -> None:
    plain = {label: config.to_dict() for label, config in configs.items()}
    for key in dict.fromkeys((*study.same, 'test_dataloader')):
        first: tuple[str, str] | None = None
        for label, config in plain.items():
            if not study.rows[label].trained and key != 'test_dataloader':
                continue
            value: Any = config
            for name in key.split('.'):
                value = value.get(name) if isinstance(value, Mapping) else None
            text = _canonical(value)
            if first is not None and text != first[1]:
                raise StudyError(f'`{key}` differs between the rows {first[0]!r} and {label!r}. It must be the same in '
                                 'all rows, so that they compare one thing, or not be in `same`.')  # fmt: skip
            first = first or (label, text)


def _fingerprint(data: Mapping[str, Any], keys: Sequence[str]) -> str:
    chosen = {key: data.get(key) for key in keys}
    if 'custom_hooks' in chosen:  # it only looks at a test
        chosen['custom_hooks'] = [hook for hook in chosen['custom_hooks'] or () if hook['type'] != 'PictureHook']
    return hashlib.sha256(_canonical(chosen).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    """The value as JSON has it; a file of weights, and a data set's list, by its content, wherever it is."""
    if isinstance(value, Mapping):
        folder = Path(value['data_root']) if isinstance(value.get('data_root'), str) else None
        return {str(key): _listed(folder, each) or _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, str) and value.endswith(('.safetensors', '.pth', '.pt', '.pkl')) and Path(value).is_file():
        return f'sha256:{_file_hash(Path(value))}'
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)


def _listed(folder: Path | None, value: Any) -> str | None:
    """A list in a data set's folder, such as ``ann_file``, by its content."""
    if folder is None or not isinstance(value, str) or not (folder / value).is_file():
        return None
    return f'sha256:{_file_hash(folder / value)}'


def _file_hash(path: Path) -> str:
    status = path.stat()
    return _known_hash(path.resolve(), status.st_mtime_ns, status.st_size)


@functools.cache
def _known_hash(path: Path, *state: int) -> str:
    return sha256(path)
