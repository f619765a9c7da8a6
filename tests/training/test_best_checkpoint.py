"""The best checkpoint: the right one of each metric, or a sentence before the first iteration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmagic.registry import METRICS
from mmengine.evaluator import BaseMetric

from glean_plus.metrics.base import PictureMetric
from glean_plus.training import TrainingError, WholeCheckpointHook
from glean_plus.training.hooks.best import best_rules

from killing import small_config, train, write_data

HIGHER = ['PSNR', 'SSIM', 'SNR', 'PSNRMetric', 'SSIMMetric', 'LRConsistency', 'IdentitySimilarity']
LOWER = ['LPIPSMetric', 'STLPIPSMetric', 'NIQEMetric', 'FIDMetric', 'KIDMetric', 'MAE', 'MSE']


def loop_of(*metrics: Any, several: bool = False) -> Any:
    evaluators = [SimpleNamespace(metrics=[METRICS.build(each) if isinstance(each, dict) else each])
                  for each in metrics]  # fmt: skip
    everything = SimpleNamespace(metrics=[metric for each in evaluators for metric in each.metrics])
    return SimpleNamespace(evaluators=evaluators) if several else SimpleNamespace(evaluator=everything)


@pytest.mark.parametrize('name', HIGHER + LOWER)
@pytest.mark.parametrize('prefix', [None, 'bicubic', 'my set/loss of accuracy'])
def test_every_metric_s_direction_is_found_under_its_key(name: str, prefix: str | None) -> None:
    metric = METRICS.build(dict(type=name, prefix=prefix))
    key = f'{prefix}/{metric.metric}' if prefix else metric.metric
    expected = {key: 'greater' if name in HIGHER else 'less'}
    assert best_rules(loop_of(metric), [key], [None]) == expected
    assert best_rules(loop_of(metric), ['auto'], [None]) == expected
    assert best_rules(loop_of(metric), [key], ['less']) == {key: 'less'}  # what is given counts


class Own(PictureMetric):
    lower_is_better = True

    def __init__(self) -> None:
        super().__init__('acc', prefix='mine')


class Foreign(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        pass

    def compute_metrics(self, results: list) -> dict:
        return dict(topping=1.0)


class Unknown(PictureMetric):
    def __init__(self) -> None:
        super().__init__('Q')


def test_metrics_of_one_s_own() -> None:
    assert best_rules(loop_of(Own()), ['mine/acc'], [None]) == {'mine/acc': 'less'}
    # Nobody knows what the metric reports, and MMEngine finds the rule by the key, or does not.
    assert best_rules(loop_of(Own(), Foreign()), ['topping'], [None]) == {'topping': None}


def test_several_and_of_several_data_sets() -> None:
    loop = loop_of(dict(type='STLPIPSMetric', prefix='a'), dict(type='PSNRMetric', prefix='b'), several=True)
    found = best_rules(loop, ['b/PSNR', 'a/ST-LPIPS-alex'], [None])
    assert found == {'b/PSNR': 'greater', 'a/ST-LPIPS-alex': 'less'}
    assert best_rules(loop, [*found], ['less', 'greater']) == {'b/PSNR': 'less', 'a/ST-LPIPS-alex': 'greater'}
    assert best_rules(loop, ['auto'], [None]) == {'a/ST-LPIPS-alex': 'less'}


@pytest.mark.parametrize(('metrics', 'keys', 'rules', 'said'), [
    ([dict(type='PSNRMetric'), dict(type='SSIMMetric', prefix='b')], ['LPIPS'], [None],
     'save_best=LPIPS is no metric of this validation, which reports PSNR, b/SSIM: take one'),
    ([dict(type='PSNRMetric')], ['psnr'], ['greater'], 'which reports PSNR'),
    ([dict(type='PSNRMetric')], ['PSNR'], ['higher'], "rule must be one of greater, less, but is 'higher'"),
    ([dict(type='PSNRMetric')], ['PSNR'], ['less', 'less'], 'rule has 2 entries, but save_best has 1'),
    ([Foreign()], ['auto'], [None], 'save_best=auto takes the first metric, and .* name the key'),
    (None, ['PSNR'], [None], 'save_best=PSNR needs a validation, and this config has none'),
])  # fmt: skip
def test_what_cannot_be_is_refused(metrics: Any, keys: list[str], rules: list, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        best_rules(None if metrics is None else loop_of(*metrics), keys, rules)


@pytest.mark.parametrize('options', [dict(save_best=5), dict(save_best=['a', 1]), dict(save_best='a', rule=3)])
def test_wrong_types_are_named(options: dict) -> None:
    with pytest.raises(ValueError, match='must be a text or several'):
        WholeCheckpointHook(**options)


def test_a_key_whose_direction_nobody_knows_wants_a_rule() -> None:
    hook = WholeCheckpointHook(save_best='Q', by_epoch=False)
    with pytest.raises(TrainingError, match='Cannot infer the rule for key Q.*checkpoint.rule=greater or less'):
        hook.before_train(SimpleNamespace(val_loop=loop_of(Unknown())))


# ---- a training


class Made(PictureMetric):
    """Numbers made up: of one validation after the other."""

    numbers: list[float] = []

    def __init__(self, metric: str, **kwargs: Any) -> None:
        super().__init__(metric, **kwargs)
        self.validations = 0

    def process_image(self, gt: Any, pred: Any, mask: Any) -> float:
        return self.numbers[self.validations]

    def compute_metrics(self, results: Any) -> dict[str, float]:
        self.validations += 1
        return super().compute_metrics(results)


class Up(Made):
    lower_is_better = False
    numbers = [1.0, 3.0, 2.0]


class Down(Made):
    lower_is_better = True
    numbers = [float('nan'), 3.0, 2.0]  # in the first validation there is none


@pytest.mark.parametrize(('save_best', 'kept'), [
    ('auto', {'best_UP_iter_4.pth'}), ('b/DOWN', {'best_b_DOWN_iter_6.pth'}),
    (['UP', 'b/DOWN'], {'best_UP_iter_4.pth', 'best_b_DOWN_iter_6.pth'}),
])  # fmt: skip
def test_the_best_one_is_kept(save_best: Any, kept: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three validations, in which one metric rises and falls, and the other falls once it exists."""
    for metric in (Up, Down):
        monkeypatch.setitem(METRICS._module_dict, metric.__name__, metric)
    config = small_config(write_data(tmp_path / 'data', 4), tmp_path / 'work', 6)
    config.train_cfg.val_interval = 2
    config.val_dataloader = dict(config.test_dataloader)
    config.val_cfg = dict(type='MultiValLoop')
    metrics = [dict(type='Up', metric='UP'), dict(type='Down', metric='DOWN', prefix='b')]
    config.val_evaluator = dict(type='Evaluator', metrics=metrics)
    config.default_hooks.checkpoint.update(interval=100, save_best=save_best)
    train(config)
    assert {path.name for path in (tmp_path / 'work').glob('best_*')} == kept
