"""The Inception of FID, from our cache."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glean_plus.weights import read_state_dict
from glean_plus.weights.cache import SharedNetwork, Weights
from glean_plus.weights.strict import load_strict, with_batch_counts

INPUT_SIZE = 299


class InceptionFeatures(nn.Module):
    """The pooled features of FID's Inception: TensorFlow's, converted by pytorch-fid, on MMagic's network.

    Args:
        weights: Its state dict.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        from mmagic.evaluation.functional.fid_inception import fid_inception_v3

        with torch.device('meta'):  # its random start takes seconds
            network = fid_inception_v3(load_ckpt=False)
        network.to_empty(device='cpu')
        load_strict(network, with_batch_counts(network, read_state_dict(weights)), str(weights), 'FID Inception')
        network.fc = nn.Identity()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), RGB, -1 to 1 -> (N, 2048); resized to 299 x 299, bilinear, as pytorch-fid does."""
        return self.network(F.interpolate(x, (INPUT_SIZE, INPUT_SIZE), mode='bilinear', align_corners=False))


def inception(weights: Weights | None = None) -> SharedNetwork:
    """A shared :class:`InceptionFeatures`; None takes pytorch-fid's published weights, 91 MB."""
    if weights is None:
        from mmagic.evaluation.functional.fid_inception import FID_WEIGHTS_URL

        weights = FID_WEIGHTS_URL
    return SharedNetwork(InceptionFeatures, weights=weights)
