"""The exponential moving average of a GLEAN, without a second copy of the frozen bank."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from glean_plus.models.glean import GLEAN


def averaged_copy(model: GLEAN) -> GLEAN:
    """A copy to hold the averages. A frozen bank is shared with ``model``, and not part of the copy's state dict."""
    bank = model.bank
    shared = bank.frozen
    average = copy.deepcopy(model, memo={id(bank): bank} if shared else None)
    if shared:
        # A plain attribute, not a submodule: forward() finds it, state_dict(), parameters() and to() do not.
        del average._modules['bank']
        average.__dict__['bank'] = bank
    for parameter in average.parameters():
        parameter.requires_grad_(False)
    return average.eval()


def _pairs(average: GLEAN, model: GLEAN) -> Iterator[tuple[Tensor, Tensor]]:
    current = model.state_dict()
    for key, value in average.state_dict().items():
        yield value, current[key]


@torch.no_grad()
def update(average: GLEAN, model: GLEAN, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, in place; decay 0 copies. Integers are copied."""
    for mean, value in _pairs(average, model):
        if decay and mean.is_floating_point():
            mean.lerp_(value.to(mean.dtype), 1 - decay)
        else:
            mean.copy_(value)
