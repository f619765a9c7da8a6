"""Whether it is still the same face."""

from __future__ import annotations

from typing import Any

import torch

from glean_plus.metrics.base import PictureMetric
from glean_plus.pretrained.identity import arcface, similarity
from glean_plus.registry import METRICS


@METRICS.register_module()
class IdentitySimilarity(PictureMetric):
    """Cosine of the ArcFace embeddings of prediction and ground truth, -1 to 1 (paper Tables 3, 7); higher is better.

    The paper names neither network nor crop; these are pixel2style2pixel's, so that the numbers compare among
    themselves and not with the paper's. Key ``ID``.

    Args:
        crop: ``ffhq`` for images aligned as FFHQ and CelebA-HQ, ``none`` for bare faces.
        weights: State dict of IR-SE50; None is a download of 175 MB.
        **kwargs: As :class:`PictureMetric`. ``gt_key='input'`` compares with the input, where there is no ground truth.

    Raises:
        ValueError: On another crop.
        WeightsError: At the first image, if the weights cannot be had or do not fit.

    Example:
        >>> IdentitySimilarity(gt_key='input').metric
        'ID'
    """

    def __init__(self, crop: str = 'ffhq', weights: str | None = None, **kwargs: Any) -> None:
        super().__init__('ID', **kwargs)
        self.network = arcface(crop, weights)

    def process_image(self, gt: Any, pred: Any, mask: Any) -> float:
        network = self.network.on(self.device)
        with torch.no_grad():
            return float(similarity(network(self.prepare_image(pred)), network(self.prepare_image(gt)))[0])
