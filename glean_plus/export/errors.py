"""The one error of an export."""

from glean_plus.errors import GleanError


class ExportError(GleanError, RuntimeError):
    """A model that cannot be exported as asked, or a file that does not do what the model does; it says why."""
