"""Devices that a user names."""

from __future__ import annotations

import torch

from glean_plus.texts import PrintableError


class DeviceError(PrintableError, ValueError):
    """There is no such device here."""


def usable_device(device: str | torch.device) -> torch.device:
    """The device.

    Raises:
        DeviceError: If PyTorch cannot put a tensor on it.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # CUDA's absence is an AssertionError
        reason = str(error).splitlines()[0]
        raise DeviceError(f'The device {device} cannot be used: {reason}') from error
