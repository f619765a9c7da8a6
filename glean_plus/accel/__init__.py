"""Inference of trained models, as fast as the arithmetic allows."""

from __future__ import annotations

import torch

from glean_plus.accel.folded import FoldedGLEAN
from glean_plus.accel.kernel import CompiledGLEAN
from glean_plus.models.glean import GLEAN
from glean_plus.registry import FOLDED

__all__ = ['CompiledGLEAN', 'FoldedGLEAN']


@FOLDED.register_module(name='GLEAN')
def fold(model: GLEAN, dtype: torch.dtype, compiled: bool) -> FoldedGLEAN:
    """See :meth:`glean_plus.models.glean.GLEAN.fold`."""
    return CompiledGLEAN(model, dtype) if compiled else FoldedGLEAN(model, dtype)
