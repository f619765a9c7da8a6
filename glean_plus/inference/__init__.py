"""Inference of trained models, as fast as the arithmetic allows."""

from glean_plus.inference.folded import FoldedGLEAN
from glean_plus.inference.general import FoldedModel

__all__ = ['FoldedGLEAN', 'FoldedModel']
