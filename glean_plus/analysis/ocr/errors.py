"""What goes wrong in reading, in a sentence for its user."""

from __future__ import annotations

from glean_plus.errors import GleanError


class OCRError(GleanError, RuntimeError):
    """Pages or a reader that cannot be used; the message says why and what to do."""
