"""A study file: which models are compared, under which budget, by which metrics."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from glean_plus.errors import GleanError
from glean_plus.utils.resources import data_folder

BUDGETS = ('iters', 'images', 'seconds')
# What must be the same for every row that is trained, so that the rows differ in the generator alone.
SAME = (
    'train_dataloader', 'test_dataloader', 'model.discriminator', 'model.pixel_loss', 'model.perceptual_loss',
    'model.gan_loss',
)  # fmt: skip


class StudyError(GleanError, ValueError):
    """A study that cannot be carried out as it is written."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    label: str  # its name in the table
    config: Path  # config file of the model
    # What differs from the config; keys as for `--cfg-options`.
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None  # test this file, and train nothing
    # Test what `test_cfg` adds to the predictions under this key, such as `bicubic_img`, and train nothing.
    picture: str | None = None
    seeds: tuple[int, ...] | None = None  # in place of the study's

    @property
    def trained(self) -> bool:
        return self.checkpoint is None and self.picture is None

    @property
    def folder(self) -> str:
        """The label as a name of a folder."""
        return re.sub(r'[^A-Za-z0-9.+-]+', '_', self.label).strip('_.')


@dataclass(frozen=True)
class Study:
    """The content of a study file; :func:`read_study` explains the keys."""

    title: str
    rows: Mapping[str, Row]
    budget: tuple[str, float]
    metrics: Sequence[Mapping[str, Any]]
    reference: str
    seeds: tuple[int, ...] = (0, 1, 2)
    same: tuple[str, ...] = SAME
    val_points: int = 5
    val_metrics: Sequence[Mapping[str, Any]] | None = None
    deterministic: bool = True
    better: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)

    def row_seeds(self, row: Row) -> tuple[int, ...]:
        """Seeds of a row's runs: one where nothing is trained, as nothing is random there."""
        seeds = row.seeds if row.seeds is not None else self.seeds
        return seeds if row.trained else seeds[:1]

    def select(
        self,
        rows: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        budget: Mapping[str, float] | None = None,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> Study:
        """The study with some of its rows, other seeds, another budget, and further options for every config.

        Raises:
            StudyError: On a row that is not there, or seeds or a budget that is none.
        """
        study = self if budget is None else replace(self, budget=_budget(budget))
        if rows is not None:
            study = replace(study, rows={label: self.row(label) for label in rows})
        if seeds is not None:
            checked = _seeds(seeds, 'seeds')
            study = replace(
                study, seeds=checked, rows={label: replace(row, seeds=None) for label, row in study.rows.items()}
            )
        return replace(study, cfg_options={**self.cfg_options, **(cfg_options or {})})

    def row(self, label: str) -> Row:
        if label not in self.rows:
            raise StudyError(f'There is no row {label!r}; the study has {", ".join(map(repr, self.rows))}.')
        return self.rows[label]


def read_study(path: Path) -> Study:
    """Read a study file, ``.py`` (with ``_base_``, as a config), ``.yaml`` or ``.json``.

    Paths in it are relative to its folder. Its keys, of which the first four must be there:

    * ``rows``: label -> ``dict(config=..., cfg_options={'a.b': c}, checkpoint=..., picture=..., seeds=[...])``, all but
      ``config`` optional; see :class:`Row`.
    * ``budget``: ``dict(iters=N)``, ``dict(images=N)`` or ``dict(seconds=N)``, for each run. Seconds are of training
      steps, and become iterations by a measurement of each row before the first training. Each learning-rate schedule
      is stretched from its config's length to the budget's.
    * ``metrics``: Configs of the metrics.
    * ``reference``: Label of the row that the others are compared with.
    * ``seeds``: Default 0, 1, 2.
    * ``title``.
    * ``same``: Keys whose values must be the same in every row; the test data always must be.
    * ``val_points``: How often each training is tested on the way, for the curves; 0 for never.
    * ``val_metrics``: Configs of the metrics that these tests have, of the same keys as the others; default: all.
    * ``deterministic``: PyTorch's deterministic algorithms, where there are any; a log names those that have none.
      Without them, a GPU does not give the same numbers twice.
    * ``better``: Metric's key -> ``higher`` or ``lower``, for metrics that are not known.
    * ``groups``: ``dict(file='x.csv', picture='column', group='column')``: images of one group are variants of one
      thing, and so no independent evidence. A second test then has one number a group.
    * ``cfg_options``: For every row, before the row's own.

    Names that start with an underscore are for the file's own use.

    Raises:
        StudyError: If the file is missing, or a key is missing, unknown or of no use.
    """
    if not path.is_file():
        raise StudyError(f'There is no study file {path}.')
    data = {key: value for key, value in Config.fromfile(path).to_dict().items() if not key.startswith('_')}
    _known(data, Study.__dataclass_fields__, str(path))
    if missing := [key for key in ('rows', 'budget', 'metrics', 'reference') if not data.get(key)]:
        raise StudyError(f'{path} lacks {", ".join(missing)}.')
    rows = {str(label): _row(str(label), row, path) for label, row in data['rows'].items()}
    folders: dict[str, str] = {}
    for row in rows.values():
        if not row.folder:
            raise StudyError(f'The row {row.label!r} needs a label with a letter or digit, for the name of its folder.')
        other = folders.setdefault(row.folder.lower(), row.label)
        if other != row.label:
            raise StudyError(f'The rows {other!r} and {row.label!r} would share the folder {row.folder}: rename one.')
    if data['reference'] not in rows:
        raise StudyError(f'The reference {data["reference"]!r} is none of the rows {", ".join(map(repr, rows))}.')
    if wrong := {key: value for key, value in data.get('better', {}).items() if value not in ('higher', 'lower')}:
        raise StudyError(f"`better` must say 'higher' or 'lower', but says {wrong}.")
    val_points = data.get('val_points', Study.val_points)
    if not isinstance(val_points, int) or val_points < 0:
        raise StudyError(f'val_points must be 0 or a positive number, but is {val_points!r}.')
    checked = dict(
        rows=rows,
        budget=_budget(data['budget']),
        seeds=_seeds(data.get('seeds', Study.seeds), 'seeds'),
        same=tuple(data.get('same', Study.same)),
        deterministic=bool(data.get('deterministic', Study.deterministic)),
        groups=_groups(data['groups'], path) if data.get('groups') else None,
    )
    return Study(**{'title': path.stem, **data, **checked})


def _known(given: Iterable[str], known: Iterable[str], where: str) -> None:
    if unknown := sorted({*given} - {*known}):
        raise StudyError(f'{where} has unknown keys {unknown}; known are {sorted(known)}.')


def _row(label: str, data: Mapping[str, Any], study: Path) -> Row:
    _known(data, Row.__dataclass_fields__.keys() - {'label'}, f'The row {label!r}')
    if 'config' not in data:
        raise StudyError(f'The row {label!r} lacks its config.')
    config = study.parent / data['config']
    if not config.is_file():
        raise StudyError(f'The row {label!r} has no config {config}.')
    checkpoint, image = data.get('checkpoint'), data.get('picture')
    if checkpoint and image:
        raise StudyError(f'The row {label!r} has both checkpoint and picture; a row tests one thing.')
    if checkpoint:
        checkpoint = str((study.parent / checkpoint).resolve())
        if not Path(checkpoint).is_file():
            raise StudyError(f'The row {label!r} has no checkpoint {checkpoint}.')
    seeds = _seeds(data['seeds'], f'seeds of the row {label!r}') if 'seeds' in data else None
    return Row(label, config.resolve(), data.get('cfg_options', {}), checkpoint, image, seeds)


def _seeds(seeds: Sequence[int], what: str) -> tuple[int, ...]:
    ok = isinstance(seeds, (list, tuple)) and all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    if not ok or not seeds or len(set(seeds)) < len(seeds):
        raise StudyError(f'{what} must be different whole numbers from 0 on, one or more, but are {seeds!r}.')
    return tuple(seeds)


def _budget(budget: Any) -> tuple[str, float]:
    if not isinstance(budget, Mapping) or len(budget) != 1 or not {*budget} <= {*BUDGETS}:
        raise StudyError(f'budget must have one of {", ".join(BUDGETS)}, such as dict(iters=1000), but is {budget!r}.')
    ((kind, amount),) = budget.items()
    whole = kind == 'seconds' or isinstance(amount, int)
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount > 0 or not whole:
        raise StudyError(f'budget.{kind} must be a positive {"number" if kind == "seconds" else "whole number"}, '
                         f'but is {amount!r}.')  # fmt: skip
    return kind, amount


def _groups(groups: Mapping[str, str], study: Path) -> dict[str, str]:
    _known(groups, ('file', 'picture', 'group'), '`groups`')
    if missing := [key for key in ('file', 'picture', 'group') if key not in groups]:
        raise StudyError(f'`groups` lacks {", ".join(missing)}.')
    path = study.parent / groups['file']
    if not path.is_file():
        raise StudyError(f'`groups` has no file {path}.')
    with path.open(newline='', encoding='utf-8') as file:
        lines = list(csv.DictReader(file))
    if wrong := [groups[key] for key in ('picture', 'group') if not lines or groups[key] not in lines[0]]:
        raise StudyError(f'{path} has no column {", ".join(wrong)}.')
    return {line[groups['picture']]: line[groups['group']] for line in lines}


def lower_is_better(study: Study, metric: Mapping[str, Any], key: str) -> bool:
    """Whether the metric with this key in the results is better when it is lower.

    Raises:
        StudyError: If nobody says.
    """
    from glean_plus.metrics import directions
    from glean_plus.registry import METRICS

    if key in study.better:
        return study.better[key] == 'lower'
    known = directions.lower_is_better(METRICS.get(metric['type']))
    if known is None:
        raise StudyError(f"Whether {key} is better higher or lower is not known: add better={{'{key}': 'higher'}} to "
                         "the study, or 'lower'.")  # fmt: skip
    return known


def study_file(given: str) -> Path:
    """A path, or the name of a study of ours."""
    studies = data_folder('configs') / 'studies'
    candidates = [Path(given), studies / given, studies / f'{given}.py']
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        known = ', '.join(sorted(path.stem for path in studies.glob('*_*.py')))
        raise StudyError(f'There is no study {given}, neither as a file nor among ours: {known}.')
    return found.resolve()
