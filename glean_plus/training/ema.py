"""The exponential moving average of a generator, without a second copy of a frozen bank."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def averaged_copy(model: nn.Module) -> nn.Module:
    """A copy to hold the averages. A frozen bank is shared with ``model``, and not part of the copy's state dict."""
    bank = getattr(model, 'bank', None)
    shared = bank is not None and bank.frozen
    average = copy.deepcopy(model, memo={id(bank): bank} if shared else None)
    if shared:
        # A plain attribute, not a submodule: forward() finds it, state_dict(), parameters() and to() do not.
        del average._modules['bank']
        average.__dict__['bank'] = bank
    for parameter in average.parameters():
        parameter.requires_grad_(False)
    return average.eval()


def _pairs(average: nn.Module, model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    current = model.state_dict()
    for key, value in average.state_dict().items():
        yield value, current[key]


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, in place; decay 0 copies. Integers are copied."""
    for mean, value in _pairs(average, model):
        if decay and mean.is_floating_point():
            mean.lerp_(value.to(mean.dtype), 1 - decay)
        else:
            mean.copy_(value)
