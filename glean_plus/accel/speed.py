"""The speeds that a trained network can be run at, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

# Name: type of the maps and whether the compiled kernel is used, of networks that are folded.
FOLDED: Mapping[str, tuple[torch.dtype, bool]] = {
    'folded': (torch.float32, False),
    'compiled': (torch.float32, True),
    'folded-bfloat16': (torch.bfloat16, False),
    'compiled-bfloat16': (torch.bfloat16, True),
}
SPEEDS = ('exact', *FOLDED, 'torch.compile')


def speed_of(settings: dict[str, Any]) -> str:
    """Take ``speed``, or ``fold=True`` for 'folded', out of a ``test_cfg``.

    Raises:
        ValueError: If it is none of :data:`SPEEDS`, or both are given.
    """
    fold = settings.pop('fold', False)
    if fold not in (False, True):
        raise ValueError(f"test_cfg.fold must be True or False, but is {fold!r}; for other ways, set speed={SPEEDS}.")
    if fold and 'speed' in settings:
        raise ValueError("test_cfg has both fold and speed: leave out fold, which is the short form of speed='folded'.")
    speed = settings.pop('speed', 'folded' if fold else 'exact')
    if speed not in SPEEDS:
        raise ValueError(f'test_cfg.speed must be one of {SPEEDS}, but is {speed!r}.')
    return str(speed)


def at_speed(network: nn.Module, speed: str) -> nn.Module:
    """A network as it is to be run.

    ========================================  ==========================================================================
    exact                                     the module itself
    folded                                    what ``fold()`` makes: equal up to rounding
    compiled                                  the same with a kernel built by this machine's C++ compiler, on a CPU
    folded-bfloat16, compiled-bfloat16        the same in bfloat16
    torch.compile                             the module, through PyTorch's compiler, at the first picture of each size
    ========================================  ==========================================================================

    Args:
        network: In evaluation mode, its weights final.
        speed: One of :data:`SPEEDS`.

    Raises:
        TypeError: If the network cannot be folded.
        CompilerError: If there is no compiler for the kernel.
    """
    if speed == 'exact':
        return network
    if speed == 'torch.compile':
        compiled: nn.Module = torch.compile(network)
        return compiled
    if not hasattr(network, 'fold'):
        raise TypeError(f'speed={speed!r} needs a network that can be folded, but this is a {type(network).__name__}.')
    dtype, kernel = FOLDED[speed]
    folded: nn.Module = network.fold(dtype, kernel)
    return folded
