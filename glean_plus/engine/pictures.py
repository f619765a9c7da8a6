"""Saves what a test predicts, and pictures that compare it with its input and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmagic.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor


def to_array(image: Tensor) -> np.ndarray:
    """(C, H, W), 0 to 255 -> (H, W, 3) uint8."""
    array = image.detach().cpu().float().round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


@HOOKS.register_module()
class PictureHook(Hook):
    """Writes pictures during ``test``; works on data with and without truth.

    ``<work_dir>/pictures/NAME.png`` is each prediction. ``<work_dir>/comparison.png`` has, for the pictures whose index
    is in ``compare``, a row: input (enlarged without smoothing) | bicubic, if the model adds it | prediction | truth,
    if there is any.

    Args:
        compare: Indices of test pictures, chosen before the results are known.
        save_predictions: Write each prediction.
        channel_order: ``rgb`` or ``bgr``, the order of a test's pictures. MMagic turns them all into BGR, whatever
            order they were loaded in.
    """

    priority = 'LOW'

    def __init__(
        self, compare: Sequence[int] = (), save_predictions: bool = True, channel_order: str = 'bgr'
    ) -> None:
        if channel_order not in ('rgb', 'bgr'):
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', but is {channel_order!r}.")
        self.compare = frozenset(compare)
        self.save_predictions = save_predictions
        self.step = 1 if channel_order == 'rgb' else -1

    def before_test_epoch(self, runner: Runner) -> None:
        self._index = 0
        self._rows: list[np.ndarray] = []
        self._folder = Path(runner.work_dir) / 'pictures'
        if self.save_predictions:
            self._folder.mkdir(parents=True, exist_ok=True)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        for sample in outputs or ():
            prediction = self._array(sample.output.pred_img)
            if self.save_predictions:
                source = sample.metainfo.get('img_path') or f'{self._index:06d}'
                Image.fromarray(prediction).save(self._folder / f'{Path(source).stem}.png')
            if self._index in self.compare:
                self._rows.append(self._row(sample, prediction))
            self._index += 1

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._rows:
            path = Path(runner.work_dir) / 'comparison.png'
            Image.fromarray(np.concatenate(self._rows, axis=0)).save(path)
            runner.logger.info(f'input | bicubic | prediction | truth: {path}')
        if self.save_predictions:
            runner.logger.info(f'{self._index} predictions: {self._folder}')

    def _array(self, image: Tensor) -> np.ndarray:
        return np.ascontiguousarray(to_array(image)[:, :, :: self.step])

    def _row(self, sample: Any, prediction: np.ndarray) -> np.ndarray:
        height, width = prediction.shape[:2]
        lq = Image.fromarray(self._array(sample.input)).resize((width, height), Image.NEAREST)
        row = [np.asarray(lq)]
        if 'bicubic_img' in sample.output:
            row.append(self._array(sample.output.bicubic_img))
        row.append(prediction)
        if 'gt_img' in sample:
            row.append(self._array(sample.gt_img))
        return np.concatenate(row, axis=1)
