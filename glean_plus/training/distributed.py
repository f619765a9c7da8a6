"""Distributed training that also works on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.device import get_device
from mmengine.model import MMSeparateDistributedDataParallel, is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import nn


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside a distributed wrapper; itself without one."""
    if is_model_wrapper(module) and isinstance(module.module, nn.Module):
        return module.module
    return module


@MODEL_WRAPPERS.register_module()
class SeparateDistributedDataParallel(MMSeparateDistributedDataParallel):
    """Each network of the model in a ``DistributedDataParallel`` of its own, as its optimiser steps by itself.

    MMEngine's class with two repairs. Its runner names a CUDA device even where there is none, which PyTorch refuses.
    And it saves the keys of a wrapped network as ``generator.module...`` but loads ``generator...``, so that a
    checkpoint of several processes fits neither their resume nor a test; here both are without ``module``.

    Args:
        module: The model.
        device_ids: The process' GPU; ignored on CPUs.
        **kwargs: As ``torch.nn.parallel.DistributedDataParallel``.
    """

    def __init__(self, module: nn.Module, device_ids: Sequence[int] | None = None, **kwargs: Any) -> None:
        if get_device() != 'cpu':
            kwargs['device_ids'] = device_ids
        super().__init__(module, **kwargs)
        for child in module.children():
            if is_model_wrapper(child):
                vars(child)['state_dict'] = unwrapped(child).state_dict
