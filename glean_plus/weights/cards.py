"""Cards of weight files: origin, licence, checksum, and the images that the network takes or makes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glean_plus.utils.text import is_unicode
from glean_plus.weights.errors import WeightsError, shown

# The hash that a published file carries in its name: stylegan2-cat-config-f-official_20210327_172444-15bc485b.pth
HASH_IN_NAME = re.compile(r'-(?!(?:19|20)\d\d[01]\d[0-3]\d\.)([0-9a-f]{8,64})\.')  # and no date, such as 20240131

# What a card's fields can be, by their annotations.
KINDS: dict[Any, Any] = {
    'str': str, 'str | None': (str, type(None)), 'int | None': (int, type(None)), 'tuple[float, float]': tuple,
}  # fmt: skip


def hash_in_name(name: str) -> str:
    """The start of the SHA-256 that the name of a published file ends in; empty if there is none."""
    match = HASH_IN_NAME.search(name)
    return match.group(1) if match else ''


@dataclass(frozen=True)
class Card:
    """A weight file: what it is, where it is, and how to tell that it is the right one.

    Args:
        name: By which the tools know it.
        kind: ``bank``, ``restorer``, or ``network`` of a loss or metric.
        data: Training images and their size.
        licence: Of the weights and, where it limits their use, of the training images.
        colour_order: ``rgb`` or ``bgr``, of the images that the network synthesizes, or judges.
        value_range: Of those images; a generator without a last tanh may overshoot it.
        sha256: In hexadecimal: all of it, or the first digits if no more is published. Empty if none is.
        url: None for a file that is shipped with its card.
        size: In bytes; None if it is not published.
        architecture: Of a bank.
        config: Of a restorer: the config here that it fits.
        source: Where these facts stand.
        extra: What a card beside a file says beyond these, such as ``command`` and ``metrics``, as it stands there.

    Raises:
        WeightsError: On a value that none of these can have.
    """

    name: str
    kind: str
    data: str
    licence: str
    colour_order: str
    value_range: tuple[float, float] = (-1, 1)
    sha256: str = ''
    url: str | None = None
    size: int | None = None
    architecture: str = ''
    config: str = ''
    source: str = ''
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if each.type in KINDS and not isinstance(value, KINDS[each.type]):
                raise WeightsError(f'{each.name} of {shown(self.name)} is {shown(value)}, no {each.type}.')
            if isinstance(value, str) and not is_unicode(value):
                raise WeightsError(f'{each.name} of {shown(self.name)} is {shown(value)}, which is no Unicode text.')
        for name, allowed in (('kind', ('bank', 'restorer', 'network')), ('colour_order', ('rgb', 'bgr'))):
            if getattr(self, name) not in allowed:
                given = shown(getattr(self, name))
                raise WeightsError(f'{name} of {self.name} must be one of {allowed}, but is {given}.')
        if self.sha256 and not re.fullmatch('[0-9a-f]{8,64}', self.sha256):
            raise WeightsError(f'sha256 of {self.name} must be 8 to 64 digits of 0-9a-f, but is {shown(self.sha256)}.')
        limits = self.value_range
        if not all(isinstance(each, (int, float)) for each in limits) or len(limits) != 2 or not limits[0] < limits[1]:
            raise WeightsError(f'value_range of {self.name} must be (low, high), but is {shown(limits)}.')


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card of a shipped file, which is a JSON file beside it; fields that are not a card's go to ``extra``.

    Args:
        path: Of the weight file or of its card.

    Raises:
        WeightsError: If there is no card, it is no JSON object, or lacks a field that every card has.
    """
    path = Path(path).with_suffix('.json')
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise WeightsError(f'{path} is no readable card: {error}') from error
    content = parse_card(text, str(path))
    fields = {each.name: each for each in dataclasses.fields(Card) if each.name != 'extra'}
    required = [name for name, each in fields.items() if each.default is dataclasses.MISSING]
    if missing := [name for name in required if name not in content]:
        raise WeightsError(f'{path} is no card: it lacks {", ".join(missing)}.')
    known = {name: content.pop(name) for name in fields if name in content}
    known['colour_order'] = str(known['colour_order']).lower()
    limits = known.get('value_range', Card.value_range)
    known['value_range'] = tuple(limits) if isinstance(limits, list) else limits
    try:
        return Card(**known, extra=content)
    except WeightsError as error:
        raise WeightsError(f'{path} is no card: {error}') from error


def parse_card(text: str, source: str) -> dict[str, Any]:
    """The object that a card's JSON is.

    Raises:
        WeightsError: If it is none, or cannot be read.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f'{source} is no readable card: {error}') from error
    if not isinstance(content, dict):
        raise WeightsError(f'{source} is no card: it holds a {type(content).__name__}, not an object.')
    return content
