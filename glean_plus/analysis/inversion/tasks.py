"""Forward models of the tasks: they make inputs of images, which the config's networks invert."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from glean_plus.utils.color import lab_to_rgb, rgb_to_lab
from glean_plus.utils.imresize import matlab_resize


class Task(ABC):
    """A forward model to inputs of ``in_size`` pixels a side. Images are (N, 3, H, W), RGB, about 0 to 1."""

    #: What the nearness of a found image to its input is called, in dB.
    nearness: ClassVar[str]

    def __init__(self, in_size: int) -> None:
        self.in_size = in_size

    def input_of(self, image: np.ndarray) -> Tensor:
        """A file's image, (in_size, in_size, 3) uint8 RGB -> input (C, in_size, in_size), 0 to 1."""
        return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255

    @abstractmethod
    def degrade(self, images: Tensor) -> Tensor:
        """Images -> the inputs that they would give, (N, C, in_size, in_size), differentiable."""

    @abstractmethod
    def result(self, images: Tensor, inputs: Tensor) -> Tensor:
        """The results for the images that were found, 0 to 1."""


class SuperResolution(Task):
    """MATLAB's bicubic, as the data sets are made. Of a blind degradation it is the part that is known."""

    nearness = 'LR-PSNR'

    def degrade(self, images: Tensor) -> Tensor:
        return matlab_resize(images, (self.in_size, self.in_size))

    def result(self, images: Tensor, inputs: Tensor) -> Tensor:
        return images.clamp(0, 1)


class Colorization(Task):
    """L of Lab, as ``LabLightness``; a result has the colours that were found at the input's lightness."""

    nearness = 'PSNR of lightness'

    def input_of(self, image: np.ndarray) -> Tensor:
        return self.degrade(super().input_of(image)[None])[0]

    def degrade(self, images: Tensor) -> Tensor:
        return rgb_to_lab(images)[:, :1] / 100

    def result(self, images: Tensor, inputs: Tensor) -> Tensor:
        return lab_to_rgb(torch.cat([100 * inputs, rgb_to_lab(images)[:, 1:]], dim=1))
