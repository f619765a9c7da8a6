"""Imports everything that registers itself with MMagic; the registries do so on their first look-up."""

from glean_plus import datasets, engine, losses, metrics, models, transforms  # noqa: F401
