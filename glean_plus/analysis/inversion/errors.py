"""The one error of an inversion."""

from glean_plus.utils.text import PrintableError


class InversionError(PrintableError, RuntimeError):
    """An inversion that cannot be done as asked; the message says why, and what to do."""
