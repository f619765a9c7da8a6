"""The error of an ablation."""

from glean_plus.errors import GleanError


class InspectionError(GleanError):
    """A model, data set or folder that cannot be inspected; the message says why, and the way out."""
