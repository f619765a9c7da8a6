"""Errors of measurements; each message says why, and what to do."""

from __future__ import annotations

from glean_plus.errors import GleanError


class InspectionError(GleanError):
    """A model, data set or folder whose ablations cannot be run."""


class InversionError(GleanError, RuntimeError):
    """An inversion that cannot be done as asked."""


class OCRError(GleanError, RuntimeError):
    """Pages or a reader that cannot be used."""


class PeersError(GleanError, RuntimeError):
    """An image, entry or package of a comparison that cannot be used."""
