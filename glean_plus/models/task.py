"""What a generator is for, the pixel values that it takes and gives, and how it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus.models.contracts import takes_any_size
from glean_plus.utils.color import from_lab_lightness, rgb_to_lab

RESTORATION, COLORIZATION = 'restoration', 'colorization'


@dataclass(frozen=True)
class TaskSpec:
    """What a generator is for.

    Attributes:
        task: ``restoration``, or ``colorization``: the input is L of Lab, the result RGB of that lightness.
        in_size: Nominal side of the input.
        scale: How many times larger the result is.
        in_channels, out_channels: Of the input and the result.
        any_size: Sides may be any that are multiples of ``multiple``; otherwise they are ``in_size``.
        multiple: See ``any_size``.
        classes: How many there are where the class is given with each image; 0 where it is not.
        mean, std: Of the network's pixel values: (255 x - mean) / std of those from 0 to 1.
        bgr: The channels are in this order.
    """

    task: str
    in_size: int
    scale: int
    in_channels: int
    out_channels: int
    any_size: bool = False
    multiple: int = 1
    classes: int = 0
    mean: float = 127.5
    std: float = 127.5
    bgr: bool = False

    @property
    def colorizes(self) -> bool:
        return self.task == COLORIZATION

    @property
    def gray(self) -> bool:
        """One channel in and out: those of a color image are restored one by one."""
        return not self.colorizes and (self.in_channels, self.out_channels) == (1, 1)

    @property
    def rgb(self) -> bool:
        """Three channels in and out."""
        return not self.colorizes and (self.in_channels, self.out_channels) == (3, 3)

    def normalize(self, images: Tensor) -> Tensor:
        """RGB (N, 3, H, W), 0 to 1 -> the network's input; of a gray one, (N, C, H, W) -> (N C, 1, H, W)."""
        if self.colorizes:
            return from_lab_lightness(rgb_to_lab(images)[:, :1])
        if self.gray:
            images = images.reshape(-1, 1, *images.shape[2:])
        elif self.bgr:
            images = images.flip(1)
        return (255 * images - self.mean) / self.std

    def denormalize(self, result: Tensor, channels: int = 3) -> Tensor:
        """The network's result -> RGB (N, 3, s H, s W), about 0 to 1; of a gray one, (N, ``channels``, s H, s W)."""
        result = (result * self.std + self.mean) / 255
        if self.gray:
            return result.reshape(-1, channels, *result.shape[2:])
        return result.flip(1) if self.bgr else result


def task_of(network: nn.Module) -> TaskSpec:
    """What a generator says that it is for, or, of a user's own that has no ``task_spec``, what its attributes say."""
    spec_of = getattr(network, 'task_spec', None)
    if spec_of is not None:
        spec: TaskSpec = spec_of()
        return spec
    in_size, out_size, in_channels = (getattr(network, name) for name in ('in_size', 'out_size', 'in_channels'))
    return TaskSpec(
        task=getattr(network, 'task', RESTORATION),
        in_size=in_size,
        scale=out_size // in_size,
        in_channels=in_channels,
        out_channels=getattr(network, 'out_channels', in_channels),
        any_size=bool(getattr(network, 'any_size', False)),
        multiple=int(getattr(network, 'multiple', 1)),
    )


def run(
    network: nn.Module,
    inputs: Tensor,
    *labels: Tensor,
    codes: Sequence[Tensor | None] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> Tensor:
    """A generator's result for normalized inputs (N, C, H, W), of other sizes than its own where it takes them.

    Args:
        network: A generator, or one made faster (:mod:`glean_plus.accel`).
        inputs: Padded to the network's ``multiple`` and cropped back.
        *labels: The classes (N,), where they are given.
        codes: In place of those that the generator predicts, for inputs of its own size.
        origin: Where the inputs begin in the images that they are parts of.
    """
    if codes is not None:
        return network(inputs, *labels, codes=codes)
    height, width = inputs.shape[-2:]
    nominal = (height, width) == (network.in_size, network.in_size) and origin == (0, 0)
    if nominal or not takes_any_size(network):
        return network(inputs, *labels)
    padding = (0, -width % network.multiple, 0, -height % network.multiple)
    padded = F.pad(inputs, padding, 'replicate') if any(padding) else inputs
    scale = network.out_size // network.in_size
    return network.forward_any(padded, *labels, origin=origin)[..., :scale * height, :scale * width]
