"""A restorer's config -> the inversion of its bank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from glean_plus.analysis.errors import InversionError
from glean_plus.analysis.inversion.search import Found, search
from glean_plus.analysis.inversion.settings import Settings
from glean_plus.analysis.inversion.tasks import Colorization, SuperResolution, Task
from glean_plus.inference.build import in_a_sentence
from glean_plus.models import task as models_task
from glean_plus.models.banks import LatentBank
from glean_plus.models.banks.space import Space
from glean_plus.models.loading import bank_draws_bgr, load_bank
from glean_plus.registry import MODELS
from glean_plus.utils.devices import usable_device


def task_of(generator: Mapping[str, Any]) -> Task:
    """The task of the config's generator.

    Raises:
        InversionError: If its inputs are neither RGB nor, for colorization, lightness.
        RestoreError: If the config makes no network.
    """
    with in_a_sentence('model.generator'), torch.device('meta'):
        spec = models_task.task_of(MODELS.build(dict(generator)))
    if spec.colorizes and spec.in_channels == 1:
        return Colorization(spec.in_size)
    if spec.rgb:
        return SuperResolution(spec.in_size)
    raise InversionError(
        f'The config takes inputs of {spec.in_channels} channels for {spec.task}; known are 3 (RGB) for '
        f'{models_task.RESTORATION} and 1 (lightness) for {models_task.COLORIZATION}.'
    )


def space_of(bank: LatentBank, name: str | None = None, seed: int = 0, label: int | None = None) -> Space:
    """The space of a full generator by its name; None is the default of its kind.

    Raises:
        InversionError: If this kind of bank has no such space, or a label that it does not have.
    """
    kind = type(bank).__name__
    if not bank.spaces:
        raise InversionError(f'{kind} cannot be inverted: it has no space to search.')
    name = name or bank.spaces[0]
    if name not in bank.spaces:
        raise InversionError(f"{kind} has no space {name!r} to search, but {', '.join(map(repr, bank.spaces))}.")
    if label is not None and not any(bank.class_dims):
        raise InversionError(f'{kind} has no classes, but the label {label} is given.')
    try:
        return bank.space(name, seed, label)
    except ValueError as error:
        raise InversionError(str(error)) from error


class Inverter:
    """Searches the bank of a restorer for images that would give its inputs.

    Args:
        generator: ``model.generator`` of the config. Of a LightGLEAN's, too, the full generator is searched.
        settings: How long and from where.
        space: ``w+``, ``w`` or ``z``; None for the default of the bank.
        label: Class of the images, for a bank with classes; None searches it.
        bgr: The bank synthesizes BGR images; None asks the catalogue.
        device: Where to search.

    Raises:
        InversionError: If the config has no bank, or none of its weights; if the bank has no such space or class.
        DeviceError: If there is no such device.
        WeightsError: If the weights cannot be had, or do not fit.
    """

    def __init__(
        self,
        generator: Mapping[str, Any],
        settings: Settings | None = None,
        space: str | None = None,
        label: int | None = None,
        bgr: bool | None = None,
        device: str | torch.device = 'cpu',
    ) -> None:
        self.settings = settings or Settings()
        self.device = usable_device(device)
        if 'bank' not in generator:
            raise InversionError(f'The generator of the config, {generator.get("type")}, has no bank to search.')
        if generator['bank'].get('pretrained') is None:
            raise InversionError(
                'The config names no weights of the bank, and a random bank has no images to find: set '
                'model.generator.bank.pretrained=dict(checkpoint=PATH).'
            )
        self.bank = load_bank(generator['bank'], whole=True, device=self.device)
        self.task = task_of(generator)
        self.space = space_of(self.bank, space, self.settings.seed, label)
        self.bgr = bank_draws_bgr(self.bank) if bgr is None else bgr

    def __call__(self, inputs: Tensor, progress: Callable[[int, float], None] | None = None) -> Found:
        """Inputs (N, C, in_size, in_size), 0 to 1 -> what is found; see :func:`search`."""
        return search(self.space, self.task, inputs.to(self.device), self.settings, self.bgr, progress)
