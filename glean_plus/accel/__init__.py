"""Inference of trained models, as fast as the arithmetic allows."""

from glean_plus.accel.folded import FoldedGLEAN
from glean_plus.accel.general import FoldedModel

__all__ = ['FoldedGLEAN', 'FoldedModel']
