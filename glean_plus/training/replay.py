"""A training's last step once more, from what :class:`NumbersHook` left, and where its NaN or Inf begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmagic.structures import DataSample
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.structures import LabelData, PixelData
from torch import Tensor, nn

from glean_plus.registry import MODELS
from glean_plus.training.errors import TrainingError
from glean_plus.training.hooks.numbers import guard_all, loss_terms
from glean_plus.utils.random_state import set_random_states
from glean_plus.weights import WeightsError
from glean_plus.weights.containers import read_torch
from glean_plus.weights.integrity import damage

ELEMENTS = {each.__name__: each for each in (DataSample, LabelData, PixelData)}
KEYS = {'iteration', 'files', 'losses', 'networks', 'random', 'batches', 'state_dict'}


def replay(config_path: str | Path, path: str | Path) -> list[str]:
    """Repeat the step; its weights are in memory alone.

    Args:
        config_path: The config, which is run, as any that MMEngine reads; the one beside the step is the training's.
        path: The step, ``WORK_DIR/not_finite/iter_N_rank_R.pth``; plain data, of which nothing is run.

    Returns:
        Lines: iteration and files, each loss term then and now, the first module whose output is not finite, and the
        networks whose step is skipped again.

    Raises:
        TrainingError: If one of them is missing, or the step is none of :class:`NumbersHook`, is damaged, or has
            weights of another config.
    """
    kept = _read(path)
    if not Path(config_path).is_file():
        raise TrainingError(f'There is no config {config_path}: give the .py that lies beside {path}.')
    config = Config.fromfile(config_path)
    if DefaultScope.get_current_instance() is None:
        init_default_scope(config.get('default_scope', 'mmagic'))
    settings = config.model.to_dict()
    model = MODELS.build(settings).to(get_device()).train()
    try:
        model.load_state_dict(kept['state_dict'])
    except RuntimeError as error:
        raise TrainingError(f'{path} has weights of another config than {config_path}: {error}') from error
    wrapper = build_optim_wrapper(model, config.optim_wrapper.to_dict())
    guards = guard_all(wrapper)
    set_random_states(kept['random'])
    with first_not_finite(model) as found:
        for batch in kept['batches']:
            losses = model.train_step(_batch(batch), optim_wrapper=wrapper)
    lines = [f'Iteration {kept["iteration"]}, {", ".join(kept["files"]) or "without names"}']
    lines += [f'{name}: {kept["losses"].get(name, float("nan")):.6g} then, {value:.6g} now'
              for name, value in loss_terms(losses).items()]  # fmt: skip
    lines.append(f'First not finite: {found[0]}' if found else 'Every output of a module is finite.')
    again = [name for name, guard in guards.items() if guard.skipped]
    lines.append(f'No step of {" and ".join(again)}: NaN or Inf.' if again else 'The step is finite here.')
    return lines


def _read(path: str | Path) -> dict[str, Any]:
    if not Path(path).is_file():
        raise TrainingError(f'There is no file {path}.')
    wrong = damage(path)
    if wrong:
        raise TrainingError(f'{path} is damaged: {wrong}.')
    try:
        kept = read_torch(Path(path))
    except WeightsError as error:
        raise TrainingError(str(error)) from error
    if not isinstance(kept, dict) or KEYS - kept.keys():
        raise TrainingError(f'{path} is no step to replay: give a file of WORK_DIR/not_finite.')
    return kept


def _batch(value: Any) -> Any:
    """The inverse of :func:`glean_plus.training.hooks.numbers.plain`."""
    if isinstance(value, dict) and value.keys() == {'type', 'data', 'meta'}:
        element = ELEMENTS.get(value['type'], DataSample)(metainfo=value['meta'])
        for key, each in value['data'].items():
            element.set_field(_batch(each), key)
        return element
    if isinstance(value, dict):
        return {key: _batch(each) for key, each in value.items()}
    return [_batch(each) for each in value] if isinstance(value, list) else value


@contextmanager
def first_not_finite(model: nn.Module) -> Iterator[list[str]]:
    """The names of modules whose outputs are not finite, in the order of the forward pass."""
    found: list[str] = []

    def look(name: str) -> Any:
        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(f'the output of {name}')
        return after

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
