"""Descriptions of formats: tables of what each key becomes, or why it is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import torch
from torch import Tensor

from glean_plus.weights.errors import WeightsError, brief

Change = Callable[[Tensor], Tensor]
Target = Union[str, Callable[..., str]]


def as_it_is(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Rule:
    """One line of a format's table."""

    pattern: str  # regular expression of the whole key
    # The canonical key, with \1 for a group of the pattern, or a function of the groups (numbers as integers); None
    # leaves it out.
    target: Target | None
    change: Change = as_it_is  # what is done to the tensor; for a key that is left out, a check of it
    reason: str = ''  # why it is left out
    refused: bool = False  # whether such a key means that the network cannot be represented, `reason` saying why

    def key(self, match: re.Match[str]) -> str | None:
        """The canonical key of one that the pattern matches; None if it is left out."""
        if callable(self.target):
            return self.target(*(int(group) if group.isdigit() else group for group in match.groups()))
        return None if self.target is None else match.expand(self.target)


def to(pattern: str, target: Target, change: Change = as_it_is) -> Rule:
    return Rule(pattern, target, change)


def leave(pattern: str, reason: str, check: Change = as_it_is) -> Rule:
    return Rule(pattern, None, check, reason)


def refuse(pattern: str, reason: str) -> Rule:
    return Rule(pattern, None, reason=reason, refused=True)


def nothing(found: Mapping[str, Any]) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Format:
    """A published layout of weights."""

    name: str  # as it appears in messages
    architecture: str  # one of ARCHITECTURES
    anchors: Sequence[str]  # keys that every such file has and no other format's has together
    # The table, the first matching line of which counts; or a function of the tensors and the truncation that makes
    # it, where keys depend on the layout or the file holds statistics for several truncations.
    rules: Sequence[Rule] | Callable[[Mapping[str, Tensor], float], Sequence[Rule]]
    # Completes the converted state in place: what the file does not hold, or what several tensors make together.
    # Returns {key: why it was filled in}.
    finish: Callable[[dict[str, Tensor]], dict[str, str]] = nothing
    # The file's own settings -> constructor arguments that no shape tells.
    settings: Callable[[Mapping[str, Any]], dict[str, Any]] = nothing
    foreign: bool = True  # False for MMagic's own keys, which need no conversion


@dataclass
class Converted:
    state: dict[str, Tensor] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    filled: dict[str, str] = field(default_factory=dict)


def convert(format: Format, state: Mapping[str, Tensor], source: str, truncation: float = 1.0) -> Converted:
    """Apply a format's table.

    Raises:
        WeightsError: If a key is in no line of the table, or says that the network cannot be represented.
    """
    rules = format.rules(state, truncation) if callable(format.rules) else format.rules
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    result = Converted()
    unknown = []
    for key, tensor in state.items():
        found = next(((match, rule) for regex, rule in compiled if (match := regex.fullmatch(key))), None)
        if found is None:
            unknown.append(key)
            continue
        match, rule = found
        if rule.refused:
            raise WeightsError(f'{source} is {format.name}, but cannot become a bank: {rule.reason} ({key}).')
        try:
            changed = rule.change(tensor)
            target = rule.key(match)
        except (WeightsError, RuntimeError, LookupError, ValueError) as error:
            raise WeightsError(
                f'{source} is {format.name}, but {brief(key)} {tuple(tensor.shape)} is not: {error}'
            ) from error
        if target is None:
            result.ignored[key] = rule.reason
            continue
        if target in result.state:
            raise WeightsError(f'{source}: {key} and another key are both {target}.')
        result.state[target] = changed.contiguous()
    if unknown:
        more = f' and {len(unknown) - 6} more' if len(unknown) > 6 else ''
        raise WeightsError(f'{source} is {format.name}, which has no such keys: {brief(", ".join(unknown[:6]))}{more}.')
    try:
        result.filled = format.finish(result.state)
    except KeyError as error:
        raise WeightsError(f'{source} is {format.name}, but lacks what makes {error}.') from error
    except (WeightsError, RuntimeError, LookupError, ValueError) as error:
        raise WeightsError(f'{source} is {format.name}, but does not hold together: {brief(error)}') from error
    return result


# Changes that several formats share.


def flipped(tensor: Tensor) -> Tensor:
    """A convolution kernel turned by 180 degrees: what TensorFlow's transposed convolution calls by the other name."""
    return tensor.flip(-2, -1)


def plus_one(tensor: Tensor) -> Tensor:
    """Scales that the original adds one to when it uses them."""
    return tensor + 1


def image_bias(tensor: Tensor) -> Tensor:
    return tensor.reshape(1, -1, 1, 1)


def with_batch(tensor: Tensor) -> Tensor:
    """(...) -> (1, ...)."""
    return tensor.unsqueeze(0)


def as_vector(tensor: Tensor) -> Tensor:
    """A number () or (1,) -> (1,)."""
    return tensor.reshape(1)


def noise_map(tensor: Tensor) -> Tensor:
    """(H, W) or (1, 1, H, W) -> (1, 1, H, W)."""
    return tensor.reshape(1, 1, *tensor.shape[-2:])


def chain(*changes: Change) -> Change:
    def change(tensor: Tensor) -> Tensor:
        for each in changes:
            tensor = each(tensor)
        return tensor

    return change


def times(factor: float) -> Change:
    return lambda tensor: tensor * factor


def binomial(weights: Sequence[float], gain: float = 1.0) -> Tensor:
    """The filter (K, K) of an outer product, with sum ``gain``."""
    taps = torch.tensor(weights)
    kernel = torch.outer(taps, taps)
    return kernel * (gain / kernel.sum())


def check_filter(weights: Sequence[float], gain: float = 1.0) -> Change:
    """Make sure that a stored filter, which the canonical state does not take from here, is the standard one."""

    def check(tensor: Tensor) -> Tensor:
        expected = binomial(weights, gain)
        got = tensor.reshape(-1, *tensor.shape[-2:])[:1].reshape(tensor.shape[-2:]).float()
        if got.shape != expected.shape or not torch.allclose(got, expected, atol=1e-6):
            raise WeightsError(f'it is another filter than {list(weights)}.')
        return tensor

    return check


def log2(number: int) -> int:
    if number < 1 or number & (number - 1):
        raise WeightsError(f'{number} is no power of two.')
    return number.bit_length() - 1
