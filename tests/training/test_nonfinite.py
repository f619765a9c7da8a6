"""NaN and Inf in losses and gradients: skipped, counted, and kept for replay."""

from __future__ import annotations

import errno
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from glean_plus.cli.commands import parser_of
from glean_plus.training import BF16OptimWrapper, DataHook, NumbersHook, TrainingError
from glean_plus.training.hooks.numbers import Guard, plain
from glean_plus.training.launch import load_config
from glean_plus.training.replay import replay

from conftest import CONFIGS, run_tool
from killing import small_config, write_data


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp('data'))


class Poison(Hook):
    """NaN in the images of some iterations, as of a broken file."""

    priority = 'HIGHEST'

    def __init__(self, iterations: set[int]) -> None:
        self.iterations, self.states = iterations, {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.states[runner.iter + 1] = {k: v.clone() for k, v in runner.model.state_dict().items()}
        if runner.iter + 1 in self.iterations:
            data_batch['inputs'] = [image.float() * math.nan for image in data_batch['inputs']]


def run(config: Config, poison: Poison) -> Runner:
    config.experiment_name = f'numbers-{time.time_ns()}'
    runner = Runner.from_cfg(config)
    runner.register_hook(poison)
    runner.train()
    return runner


@pytest.mark.parametrize('kind', ['OptimWrapper', 'BF16OptimWrapper'])
def test_a_step_with_nan_changes_no_weight_and_is_counted(kind: str, data: Path, tmp_path: Path) -> None:
    config = small_config(data, tmp_path, 6)
    for part in ('generator', 'discriminator'):
        config.optim_wrapper[part].type = kind
    poison = Poison({3, 5})
    runner = run(config, poison)
    assert runner.message_hub.get_info('skipped_steps') == 2
    moved = {}
    for number in (2, 3, 4, 5):
        before, after = poison.states[number], poison.states[number + 1]
        floats = [key for key, value in after.items() if value.is_floating_point()]
        changed = {key.split('.')[0] for key in floats if not torch.equal(after[key], before[key])}
        moved[number] = changed - {'generator_ema'}
    assert moved == {2: {'generator', 'discriminator'}, 3: set(), 4: {'generator', 'discriminator'}, 5: set()}
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Iteration 3: NaN or Inf in losses or gradients of generator and discriminator (loss_pix nan' in log
    assert '1 of 10 allowed' in log and str(data / 'GT') in log
    # The count goes through a checkpoint.
    config = small_config(data, tmp_path, 7, resume=True)
    assert run(config, Poison({7})).message_hub.get_info('skipped_steps') == 3


def test_too_many_end_the_training_and_can_be_replayed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = small_config(data, tmp_path, 9, **{'default_hooks.numbers.limit': 1})
    with pytest.raises(TrainingError, match=r'Iteration 4: .*limit=1, .*replay .*_rank_0\.py .*_rank_0\.pth'):
        run(config, Poison({2, 4}))
    assert [path.name for path in sorted(tmp_path.glob('iter_*'))] == ['iter_2.pth', 'iter_3.pth']
    path = tmp_path / 'not_finite' / 'iter_4_rank_0.pth'
    kept = torch.load(path, weights_only=True)
    assert kept['iteration'] == 4 and len(kept['files']) == 2 and all(Path(name).is_file() for name in kept['files'])
    assert {'loss_pix', 'loss_gan', 'loss_d_real', 'loss_d_fake'} == kept['losses'].keys()
    assert math.isnan(kept['losses']['loss_pix']) and math.isfinite(kept['losses']['loss_d_real'])
    capsys.readouterr()
    run_tool('replay', [str(path.with_suffix('.py')), str(path)], monkeypatch)
    said = capsys.readouterr().out
    assert 'Iteration 4' in said and 'loss_pix: nan then, nan now' in said
    assert f'loss_d_real: {kept["losses"]["loss_d_real"]:.6g} then, {kept["losses"]["loss_d_real"]:.6g} now' in said
    assert 'First not finite: the output of generator.encoder' in said
    assert 'No step of discriminator and generator' in said
    # Before 2.6 PyTorch does not read the log in a training's checkpoint safely, and says so first.
    with pytest.raises(TrainingError, match='no step to replay|can be read safely'):
        replay(path.with_suffix('.py'), tmp_path / 'iter_3.pth')
    with pytest.raises(TrainingError, match=r'no config .*missing\.py: give the \.py that lies beside'):
        replay(tmp_path / 'missing.py', path)
    with pytest.raises(TrainingError, match='weights of another config'):
        replay(CONFIGS / 'esrganplus_twemoji_4x.py', path)


def test_what_cannot_be_kept_is_told_all_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('glean_plus.training.hooks.numbers.write_whole', full)
    config = small_config(data, tmp_path, 9, **{'default_hooks.numbers.limit': 0})
    with pytest.raises(TrainingError, match=r'Iteration 2: .*loss_pix nan.*limit=0.*could not be written \(No space'):
        run(config, Poison({2}))


def guarded(kind: type[OptimWrapper] = OptimWrapper, **kwargs: Any) -> tuple[nn.Linear, OptimWrapper, Guard]:
    layer = nn.Linear(2, 1, bias=False)
    wrapper = kind(torch.optim.SGD(layer.parameters(), lr=0.1), **kwargs)
    return layer, wrapper, Guard(wrapper)


@pytest.mark.parametrize('kind', [OptimWrapper, BF16OptimWrapper])
def test_gradients_count_where_the_loss_is_finite_and_the_other_way_round(kind: type[OptimWrapper]) -> None:
    layer, wrapper, guard = guarded(kind)
    before = layer.weight.detach().clone()
    root = layer(torch.zeros(1, 2)).sum().abs().sqrt()  # 0, whose slope is infinite times zero
    assert root == 0
    wrapper.update_params(root)
    assert guard.skipped and torch.equal(layer.weight, before) and layer.weight.grad is None
    guard.skipped = False
    wrapper.update_params(layer(torch.ones(1, 2)).sum() + math.inf)  # its gradients are finite
    assert guard.skipped and torch.equal(layer.weight, before)
    guard.skipped = False
    wrapper.update_params(layer(torch.ones(1, 2)).sum() * 1e-3)
    assert not guard.skipped and not torch.equal(layer.weight, before)


def test_one_bad_batch_of_an_accumulated_step_is_enough() -> None:
    layer, wrapper, guard = guarded(accumulative_counts=2)
    before = layer.weight.detach().clone()
    for factor in (math.nan, 1.0):
        wrapper.update_params(layer(torch.ones(1, 2)).sum() * factor)
    assert guard.skipped and torch.equal(layer.weight, before)
    guard.skipped = False
    for factor in (1.0, 1.0):
        wrapper.update_params(layer(torch.ones(1, 2)).sum() * factor)
    assert not guard.skipped and not torch.equal(layer.weight, before)


class Scaled(OptimWrapper):
    """MMEngine's ``AmpOptimWrapper`` with a scaler for CPUs, where that one refuses to be built."""

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


@pytest.mark.skipif(not hasattr(torch.amp, 'GradScaler'), reason='torch before 2.3 scales on GPUs only')
def test_the_scaler_s_own_skips_are_not_counted() -> None:
    def step(scale: float, factor: float) -> tuple[bool, bool, float]:
        layer = nn.Linear(2, 1, bias=False)
        wrapper = Scaled(scale, optimizer=torch.optim.SGD(layer.parameters(), lr=0.1))
        guard, before = Guard(wrapper), layer.weight.detach().clone()
        wrapper.update_params(layer(torch.full((1, 2), factor)).sum())
        return guard.skipped, not torch.equal(layer.weight, before), wrapper.loss_scaler.get_scale()

    assert step(1024.0, 1.0) == (False, True, 1024.0)
    assert step(2.0**120, 1e4) == (False, False, 2.0**119)  # an overflow of the scale alone: the scaler's to fix
    assert step(1024.0, math.nan) == (True, False, 512.0)  # the loss itself
    layer = nn.Linear(2, 1, bias=False)
    wrapper = Scaled(1.0, optimizer=torch.optim.SGD(layer.parameters(), lr=0.1))
    guard = Guard(wrapper)
    wrapper.update_params(layer(torch.zeros(1, 2)).sum().abs().sqrt())  # finite loss, NaN gradient, nothing to scale
    assert guard.skipped


@pytest.mark.parametrize('limit', [-1, 1.5, True, '3'])
def test_a_wrong_limit_is_named(limit: Any) -> None:
    with pytest.raises(ValueError, match='limit must be a whole number'):
        NumbersHook(limit)


def test_batches_become_plain_data() -> None:
    from mmagic.structures import DataSample

    sample = DataSample(gt_img=torch.ones(3, 2, 2), metainfo=dict(img_path='a.png', odd=object()))
    sample.set_gt_label(2)
    kept = plain([sample])[0]
    assert kept['meta']['img_path'] == 'a.png' and isinstance(kept['meta']['odd'], str)
    assert torch.equal(kept['data']['gt_img'], sample.gt_img) and int(kept['data']['gt_label']['data']['label']) == 2


@pytest.mark.parametrize(('name', 'kind'), [('numbers', NumbersHook), ('data', DataHook)])
def test_the_command_line_leaves_a_hook_out(name: str, kind: type, data: Path, tmp_path: Path) -> None:
    small_config(data, tmp_path, 1).dump(tmp_path / 'config.py')
    for options, there in (([], True), (['--cfg-options', f'default_hooks.{name}=None'], False)):
        args = parser_of('train').parse_args([str(tmp_path / 'config.py'), *options])
        config = load_config(args.config, cfg_options=args.cfg_options)
        config.experiment_name = f'{name}-{time.time_ns()}'
        hooks = Runner.from_cfg(config).hooks
        assert any(isinstance(hook, kind) for hook in hooks) == there


@pytest.mark.soak
def test_a_long_run_with_a_bad_batch_in_ten_stays_finite(data: Path, tmp_path: Path) -> None:
    config = small_config(data, tmp_path, 400, **{'default_hooks.numbers.limit': 40})
    runner = run(config, Poison(set(range(10, 401, 10))))
    assert runner.message_hub.get_info('skipped_steps') == 40
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


@pytest.mark.soak
def test_the_guard_costs_next_to_nothing(tiny_config: Callable[..., Config]) -> None:
    """A step of the shipped model's training with the hook and without, in turns, in time of one processor."""
    config = tiny_config('lightglean_twemoji_4x', **{'train_cfg.max_iters': 1})
    del config.default_hooks.numbers
    config.train_dataloader.batch_size = 16
    for part in ('generator', 'discriminator'):
        config.optim_wrapper[part].type = 'BF16OptimWrapper'
    runner = Runner.from_cfg(config)
    runner.train()
    batch = next(iter(runner.train_dataloader))
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for index in range(80):
        hooks = [NumbersHook()] if index % 2 else []
        for hook in hooks:
            hook.before_train(runner)
        begin = time.process_time()
        for hook in hooks:
            hook.before_train_iter(runner, index, batch)
        losses = runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
        for hook in hooks:
            hook.after_train_iter(runner, index, batch, losses)
        seconds[bool(hooks)].append(time.process_time() - begin)
        for hook in hooks:
            hook.after_train(runner)
    without, guarded_step = (statistics.median(seconds[key]) for key in (False, True))
    print(f'\na step of {without * 1e3:.0f} ms takes {guarded_step / without:.3f} times as long with the hook')
    assert guarded_step < 1.05 * without
