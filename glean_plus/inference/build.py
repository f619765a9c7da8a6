"""A model from its config and weights. Both may be a stranger's, so that an absurd one costs nothing.

The config is first built on PyTorch's meta device, where tensors have shapes and no values, and compared with the
weights. What is then built in memory is as large as the file.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.source import Source, other_config
from glean_plus.models.loading import generator_states
from glean_plus.registry import MODELS
from glean_plus.weights import WeightsError, read_state_dict
from glean_plus.weights.errors import brief
from glean_plus.weights.prefixes import at_top

# Modules, parameters and buffers of a network for each tensor of its file, and for what has none, such as activations.
# The networks here have up to 3.5.
PARTS_A_TENSOR, MORE_PARTS, MOST_PARTS = 4, 1000, 50_000
# What MMEngine's registry puts before the text of an error, once for each config around it.
CALLERS = re.compile(r'(class `\w+` in [^:]*: )+')


class TooManyParts(RestoreError):
    """A network has far more parts than its file has tensors for."""


@contextmanager
def at_most(parts: int) -> Iterator[None]:
    """While this lasts, modules of this thread can be given so many modules, parameters and buffers altogether.

    Raises:
        TooManyParts: From whatever adds one more.
    """
    thread, count = threading.get_ident(), 0

    def added(*registered: Any) -> None:
        nonlocal count
        if threading.get_ident() == thread:
            count += 1
            if count > parts:
                raise TooManyParts(f'it has more than {parts} parts, far more than the file has tensors for')

    handles = [register(added) for register in (
        register_module_module_registration_hook, register_module_parameter_registration_hook,
        register_module_buffer_registration_hook,
    )]  # fmt: skip
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def in_a_sentence(config: str) -> Iterator[None]:
    """What a config that makes no network raises, which may be anything, as one kind of error that names the config."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        if isinstance(error, RestoreError) and not isinstance(error, TooManyParts):
            raise
        text = CALLERS.sub('', str(error)) or type(error).__name__
        raise RestoreError(f'The config in {config} makes no network: {brief(text)}') from error


def load_generator(source: Source) -> nn.Module:
    """The generator of a config with the weights of a file, for inference, on the CPU.

    Everything that uses a trained generator outside of training takes it from here. The file may have any form that
    :func:`generator_states` takes. Where it has a moving average and the config wants one, the network is that.

    Raises:
        RestoreError: If the config makes no network.
        WeightsError: If the file cannot be read, or its weights are not those of the network.
    """
    config, averaged = source.model['generator'], source.model.get('ema') is not None
    state = at_top(read_state_dict(source.checkpoint), 'generator')
    state = {key: value for key, value in state.items() if not key.startswith('discriminator.')}
    with in_a_sentence(source.config):
        check_restorer(source.model.get('type'))
        parts = min(PARTS_A_TENSOR * len(state) + MORE_PARTS, MOST_PARTS)
        with torch.device('meta'), at_most(parts):
            network = MODELS.build(config)
        try:
            given, averages = generator_states(state, network, f'The checkpoint {source.checkpoint}', averaged)
        except WeightsError as error:
            if hint := other_config(source):
                raise WeightsError(f'{error} {hint}') from error
            raise
        network = MODELS.build(config)
        network.load_state_dict(given | averages)
    return network.eval().requires_grad_(False)


def check_restorer(kind: Any) -> None:
    """Raise RestoreError unless the type of a config's model is GLEANRestorer, or a user's class that is made of it."""
    if str(kind).rpartition('.')[2] == 'GLEANRestorer':
        return
    registered = MODELS.get(str(kind))
    if not getattr(registered, 'checks_checkpoints', False):
        raise RestoreError(f'A GLEANRestorer can be run, but the model of the config is a {kind}.')
