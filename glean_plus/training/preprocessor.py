"""Between the loader's images and a colorization network's tensors."""

from __future__ import annotations

from typing import Any

from mmagic.models.data_preprocessors import DataPreprocessor
from torch import Tensor

from glean_plus.models.task import TaskSpec
from glean_plus.registry import MODELS
from glean_plus.utils.color import tint


@MODELS.register_module()
class ColorizationDataPreprocessor(DataPreprocessor):
    """Inputs of one channel, L of Lab as ``LabLightness`` makes it, beside RGB images; all -1 to 1 in training.

    MMagic's ``DataPreprocessor`` takes a channel order for the input and applies it to the output. Here outputs are
    RGB, ground truths become RGB whatever order they were loaded in, and an input that is to be shown is the gray image
    of its lightness. A test's images become BGR, as all of MMagic's.
    """

    def __init__(self) -> None:
        super().__init__(mean=TaskSpec.mean, std=TaskSpec.std, output_channel_order='RGB')

    def _do_conversion(
        self, inputs: Tensor, inputs_order: str = 'BGR', target_order: str | None = None
    ) -> tuple[Tensor, str]:
        if inputs.shape[self._parse_channel_index(inputs)] == 1:
            return inputs, 'RGB'  # the order of what is made from it
        return super()._do_conversion(inputs, inputs_order, target_order)

    def destruct(self, outputs: Tensor, data_samples: Any = None, key: str = 'img') -> Tensor:
        """(N, 3, H, W) or lightness (N, 1, H, W), -1 to 1 -> images (N, 3, H, W), BGR, 0 to 255."""
        if outputs.shape[1] == 1:
            outputs = tint(outputs, (0, 0))
        return super().destruct(outputs, data_samples, key)
