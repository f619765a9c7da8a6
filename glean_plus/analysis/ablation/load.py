"""A config and a checkpoint -> the network that a test uses, and what draws its bank's own picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from glean_plus.registry import MODELS
from torch import Tensor

from glean_plus.analysis.ablation.errors import InspectionError
from glean_plus.models.banks import LatentBank
from glean_plus.models.glean import GLEAN
from glean_plus.training.restorer import GLEANRestorer
from glean_plus.utils.devices import usable_device
from glean_plus.weights import WeightsError, read_state_dict
from glean_plus.weights.fetch import cached_path
from glean_plus.weights.files import local_copy


def load_restorer(model: Mapping[str, Any], checkpoint: str, device: str | torch.device = 'cpu') -> GLEANRestorer:
    """The restorer of a config, without its discriminator, with the weights of a checkpoint that a test would take.

    Args:
        model: ``model`` of the config.
        checkpoint: Path or URL.
        device: Where to run it.

    Raises:
        InspectionError: If the config has no GLEAN.
        DeviceError: If there is no such device.
        WeightsError: If the checkpoint cannot be read, or does not fit the model.
    """
    device = usable_device(device)
    generator = model.get('generator') or {}
    for config, wanted in ((model, GLEANRestorer), (generator, GLEAN)):
        kind = MODELS.get(str(config.get('type')))
        if not (isinstance(kind, type) and issubclass(kind, wanted)):
            raise InspectionError(
                f'A GLEAN in a GLEANRestorer can be inspected, but the model of the config is {model.get("type")} with '
                f'{generator.get("type")}.'
            )
    restorer = MODELS.build(dict(model) | dict(discriminator=None))
    state = read_state_dict(checkpoint)
    taken: dict[str, Tensor] = {key: value for key, value in state.items() if not key.startswith('discriminator.')}
    restorer.load_state_dict(taken, strict=False)  # it checks the generator's tensors itself
    return restorer.to(device).eval()


def own_picture_bank(generator: Mapping[str, Any], device: str | torch.device = 'cpu') -> LatentBank | str:
    """The bank as :func:`pretrained_bank` gives it, with the layers that draw its own picture."""
    return pretrained_bank(generator, device, rgb=True)


def pretrained_bank(
    generator: Mapping[str, Any], device: str | torch.device = 'cpu', download: bool = True, **parts: Any
) -> LatentBank | str:
    """The bank of a generator's config as it was pre-trained.

    Args:
        generator: The config.
        device: Where to have it.
        download: Fetch it if it is not here.
        **parts: Of the bank's arguments, those that differ, such as ``rgb=True``.

    Returns:
        The bank; or, where the config names no file, or one that is not there, a sentence about it.

    Raises:
        WeightsError: If there is a file, and it is another bank's.
    """
    bank: LatentBank = MODELS.build(dict(generator['bank']) | parts)
    if bank.pretrained is None:
        return 'the config names no file of the pre-trained bank: model.generator.bank.pretrained.checkpoint is not set'
    checkpoint = str(bank.pretrained['checkpoint'])
    if not download and checkpoint.startswith(('http://', 'https://')) and not cached_path(checkpoint).is_file():
        return f'the pre-trained bank is not here: fetch {checkpoint} and put it at {cached_path(checkpoint)}'
    try:
        local_copy(checkpoint)
    except WeightsError as error:
        return f'the pre-trained bank is not there: {error}'
    bank.init_weights()
    return bank.freeze().to(device)
