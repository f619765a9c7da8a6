"""The table of a study: Markdown for people, CSV and JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from glean_plus.analysis.study.curves import write_curves
from glean_plus.analysis.study.definition import Study, StudyError, lower_is_better
from glean_plus.analysis.study.runs import Run
from glean_plus.analysis.study.statistics import (
    STATEMENT,
    PairedTest,
    better_pairs,
    group_average,
    paired_test,
    seed_average,
    spread,
)
from glean_plus.utils.files import save_json, save_text
from glean_plus.utils.tables import csv_text, markdown

# Column -> key of what a run left, and its unit.
COSTS = {
    'parameters': ('parameters', 1e6, 'M'),
    'trained': ('trained', 1e6, 'M'),
    'multiply-adds': ('macs', 1e9, 'G'),
    's/iteration': ('seconds_per_iter', 1, ''),
    's/picture': ('seconds_per_image', 1, ''),
    'pictures seen': ('images', 1, ''),
}


@dataclass(frozen=True)
class Comparison:
    """A row against the reference, in one metric."""

    better_seeds: int  # in how many of `seed_pairs` pairs of seeds the row is better
    seed_pairs: int
    # The tests by image and by group; None for a metric of the whole set, and where a number is not finite.
    pictures: PairedTest | None = None
    groups: PairedTest | None = None


@dataclass
class Result:
    """The results of a row."""

    seeds: Sequence[int]  # of the runs that are done
    metrics: Mapping[str, Sequence[float]]  # key -> one number a seed
    per_picture: Mapping[str, Sequence[Mapping[str, float]]]  # key -> one mapping (image -> number) a seed
    costs: Mapping[str, float | None]  # column -> the mean over the seeds
    compared: dict[str, Comparison] = field(default_factory=dict)  # key -> the row against the reference

    def mean(self, key: str) -> float:
        return sum(self.metrics[key]) / len(self.metrics[key])


def results(study: Study, runs: Sequence[Run]) -> dict[str, Result]:
    """Label -> what its finished runs give, in the order of the rows; a row without any is left out."""
    by_label: dict[str, list[Run]] = {label: [] for label in study.rows}
    for run in runs:
        if run.tested and not run.missing:
            by_label[run.row.label].append(run)
    found = {}
    for label, done in by_label.items():
        if not done:
            continue
        tests = [run.tested or {} for run in done]
        known = [test | {key: (run.trained or {}).get(key) for key in ('seconds_per_iter', 'images')}
                 for run, test in zip(done, tests)]  # fmt: skip
        found[label] = Result(
            seeds=[run.seed for run in done],
            metrics={key: [test['metrics'][key] for test in tests] for key in tests[0]['metrics']},
            per_picture={key: [test['per_picture'][key] for test in tests] for key in tests[0]['per_picture']},
            costs={column: _mean([each.get(key) for each in known]) for column, (key, _, _) in COSTS.items()},
        )
    return found


def compare(study: Study, found: Mapping[str, Result], lower: Mapping[str, bool]) -> None:
    """Compare the rows with the reference, if that is done."""
    reference = found.get(study.reference)
    for label, result in found.items():
        if reference is None or label == study.reference:
            continue
        for key, ours in result.metrics.items():
            theirs = reference.metrics[key]
            tests: dict[str, PairedTest] = {}
            if key in result.per_picture:
                pair = [seed_average(each.per_picture[key]) for each in (result, reference)]
                # A training that diverged has a line in the table, but nothing to test.
                if all(math.isfinite(number) for each in pair for number in each.values()):
                    tests['pictures'] = paired_test(*pair)
                    if study.groups:
                        tests['groups'] = paired_test(*(group_average(each, study.groups) for each in pair))
            better = better_pairs(ours, theirs, lower[key])
            result.compared[key] = Comparison(better, len(ours) * len(theirs), **tests)


def directions(study: Study, found: Mapping[str, Result]) -> dict[str, bool]:
    """Metric's key -> whether lower is better; each metric of the study has one key, in its order."""
    keys = list(dict.fromkeys(key for result in found.values() for key in result.metrics))
    if found and len(keys) != len(study.metrics):
        raise StudyError(f'The study has {len(study.metrics)} metrics, but the results have the keys {keys}: each '
                         'metric must give one number.')  # fmt: skip
    return {key: lower_is_better(study, metric, key) for key, metric in zip(keys, study.metrics)}


def write_report(study: Study, runs: Sequence[Run], out: Path) -> Path:
    """Write ``table.md``, ``table.csv``, ``results.json`` and the curves of what is done.

    Returns:
        Path of the table.
    """
    found = results(study, runs)
    lower = directions(study, found)
    compare(study, found, lower)
    missing = [run.name for run in runs if run.missing]
    planned = {run.row.label for run in runs}
    missing += [label for label in study.rows if label not in planned]
    save_text(_markdown(study, found, lower, missing), out / 'table.md')
    save_text(_csv(study, found, lower), out / 'table.csv')
    save_json(dict(
        title=study.title, budget=dict([study.budget]), reference=study.reference, statement=STATEMENT, missing=missing,
        rows=[dict(
            label=label, seeds=list(result.seeds), metrics=dict(result.metrics),
            comparison={key: asdict(value) for key, value in result.compared.items()},
            costs=dict(result.costs),
        ) for label, result in found.items()],
    ), out / 'results.json')  # fmt: skip
    write_curves([run for run in runs if run.iters], list(lower), out)
    return out / 'table.md'


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _kinds(study: Study) -> list[str]:
    """Of the paired tests."""
    return ['pictures', 'groups'] if study.groups else ['pictures']


def _markdown(
    study: Study, found: Mapping[str, Result], lower: Mapping[str, bool], missing: Sequence[str]
) -> str:
    kind, amount = study.budget
    budget = f'Budget of each training: {amount:g} {kind}.'
    lines = [f'# {study.title}', '', f'{budget} Mean and, behind ±, standard deviation over seeds.', '']
    # Two for numbers of tens, as dB, and four for those below.
    most = {key: max(abs(value) for each in found.values() for value in each.metrics[key]) for key in lower}
    digits = {key: 2 if value >= 10 else 4 for key, value in most.items()}
    heads = [f'{key} {"↓" if low else "↑"}' for key, low in lower.items()]
    table = [['', 'seeds', *heads, *COSTS]]
    for label, result in found.items():
        cells = [label, str(len(result.seeds))]
        for key in lower:
            deviation = spread(result.metrics[key])
            cells.append(f'{result.mean(key):.{digits[key]}f}'
                         + (f' ± {deviation:.{digits[key]}f}' if deviation is not None else ''))  # fmt: skip
        table.append(cells + [_cost(result.costs[column], *COSTS[column][1:]) for column in COSTS])
    lines += markdown(table)
    if any(result.compared for result in found.values()):
        compared = _comparison_table(study, found, digits)
        note = ' Groups are variants of one thing, which are no independent evidence: the stricter test.'
        lines += ['', f'## Against {study.reference}', '', *compared, '', STATEMENT + (note if study.groups else '')]
    if missing:
        lines += ['', f'Not done yet: {"; ".join(missing)}.']
    return '\n'.join(lines) + '\n'


def _comparison_table(study: Study, found: Mapping[str, Result], digits: Mapping[str, int]) -> list[str]:
    kinds = _kinds(study)
    heads = [f'{head} ({kind})' for kind in kinds for head in ('difference [95 %]', 'p', 'n')]
    table = [['', 'metric', *heads, 'seeds']]
    for label, result in found.items():
        for key, each in result.compared.items():
            cells = [label, key]
            for kind in kinds:
                test: PairedTest | None = getattr(each, kind)
                cells += ['', '', ''] if test is None else [
                    test.text(digits[key]), f'{test.p:.1e}' if test.p < 0.001 else f'{test.p:.3f}', str(test.units)
                ]  # fmt: skip
            table.append([*cells, f'{each.better_seeds}/{each.seed_pairs}'])
            label = ''
    return markdown(table)


def _cost(value: float | None, unit: float, suffix: str) -> str:
    if value is None:
        return ''
    if suffix:
        return f'{value / unit:.2f} {suffix}'
    return f'{value:.3g}' if value < 100 else f'{value:,.0f}'


def _csv(study: Study, found: Mapping[str, Result], lower: Mapping[str, bool]) -> str:
    lines: list[dict[str, Any]] = []
    for label, result in found.items():
        line: dict[str, Any] = dict(row=label, seeds=len(result.seeds))
        for key in lower:
            line |= {f'{key} mean': result.mean(key), f'{key} std': spread(result.metrics[key])}
        line |= dict(result.costs)
        for key in lower:
            each = result.compared.get(key)
            for kind in _kinds(study):
                test = getattr(each, kind, None)
                numbers = {name: getattr(test, name, None) for name in ('difference', 'low', 'high', 'p')}
                line |= {f'{key} {name} ({kind})': number for name, number in numbers.items()}
            line |= {f'{key} better seeds': f'{each.better_seeds} of {each.seed_pairs}' if each else None}
        lines.append(line)
    return csv_text([[*lines[0]], *(line.values() for line in lines)]) if lines else ''
