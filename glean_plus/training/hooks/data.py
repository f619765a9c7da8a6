"""Data that do not fit, or are broken: refused before the first batch, or counted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size, is_distributed
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from glean_plus.datasets import BROKEN, PictureDataset, Shapes, sizes, some
from glean_plus.registry import HOOKS
from glean_plus.training.distributed import unwrapped
from glean_plus.training.errors import TrainingError, checked_limit
from glean_plus.utils.random_state import random_states, set_random_states


@dataclass(frozen=True)
class Fit:
    """What a model's networks take; None is anything.

    Attributes:
        lq: Side of the input in pixels.
        gt: Side of the ground truth.
        scale: Of the ground truth to the input.
    """

    lq: int | None = None
    gt: int | None = None
    scale: int | None = None

    @classmethod
    def of(cls, model: nn.Module, training: bool) -> Fit:
        """Of a GLEAN, an ESRGAN+ or a bank, and its discriminator, which only a training uses; of others nothing."""
        generator, critic = (unwrapped(part) if isinstance(part, nn.Module) else None for part in
                             (getattr(model, name, None) for name in ('generator', 'discriminator')))  # fmt: skip
        lq, out = getattr(generator, 'in_size', None), getattr(generator, 'out_size', None)
        # A GLEAN is bound to its size, but for one that takes any; the others are convolutions alone.
        bound = hasattr(generator, 'forward_any') and not getattr(generator, 'any_size', False)
        return cls(
            lq if bound else None,
            getattr(critic, 'in_size', None) if training else None,
            out // lq if lq and out else None,
        )

    def complaint(self, shapes: Shapes) -> str | None:
        """What is wrong with a sample of these shapes; None if nothing is."""
        for key, side, whose in (('img', self.lq, 'the generator takes'), ('gt', self.gt, 'the discriminator takes')):
            if side is not None and key in shapes and shapes[key][-2:] != (side, side):
                return f'{sizes({key: shapes[key]})}, where {whose} {side}x{side}'
        pair = {*shapes} == {'img', 'gt'}
        if pair and self.scale and shapes['gt'][-2:] != tuple(self.scale * side for side in shapes['img'][-2:]):
            return f'{sizes(shapes)}, where the scale is {self.scale}'
        return None


def image_datasets(dataset: Any) -> Iterator[PictureDataset]:
    """A data set, or those within MMEngine's wrappers of one or several."""
    if isinstance(dataset, PictureDataset):
        yield dataset
    for inner in [*getattr(dataset, 'datasets', ()), *filter(None, [getattr(dataset, 'dataset', None)])]:
        yield from image_datasets(inner)


@HOOKS.register_module()
class DataHook(Hook):
    """Looks at the data of every ``PictureDataset``; nothing is known of others.

    Before a training its first sample must be of the sizes that the networks take, and all of the validation's
    images must be whole and fit. Those of a test must be, too, each when its turn comes. An image of the
    training that turns out to be broken has a stand-in, is named in the log and counted: different images, over
    all processes, from each start on. What is beyond ``limit`` ends the training.

    Args:
        limit: How many images of a training may be broken; 0 ends at the first.

    Raises:
        ValueError: If ``limit`` is no whole number of at least 0.
        TrainingError: (in a run) If the data do not fit, or too many images are broken.
    """

    def __init__(self, limit: int = 10) -> None:
        self.limit = checked_limit(limit)
        self.broken: dict[str, None] = {}

    def before_train(self, runner: Runner) -> None:
        self.broken = {}
        fit = Fit.of(unwrapped(runner.model), training=True)
        for dataset in image_datasets(runner.train_dataloader.dataset):
            if wrong := fit.complaint(dataset.shapes):
                raise TrainingError(
                    f'The data of {dataset.place} do not fit this config: {wrong}. Prepare them with this --size and '
                    '--scales (`prepare_data`), or change in_size and out_size.'
                )
        if runner.val_loop is not None:
            self._check_validation(runner)

    def before_test(self, runner: Runner) -> None:
        self._prepare(runner, runner.test_loop)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        samples = data_batch.get('data_samples') or () if isinstance(data_batch, dict) else ()
        texts = [text for sample in samples for text in sample.metainfo.get(BROKEN, ())]
        count = torch.tensor(len(texts))
        if is_distributed():
            all_reduce(count)
        if not count:
            return
        for text in itertools.chain.from_iterable(all_gather_object(texts)):
            if text not in self.broken:
                self.broken[text] = None
                runner.logger.warning(
                    f'Iteration {runner.iter + 1}: a broken image: {text}. Another one stands in for it; '
                    f'{len(self.broken)} so far, data.limit={self.limit} allowed.'
                )
        if len(self.broken) > self.limit:
            raise TrainingError(
                f'{len(self.broken)} images of the training are broken, more than data.limit={self.limit}: '
                f'{some([*self.broken])}. Fix them, or take them out of the list, and continue with --resume; or raise '
                'default_hooks.data.limit.'
            )

    @staticmethod
    def _prepare(runner: Runner, loop: Any) -> list[PictureDataset]:
        """Tell the data sets of a validation or test what the model takes."""
        fit = Fit.of(unwrapped(runner.model), training=False)
        loaders = getattr(loop, 'dataloaders', None) or [loop.dataloader]
        found = [dataset for loader in loaders for dataset in image_datasets(loader.dataset)]
        for dataset in found:
            dataset.complaint = fit.complaint
        return found

    def _check_validation(self, runner: Runner) -> None:
        """Look at every image of the validation; processes share them."""
        states = random_states()
        wrong: list[str] = []
        for dataset in self._prepare(runner, runner.val_loop):
            indices = range(get_rank(), len(dataset), get_world_size())
            wrong += filter(None, map(dataset.fault, indices))
        set_random_states(states)
        wrong = [*dict.fromkeys(itertools.chain.from_iterable(all_gather_object(wrong)))]
        for text in wrong:
            runner.logger.error(f'A broken image of the validation: {text}')
        if wrong:
            raise TrainingError(
                f'{len(wrong)} images of the validation are broken or do not fit: {some(wrong)}. It needs all of '
                'them: fix these, or take them out of the list.'
            )
