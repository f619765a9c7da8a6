"""Inference of trained models, as fast as the arithmetic allows."""

from glean_plus.accel.folded import FoldedGLEAN

__all__ = ['FoldedGLEAN']
