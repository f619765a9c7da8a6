"""Distributed training that also works on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.device import get_device
from mmengine.model import MMSeparateDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import nn


@MODEL_WRAPPERS.register_module()
class SeparateDistributedDataParallel(MMSeparateDistributedDataParallel):
    """Each network of the model in a ``DistributedDataParallel`` of its own, as its optimiser steps by itself.

    MMEngine's class with one repair: its runner names a CUDA device even where there is none, which PyTorch refuses.

    Args:
        module: The model.
        device_ids: The process' GPU; ignored on CPUs.
        **kwargs: As ``torch.nn.parallel.DistributedDataParallel``.
    """

    def __init__(self, module: nn.Module, device_ids: Sequence[int] | None = None, **kwargs: Any) -> None:
        if get_device() != 'cpu':
            kwargs['device_ids'] = device_ids
        super().__init__(module, **kwargs)
