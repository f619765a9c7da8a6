"""Which checkpoint is the best: the directions of the metrics that a validation reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmagic.evaluation.metrics.base_sample_wise_metric import BaseSampleWiseMetric

from glean_plus.metrics.directions import lower_is_better
from glean_plus.training.errors import TrainingError

RULES = ('greater', 'less')
KEY = 'default_hooks.checkpoint'


def best_rules(loop: Any, keys: Sequence[str], rules: Sequence[str | None]) -> dict[str, str | None]:
    """What the best checkpoints are chosen by.

    Args:
        loop: Of the validation; None without any.
        keys: Of metrics, with their prefixes, as the log has them; or ``auto``, the first metric.
        rules: ``greater``, ``less``, or None for the metric's own direction: one for each key, or one for all.

    Returns:
        Key -> rule, in the same order; None where MMEngine has to find it by the key.

    Raises:
        TrainingError: If there is no validation, it reports no such key, or a rule is wrong or not known.
    """
    if wrong := [rule for rule in rules if rule is not None and rule not in RULES]:
        raise TrainingError(f"{KEY}.rule must be one of {', '.join(RULES)}, but is {wrong[0]!r}.")
    if len(rules) not in (1, len(keys)):
        counts = f'{len(rules)} entries, but save_best has {len(keys)}'
        raise TrainingError(f'{KEY}.rule has {counts}: give one, or one each.')
    if loop is None:
        raise TrainingError(f'{KEY}.save_best={", ".join(keys)} needs a validation, and this config has none: set '
                            f'val_dataloader, val_cfg and val_evaluator, or {KEY}.save_best=None.')  # fmt: skip
    metrics = [*validation_metrics(loop)]
    known = {key_of(metric): metric for metric in metrics if isinstance(metric, BaseSampleWiseMetric)}
    if 'auto' in keys:
        if not known:
            raise TrainingError(f'{KEY}.save_best=auto takes the first metric, and what the metrics of this validation '
                                'report is not known before it: name the key, and give a rule.')  # fmt: skip
        keys = [next(iter(known))]
    # Metrics of other kinds report keys that are known after a validation alone.
    if len(known) == len(metrics) and (strange := [key for key in keys if key not in known]):
        raise TrainingError(f'{KEY}.save_best={strange[0]} is no metric of this validation, which reports '
                            f'{", ".join(known) or "none"}: take one of these.')  # fmt: skip
    given = rules if len(rules) == len(keys) else [rules[0]] * len(keys)
    return {key: rule or direction(known.get(key)) for key, rule in zip(keys, given)}


def validation_metrics(loop: Any) -> Iterator[Any]:
    """The metrics of all evaluators of MMagic's loop or MMEngine's."""
    for evaluator in getattr(loop, 'evaluators', None) or [loop.evaluator]:
        yield from evaluator.metrics or ()


def key_of(metric: BaseSampleWiseMetric) -> str:
    """What a metric's mean is called in the log."""
    return f'{metric.prefix}/{metric.metric}' if metric.prefix else metric.metric


def direction(metric: Any) -> str | None:
    """The rule of a metric, if its direction is known."""
    lower = None if metric is None else lower_is_better(type(metric))
    return None if lower is None else RULES[lower]
