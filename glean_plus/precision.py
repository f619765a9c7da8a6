"""Where half precision would not do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """No autocast inside; nothing to do on devices that have none, such as meta."""
    return torch.autocast(device.type, enabled=False) if device.type in ('cpu', 'cuda') else nullcontext()


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision types to float32; others stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
