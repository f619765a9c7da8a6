"""What goes wrong in a comparison, in a sentence for its user."""

from __future__ import annotations


class PeersError(RuntimeError):
    """An image, entry or package that cannot be used; the message says why and what to do."""
