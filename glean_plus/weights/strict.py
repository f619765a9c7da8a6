"""Loading that cannot fail silently."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from glean_plus.weights.errors import WeightsError

NAMED = 6


def _some(keys: list[str]) -> str:
    more = f' and {len(keys) - NAMED} more' if len(keys) > NAMED else ''
    return ', '.join(keys[:NAMED]) + more


def check(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str, what: str) -> None:
    """Compare keys and shapes.

    Raises:
        WeightsError: On any difference, naming the keys.
    """
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f'{key} is {tuple(state[key].shape)} in the file and {tuple(expected[key].shape)} in the model'
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    if missing or unexpected or shapes:
        matched = len(expected) - len(missing) - len(shapes)
        parts = [f'{source} does not fit {what}: {matched} of {len(expected)} tensors match.']
        if missing:
            parts.append(f'Missing from the file: {_some(missing)}.')
        if unexpected:
            parts.append(f'Not in the model: {_some(unexpected)}.')
        if shapes:
            parts.append(f'Other shape: {_some(shapes)}.')
        parts.append('Check the checkpoint, its prefix and the sizes and channels in the config.')
        raise WeightsError(' '.join(parts))


def with_batch_counts(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state``, and where it lacks them the counters of batch norms, which files of PyTorch 0.4 do not have.

    PyTorch's own loading sets them to zero too; nothing in evaluation depends on them.
    """
    counts = {key: torch.tensor(0) for key in module.state_dict() if key.endswith('.num_batches_tracked')}
    return counts | dict(state)


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str, what: str) -> None:
    """Load every tensor of ``module`` and no other, and log how many there were.

    Raises:
        WeightsError: If a key is missing, unexpected or of another shape; the module is then unchanged.
    """
    check(module.state_dict(), state, source, what)
    module.load_state_dict(dict(state), strict=True)
    print_log(f'{what}: all {len(state)} tensors loaded from {source}', logger='current')
