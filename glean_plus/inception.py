"""The Inception of FID, from our cache."""

from __future__ import annotations

from torch import Tensor, nn

from glean_plus.shared import SharedNetwork, Weights
from glean_plus.weights import read_state_dict
from glean_plus.weights.strict import load_strict


class InceptionFeatures(nn.Module):
    """The pooled features of MMagic's FID Inception (that of TensorFlow, converted by pytorch-fid).

    Args:
        weights: Its state dict.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        from mmagic.evaluation.functional import fid_inception

        network = fid_inception.fid_inception_v3(load_ckpt=False)
        load_strict(network, read_state_dict(weights), str(weights), 'FID Inception')
        # MMagic's own loading is a download that knows neither our cache nor our errors.
        original, fid_inception.fid_inception_v3 = fid_inception.fid_inception_v3, lambda load_ckpt: network
        try:
            self.network = fid_inception.InceptionV3([3], normalize_input=False)
        finally:
            fid_inception.fid_inception_v3 = original

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), RGB, -1 to 1 -> (N, 2048); resized to 299 x 299, bilinear, as pytorch-fid does."""
        return self.network(x)[0].flatten(1)


def inception(weights: Weights | None = None) -> SharedNetwork:
    """A shared :class:`InceptionFeatures`; None takes pytorch-fid's published weights, 91 MB."""
    if weights is None:
        from mmagic.evaluation.functional.fid_inception import FID_WEIGHTS_URL

        weights = FID_WEIGHTS_URL
    return SharedNetwork(InceptionFeatures, weights=weights)
