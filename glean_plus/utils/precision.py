"""Where half precision would not do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def _has_autocast(kind: str) -> bool:
    """Whether autocast is on a kind of device; PyTorch tells from 2.4 on."""
    if hasattr(torch.amp, 'is_autocast_available'):
        return torch.amp.is_autocast_available(kind)
    return kind in ('cpu', 'cuda')


# Asked once, not while a graph is traced.
WITH_AUTOCAST = tuple(filter(_has_autocast, ('cpu', 'cuda', 'mps', 'xpu')))


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """No autocast inside; nothing to do on devices that have none, such as meta."""
    return torch.autocast(device.type, enabled=False) if device.type in WITH_AUTOCAST else nullcontext()


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision types to float32; others stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
