"""Search for a network in a file: below nestings and wrappers of training, and beside its moving average."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from mmengine.logging import print_log

from glean_plus.weights.errors import WeightsError, brief

Value = TypeVar('Value')

# What DataParallel and AveragedModel, and torch.compile, put into the name of each tensor.
WRAPPERS = ('module', '_orig_mod')
# What AveragedModel counts beside its ``module``: MMEngine's and PyTorch's.
COUNTERS = ('steps', 'n_averaged')
# Words in the names of averaged weights: g_ema, params_ema, netG_ema, state_dict_ema, generator_smooth, Gs (NVlabs).
AVERAGED = {'ema', 'gs', 'smooth', 'averaged', 'average', 'avg', 'shadow', 'swa'}


def places(keys: Collection[str], anchors: Sequence[str]) -> list[str]:
    """Every prefix below which all ``anchors`` are, without its last dot; '' is the top. In the order of ``keys``."""
    first, *others = anchors
    found = []
    for key in keys:
        if key == first or key.endswith(f'.{first}'):
            start = key[:len(key) - len(first)]
            if all(start + other in keys for other in others):
                found.append(start.rstrip('.'))
    return found


def beginnings(keys: Iterable[str]) -> str:
    """The parts before the first dot that most keys have, with how many, for a message."""
    counts = Counter(key.split('.')[0] for key in keys)
    return brief(', '.join(f'{name} ({count})' for name, count in counts.most_common(8)))


def is_averaged(prefix: str) -> bool:
    """Whether the name of a network says that its weights are a moving average of another's."""
    return any(word.lower() in AVERAGED for word in re.findall(r'[A-Z]?[a-z]+|[A-Z]+', prefix))


def choose(found: Iterable[str], source: str, what: str) -> str:
    """The averaged one of several places, which the log then names.

    Raises:
        WeightsError: If more than one is, or none of several; the message says what to give.
    """
    every = [*dict.fromkeys(found)]
    best = [prefix for prefix in every if is_averaged(prefix)] or every
    if len(best) > 1:
        ways = ' or '.join(f"--prefix '{prefix}'" for prefix in best[:6])
        raise WeightsError(
            f'{source} holds several networks that could be the {what}: say which one by {brief(ways)} '
            '(in a config, `prefix`).'
        )
    if len(every) > 1:
        rest = ', '.join(repr(prefix) for prefix in every if prefix != best[0])
        print_log(f'{source}: of several {what}s, the averaged one at {best[0]!r} is taken, not {rest}.',
                  logger='current')  # fmt: skip
    return best[0]


def without_wrappers(state: Mapping[str, Value]) -> dict[str, Value]:
    """The same with ``WRAPPERS`` and ``COUNTERS`` left out; as it is where two names would become one."""
    averaged = {key[:key.index('module.')] for key in state if 'module.' in key}
    counters = {start + name for start in averaged for name in COUNTERS}
    state = {key: value for key, value in state.items() if key not in counters}
    plain = {'.'.join(part for part in key.split('.') if part not in WRAPPERS): value for key, value in state.items()}
    return plain if len(plain) == len(state) else dict(state)


def at_top(state: Mapping[str, Value], child: str) -> dict[str, Value]:
    """The tensors of the model that has a part named ``child``, without what the file nests the model in.

    ``model.generator.x`` becomes ``generator.x``, and other tensors than the model's are left out. A state without such
    a part, or with several, stays as it is.
    """
    state = without_wrappers(state)
    starts = {key[:key.index(f'.{child}.') + 1] for key in state if f'.{child}.' in key}
    if len(starts) != 1 or any(key.startswith(f'{child}.') for key in state):
        return state
    (start,) = starts
    return {key[len(start):]: value for key, value in state.items() if key.startswith(start)}
