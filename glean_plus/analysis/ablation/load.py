"""Load the network that a test of a config and a checkpoint uses, and the bank that synthesizes its own image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from glean_plus.analysis.errors import InspectionError
from glean_plus.inference.build import load_generator
from glean_plus.inference.source import find
from glean_plus.models.banks import LatentBank
from glean_plus.models.glean import GLEAN
from glean_plus.models.loading import MissingBankError, load_bank
from glean_plus.registry import MODELS
from glean_plus.training.restorer import GLEANRestorer
from glean_plus.utils.devices import usable_device


def load_glean(model: Mapping[str, Any], checkpoint: str, device: str | torch.device = 'cpu') -> GLEAN:
    """The GLEAN of a config with the weights of a checkpoint that a test would take.

    Raises:
        InspectionError: If the config has no GLEAN.
        DeviceError: If there is no such device.
        RestoreError: If the config makes no network.
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
    network = load_generator(find(dict(model=model), checkpoint))
    assert isinstance(network, GLEAN)  # of the type that is checked above
    return network.to(device)


def own_image_bank(generator: Mapping[str, Any], device: str | torch.device = 'cpu') -> LatentBank | str:
    """The pre-trained bank with the layers that make its own image; or, where it is missing, a sentence about it.

    Raises:
        WeightsError: If there is a file, and it is another bank's.
    """
    try:
        return load_bank(generator['bank'], device=device, rgb=True)
    except MissingBankError as error:
        return str(error)
