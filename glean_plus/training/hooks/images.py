"""Saves what a test predicts, and shows predictions of a test or validation beside inputs and ground truths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor

from glean_plus.prepare.images import save
from glean_plus.registry import HOOKS
from glean_plus.training.hooks.names import Place, Places, identity, own_name
from glean_plus.utils.images.arrays import to_array


@HOOKS.register_module()
class PictureHook(Hook):
    """Writes images during ``test`` and shows some of each validation, in one process or several.

    Works on data with and without ground truth.

    ``<work_dir>/pictures/NAME.png`` is each prediction, in the folders of the input; a name that comes again, as in a
    test of two data sets, becomes ``NAME_2.png``, whichever process comes first. ``<work_dir>/comparison.png`` has, for
    the images whose index in their data set is in ``compare``, a row: input (enlarged without smoothing) | references |
    prediction | ground truth, if there is any. A validation gives the same image to the visualizer, as ``comparison``:
    TensorBoard and Weights & Biases show it, and the local backend writes it to ``vis_data/vis_image``.

    Args:
        compare: Indices of images, chosen before the results are known.
        save_predictions: Write each prediction.
        channel_order: ``rgb`` or ``bgr``, the order of a test's images. MMagic turns them all into BGR, whatever
            order they were loaded in.
        references: Names of what the model adds to its predictions by its ``test_cfg``; those that it does not add are
            left out.
    """

    priority = 'LOW'

    def __init__(
        self,
        compare: Sequence[int] = (),
        save_predictions: bool = True,
        channel_order: str = 'bgr',
        references: Sequence[str] = ('bicubic',),
    ) -> None:
        if channel_order not in ('rgb', 'bgr'):
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', but is {channel_order!r}.")
        self.compare = frozenset(compare)
        self.save_predictions = save_predictions
        self.references = tuple(references)
        self.step = 1 if channel_order == 'rgb' else -1

    def before_val_epoch(self, runner: Runner) -> None:
        self._begin(runner, 'val_loop')

    def before_test_epoch(self, runner: Runner) -> None:
        self._begin(runner, 'test_loop')

    def _begin(self, runner: Runner, loop: str) -> None:
        self._loop = loop
        self._places = Places()
        self._names: Counter[Path] = Counter()
        self._rows: list[tuple[tuple[int, int], dict[str, np.ndarray]]] = []
        self._folder = Path(runner.work_dir) / 'pictures'

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        self._collect(runner, outputs, write=False)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        self._collect(runner, outputs, write=self.save_predictions)

    def _collect(self, runner: Runner, outputs: Sequence[Any] | None, write: bool) -> None:
        for sample in outputs or ():
            index = sample.metainfo.get('sample_idx', sum(self._names.values()))
            place = self._place(runner, sample.metainfo, index)
            if not write and index not in self.compare:
                continue
            prediction = self._array(sample.output.pred_img)
            if write:
                save(prediction, self._folder / place.name.with_name(f'{place.name.name}.png'))
            if index in self.compare:
                self._rows.append((place.position, self._row(sample, prediction)))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        rows = self._gathered()
        if rows and is_main_process():
            runner.visualizer.add_image('comparison', _grid(rows), step=runner.iter)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        rows = self._gathered()
        if not is_main_process():
            return
        if rows:
            path = Path(runner.work_dir) / 'comparison.png'
            save(_grid(rows), path)
            runner.logger.info(f'{" | ".join(rows[0])}: {path}')
        if self.save_predictions:
            runner.logger.info(f'Predictions: {self._folder}')

    def _gathered(self) -> list[dict[str, np.ndarray]]:
        """The rows of all processes, in the order of their images."""
        # A sampler may repeat images to fill up the last process: one row for each.
        rows = {position: row for part in all_gather_object(self._rows) for position, row in part}
        return [rows[position] for position in sorted(rows)]

    def _place(self, runner: Runner, metainfo: Mapping[str, Any], index: int) -> Place:
        """Where a prediction belongs; of data sets that cannot say beforehand, each process counts its own."""
        loop = getattr(runner, self._loop, None)
        loader = getattr(loop, 'dataloader', None)
        number = next((i for i, each in enumerate(getattr(loop, 'dataloaders', ())) if each is loader), 0)
        loaders = [*[*getattr(loop, 'dataloaders', ())][:number], loader]
        for each in range(len(self._places.found), number + 1):  # also of which this process has had no image
            self._places.add(each, getattr(loaders[each], 'dataset', None), 'key' in metainfo)
        name = own_name(metainfo, index)
        self._names[name] += 1
        known = self._places.found[number].get(identity(metainfo))
        if known is not None:
            return known
        suffix = f'_{self._names[name]}' if self._names[name] > 1 else ''
        suffix += f'_rank_{get_rank()}' if get_world_size() > 1 else ''
        position = sum(self._names.values()) * get_world_size() + get_rank()
        return Place((number, position), name.with_name(f'{name.name}{suffix}'))

    def _array(self, image: Tensor) -> np.ndarray:
        return np.ascontiguousarray(to_array(image)[:, :, :: self.step])

    def _row(self, sample: Any, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """Name of each column -> its image."""
        height, width = prediction.shape[:2]
        lq = Image.fromarray(self._array(sample.input)).resize((width, height), Image.Resampling.NEAREST)
        row = dict(input=np.asarray(lq))
        for name in self.references:
            if f'{name}_img' in sample.output:
                row[name] = self._array(getattr(sample.output, f'{name}_img'))
        row['prediction'] = prediction
        if 'gt_img' in sample:
            row['truth'] = self._array(sample.gt_img)
        return row


def _grid(rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One image of rows of images."""
    return np.concatenate([np.concatenate([*row.values()], axis=1) for row in rows], axis=0)
