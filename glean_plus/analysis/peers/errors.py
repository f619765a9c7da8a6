"""What goes wrong in a comparison, in a sentence for its user."""

from __future__ import annotations

from glean_plus.errors import GleanError


class PeersError(GleanError, RuntimeError):
    """An image, entry or package that cannot be used; the message says why and what to do."""
