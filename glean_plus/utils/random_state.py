"""The states of the generators that a training draws from."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """States of the generators that a step can draw from, as plain data."""
    state = np.random.get_state(legacy=False)
    keys = torch.from_numpy(state['state']['key'].astype(np.int64))  # PyTorch 2.1 has no uint32
    numbers = (state['bit_generator'], keys, state['state']['pos'], state['has_gauss'], state['gauss'])
    states = dict(torch=torch.get_rng_state(), python=random.getstate(), numpy=numbers)
    if torch.cuda.is_available():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Any]) -> None:
    """The inverse of :func:`random_states`."""
    torch.set_rng_state(states['torch'])
    version, numbers, gauss = states['python']
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = states['numpy']
    np.random.set_state((kind, keys.numpy(), *rest))
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'])
