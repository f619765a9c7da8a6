"""Mixed precision in bfloat16, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast; weights, gradients and the optimiser stay float32.

    bfloat16 has float32's range, so no loss scaling is needed, and it works on CPUs too, where MMEngine's
    ``AmpOptimWrapper`` refuses to be built. For float16 on a GPU use that one.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
