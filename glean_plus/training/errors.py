"""What ends a training on purpose, and how many errors it may have before."""

from glean_plus.errors import GleanError


class TrainingError(GleanError, RuntimeError):
    """A training that must not begin, or cannot continue."""


def checked_limit(limit: int) -> int:
    """How many errors of a kind a training may have, if that is a whole number of at least 0; else a ValueError."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ValueError(f'limit must be a whole number of at least 0, but is {limit!r}.')
    return limit
