"""The one error of an inversion."""


class InversionError(RuntimeError):
    """An inversion that cannot be done as asked; the message says why, and what to do."""
