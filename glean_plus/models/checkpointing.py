"""Activations that are computed again in the backward pass, not kept (Chen et al., "Training Deep Nets with Sublinear
Memory Cost", 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from glean_plus.models.spectral_norm import SpectralNorm

# Makers of contexts in which the forward pass runs: the second computation has to run in the same.
WITH: list[Callable[[], AbstractContextManager]] = []


def again(function: Callable[..., Any], *inputs: Any) -> Any:
    """Call a function of tensors and others whose activations the backward pass computes again."""
    makers = tuple(WITH)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False,
                      context_fn=lambda: (nullcontext(), _within(makers)))  # fmt: skip


def repeatable(network: nn.Module) -> bool:
    """Whether a second run gives what the first gave: in training, batch and spectral norm move with each run."""
    moving = (nn.modules.batchnorm._BatchNorm, SpectralNorm)
    return not any(part.training and isinstance(part, moving) for part in network.modules())


@contextmanager
def _within(makers: Sequence[Callable[[], AbstractContextManager]]) -> Iterator[None]:
    with ExitStack() as stack:
        for maker in makers:
            stack.enter_context(maker())
        yield


def recompute(network: nn.Module, on: bool) -> None:
    """Switch this on or off in all parts of a network that can do so, those with an attribute ``recompute``.

    Raises:
        ValueError: If it is to be on, and the network has no such part.
    """
    parts: list[Any] = [module for module in network.modules() if hasattr(module, 'recompute')]
    if on and not parts:
        raise ValueError(f'train_cfg has recompute=True, but a {type(network).__name__} has nothing to recompute.')
    for part in parts:
        part.recompute = on
