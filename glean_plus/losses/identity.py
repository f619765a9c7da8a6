"""A loss on who the face is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glean_plus.pretrained.identity import arcface, similarity
from glean_plus.registry import MODELS


@MODELS.register_module()
class IdentityLoss(nn.Module):
    """1 - cosine of the ArcFace embeddings of prediction and ground truth, 0 to 2.

    Args:
        crop: ``ffhq`` for images aligned as FFHQ and CelebA-HQ, ``none`` for bare faces.
        weights: State dict of IR-SE50; None is a download of 175 MB.
        loss_weight: Factor of the mean.

    Raises:
        ValueError: On another crop.
        WeightsError: If the weights cannot be had or do not fit.
    """

    def __init__(self, crop: str = 'ffhq', weights: str | None = None, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.network = arcface(crop, weights)
        self.network.on('cpu')
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Two batches (N, 3, H, W), RGB, -1 to 1 -> scalar."""
        network = self.network.on(pred.device)
        with torch.no_grad():
            truth = network(gt)
        return self.loss_weight * (1 - similarity(network(pred), truth)).mean()
