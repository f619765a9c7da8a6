"""LPIPS as MMagic metrics, each named for the network that it is."""

from __future__ import annotations

from typing import Any

import torch

from glean_plus.metrics.base import PictureMetric, check_pair
from glean_plus.pretrained.perceptual import LPIPS_SIDES, STLPIPS_SIDES, lpips, stlpips
from glean_plus.registry import METRICS
from glean_plus.weights.cache import SharedNetwork


class _PerceptualMetric(PictureMetric):
    """Mean distance of prediction and ground truth. The network is built when the first image comes."""

    def __init__(self, metric: str, network: SharedNetwork, smallest: int, **kwargs: Any) -> None:
        super().__init__(metric, **kwargs)
        self.network, self.smallest = network, smallest

    def process_image(self, gt: Any, pred: Any, mask: Any) -> float:
        check_pair(gt, pred, self.smallest)
        with torch.no_grad():
            distance = self.network.on(self.device)(self.prepare_image(pred), self.prepare_image(gt))
        return float(distance.mean())


@METRICS.register_module()
class LPIPSMetric(_PerceptualMetric):
    """LPIPS (Zhang et al., CVPR 2018), version 0.1, by the package ``lpips``; lower is better. Key ``LPIPS-<net>``.

    Args:
        net: ``alex`` (what papers usually report), ``vgg`` or ``squeeze``.
        weights: Path or URL of its trunk, a torchvision state dict; None is a download of 233 MB, 528 MB or 5 MB.
        **kwargs: As :class:`PictureMetric`.

    Raises:
        ValueError: On another trunk.
        WeightsError: At the first image, if the trunk cannot be had or does not fit.

    Example:
        >>> LPIPSMetric(net='vgg').metric  # the network is fetched at the first image
        'LPIPS-vgg'
    """

    def __init__(self, net: str = 'alex', weights: str | None = None, **kwargs: Any) -> None:
        super().__init__(f'LPIPS-{net}', lpips(net, weights), LPIPS_SIDES[net], **kwargs)


@METRICS.register_module()
class STLPIPSMetric(_PerceptualMetric):
    """Shift-tolerant LPIPS (Ghildyal and Liu, ECCV 2022), which needs no download; lower is better.

    Key ``ST-LPIPS-<net>``.

    Args:
        net: ``alex`` or ``vgg``.
        **kwargs: As :class:`PictureMetric`.

    Example:
        >>> image = torch.zeros(3, 64, 64)
        >>> STLPIPSMetric(net='alex').process_image(image, image, None)
        0.0
    """

    def __init__(self, net: str = 'alex', **kwargs: Any) -> None:
        super().__init__(f'ST-LPIPS-{net}', stlpips(net), STLPIPS_SIDES[net], **kwargs)
