"""What goes wrong with an image, a model or a call, in a sentence for its user."""

from __future__ import annotations

from glean_plus.errors import GleanError


class RestoreError(GleanError, ValueError):
    """A model, option or image that cannot be used; the message says why and what to do."""


class AnimationError(RestoreError):
    """An animation where a single image is wanted."""
