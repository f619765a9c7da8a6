"""Imports everything that registers itself with MMagic; the registries do so on their first look-up."""

from glean_plus import datasets, losses, metrics, models, training  # noqa: F401
from glean_plus.datasets import transforms  # noqa: F401
