"""Inference of trained models, as fast as the arithmetic allows."""

from __future__ import annotations

import torch

from glean_plus.accel.folded import FoldedGLEAN
from glean_plus.accel.general import FoldedModel
from glean_plus.models.banks import StyleGAN2Bank
from glean_plus.models.decoder import GLEANDecoder
from glean_plus.models.glean import GLEAN
from glean_plus.registry import FOLDED

__all__ = ['FoldedGLEAN', 'FoldedModel']


@FOLDED.register_module(name='GLEAN')
def fold(model: GLEAN, dtype: torch.dtype, compiled: bool) -> FoldedGLEAN | FoldedModel:
    """See :meth:`glean_plus.models.glean.GLEAN.fold`."""
    if type(model.bank) is StyleGAN2Bank and type(model.decoder) is GLEANDecoder:
        return FoldedGLEAN(model, dtype, compiled)
    return FoldedModel(model, dtype, compiled)
