"""Devices that a user names."""

from __future__ import annotations

import torch

from glean_plus.errors import GleanError

# PyTorch knows more, which these networks were never run on. On `meta` they are built and compute nothing.
TYPES = ('cpu', 'cuda', 'mps', 'xpu', 'hpu', 'xla', 'meta')


class DeviceError(GleanError, ValueError):
    """There is no such device here."""


def usable_device(device: str | torch.device) -> torch.device:
    """The device.

    Raises:
        DeviceError: If PyTorch cannot put a tensor on it.
    """
    kind = str(device).partition(':')[0]
    if kind not in TYPES:
        raise DeviceError(f'There is no device {str(device)!r}: take cpu, cuda, cuda:N for the Nth GPU, or mps.')
    try:
        return torch.empty(0, device=device).device
    except Exception as error:  # CUDA's absence is an AssertionError, that of others an ImportError, say
        reason = ' '.join((str(error).strip() or type(error).__name__).splitlines()[0].split()).rstrip('.')
        count = torch.cuda.device_count() if kind == 'cuda' else 0
        there = f'there are {count}, cuda:0 to cuda:{count - 1}' if count else 'take cpu'
        raise DeviceError(f'The device {str(device)!r} cannot be used ({reason}): {there}.') from error
