"""Training that meets NaN or Inf: the step is not taken, and what led to it is kept."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, get_rank, is_distributed
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from glean_plus.registry import HOOKS
from glean_plus.training.distributed import unwrapped
from glean_plus.training.errors import TrainingError, checked_limit
from glean_plus.utils.files import write_whole
from glean_plus.utils.random_state import random_states

SKIPPED = 'skipped_steps'  # in the message hub, and so in a checkpoint
LOWEST_SCALE = 1.0


class Guard:
    """Stands before the step of one optimiser, which is taken only if losses and gradients are finite.

    Gradients of several processes are averaged before, and the losses' verdict is shared, so that all processes skip
    together. Under float16 the gradient scaler's own skips are normal and are left to it; what counts is a loss that is
    not finite, or an overflow when the scale is down to 1, where float16 alone cannot be the reason. (A constant scale
    does not tell, so there only losses count.)

    Args:
        wrapper: The optimiser's; its ``update_params`` and ``step`` are replaced for this object's life.
    """

    def __init__(self, wrapper: OptimWrapper) -> None:
        self.wrapper = wrapper
        self.scaler = getattr(wrapper, 'loss_scaler', None)
        self.skipped = False
        self.stepped = False
        self._loss: Tensor | None = None  # sum of the losses since the last step: not finite if one of them is not
        self._update_params, self._step = wrapper.update_params, wrapper.step
        # MMEngine's schedulers have wrapped the step as well, and look for their mark on it.
        step = functools.partial(self.step)
        step.__dict__.update(getattr(self._step, '__dict__', {}))
        wrapper.update_params, wrapper.step = self.update_params, step

    def remove(self) -> None:
        """Leave the wrapper as it was."""
        self.wrapper.update_params, self.wrapper.step = self._update_params, self._step

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        value = loss.detach().float()
        self._loss = value if self._loss is None else self._loss + value
        self._update_params(loss, *args, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """The optimiser's step, or none."""
        self.stepped = True
        sizes = [self._loss] if self._loss is not None else []
        if self.scaler is None:
            groups = self.wrapper.optimizer.param_groups
            gradients = [p.grad for group in groups for p in group['params'] if p.grad is not None]
            sizes += [torch.linalg.vector_norm(gradient, math.inf).float() for gradient in gradients]
        self._loss = None
        finite = torch.stack(sizes).isfinite().all().float() if sizes else torch.ones(())
        if is_distributed():
            all_reduce(finite, 'min')
        before = self.scaler.get_scale() if self.scaler is not None else math.inf
        if finite or self.scaler is not None:  # a scaler checks the gradients by itself, so it must see these
            self._step(**kwargs)
        after = self.scaler.get_scale() if self.scaler is not None else math.inf
        self.skipped |= not finite or (after < before <= LOWEST_SCALE)


def guard_all(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Guard]:
    """A guard for each network's optimiser, by its name; ``model`` where there is one alone."""
    parts = dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {'model': wrapper}
    return {name: Guard(part) for name, part in parts.items()}


@HOOKS.register_module()
class NumbersHook(Hook):
    """Skips training steps with NaN or Inf in a loss or gradient, counts them, and ends the training after too many.

    It works with any model and optimiser wrapper of MMEngine. A skipped step changes no weight; with several networks
    each has a guard of its own, and an iteration counts once. The count goes through checkpoints. What is beyond
    ``limit`` ends the training with a :class:`TrainingError`, and each process writes
    ``<work_dir>/not_finite/iter_N_rank_R.pth``: iteration, names of the batch's files, loss terms, the batch, weights
    and the states of the random generators; and ``.py`` beside it, the config: both for ``tools/replay.py``.

    Args:
        limit: How many iterations may be skipped; 0 ends at the first.
    """

    def __init__(self, limit: int = 10) -> None:
        self.limit = checked_limit(limit)
        self.guards: dict[str, Guard] = {}
        self._batches: list[Any] = []
        self._random: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        self.guards = guard_all(runner.optim_wrapper)

    def after_train(self, runner: Runner) -> None:
        for guard in self.guards.values():
            guard.remove()
        self.guards = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._batches.append(data_batch)
        self._random = random_states()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        skipped = [name for name, guard in self.guards.items() if guard.skipped]
        stepped = any(guard.stepped for guard in self.guards.values())
        for guard in self.guards.values():
            guard.skipped = guard.stepped = False
        if skipped:
            self._count(runner, skipped, outputs or {})
        if stepped:  # until then, gradients are accumulated, and any of these batches may be the reason
            self._batches.clear()

    def _count(self, runner: Runner, skipped: Sequence[str], outputs: Mapping[str, Any]) -> None:
        count = runner.message_hub.runtime_info.get(SKIPPED, 0) + 1
        runner.message_hub.update_info(SKIPPED, count)
        files = [name for batch in self._batches for name in file_names(batch)]
        losses = loss_terms(outputs)
        terms = ', '.join(f'{name} {value:.4g}' for name, value in losses.items())
        happened = (f'Iteration {runner.iter + 1}: NaN or Inf in losses or gradients of {" and ".join(skipped)} '
                    f'({terms}); batch: {", ".join(files) or "without names"}')  # fmt: skip
        if count <= self.limit:
            runner.logger.warning(f'{happened}. No step was taken, {count} of {self.limit} allowed.')
            return
        path = Path(runner.work_dir) / 'not_finite' / f'iter_{runner.iter + 1}_rank_{get_rank()}.pth'
        content = dict(
            iteration=runner.iter + 1, files=files, losses=losses, networks=list(skipped), random=self._random,
            batches=[plain(batch) for batch in self._batches], state_dict=unwrapped(runner.model).state_dict(),
        )  # fmt: skip
        end = f'{happened}. That is more than numbers.limit={self.limit}, so the training ends; '
        config = path.with_suffix('.py')
        try:
            write_whole(config, runner.cfg.pretty_text.encode())
            with io.BytesIO() as file:
                torch.save(content, file)
                write_whole(path, file.getvalue())
        except OSError as error:
            why = f'{path} could not be written ({error.strerror}), so it cannot be replayed'
            raise TrainingError(f'{end}{why}.') from error
        raise TrainingError(f'{end}`mim run glean_plus replay {config} {path}` repeats it.')


def loss_terms(outputs: Mapping[str, Any]) -> dict[str, float]:
    """What a training step returns, tensors of one element or numbers, as numbers."""
    return {name: float(torch.as_tensor(value).detach()) for name, value in outputs.items()}


def file_names(batch: Any) -> list[str]:
    """The paths of a batch's samples, or their keys; none where the data have no names."""
    samples = batch.get('data_samples', ()) if isinstance(batch, Mapping) else ()
    samples = samples if isinstance(samples, (list, tuple)) else [samples]
    found = [next((sample.metainfo[key] for key in ('gt_path', 'img_path', 'key') if sample.metainfo.get(key)), None)
             for sample in samples if isinstance(sample, BaseDataElement)]  # fmt: skip
    return [str(name) for each in found if each for name in (each if isinstance(each, (list, tuple)) else [each])]


def plain(value: Any) -> Any:
    """Tensors and what Python has by itself, for a file that is read without running anything in it."""
    if isinstance(value, BaseDataElement):
        return dict(type=type(value).__name__, data={key: plain(each) for key, each in value.items()},
                    meta={key: plain(each) for key, each in value.metainfo_items()})  # fmt: skip
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    return value if isinstance(value, (Tensor, str, int, float, bool, type(None))) else str(value)
