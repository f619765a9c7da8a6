"""The one error of an inversion."""

from glean_plus.errors import GleanError


class InversionError(GleanError, RuntimeError):
    """An inversion that cannot be done as asked; the message says why, and what to do."""
