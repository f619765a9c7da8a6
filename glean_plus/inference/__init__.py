"""Inference of trained models, as fast as the arithmetic allows."""

from glean_plus.inference.folded import FoldedGLEAN

__all__ = ['FoldedGLEAN']
