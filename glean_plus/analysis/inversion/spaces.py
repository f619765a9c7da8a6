"""The space of a bank in which an image is searched."""

from __future__ import annotations

from glean_plus.analysis.errors import InversionError
from glean_plus.models.banks import LatentBank
from glean_plus.models.banks.space import Space


def space_of(bank: LatentBank, name: str | None = None, seed: int = 0, label: int | None = None) -> Space:
    """The space of a whole bank by its name; None is the default of its kind.

    Raises:
        InversionError: If this kind of bank has no such space, or a label that it does not have.
    """
    kind = type(bank).__name__
    if not bank.spaces:
        raise InversionError(f'{kind} cannot be inverted: it has no space to search.')
    name = name or bank.spaces[0]
    if name not in bank.spaces:
        raise InversionError(f"{kind} has no space {name!r} to search, but {', '.join(map(repr, bank.spaces))}.")
    if label is not None and not any(bank.class_dims):
        raise InversionError(f'{kind} has no classes, but the label {label} is given.')
    try:
        return bank.space(name, seed, label)
    except ValueError as error:
        raise InversionError(str(error)) from error
