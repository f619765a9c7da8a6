"""LPIPS as MMagic metrics, each named for the network that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmagic.evaluation.metrics.base_sample_wise_metric import BaseSampleWiseMetric
from mmagic.registry import METRICS
from torch import Tensor, nn

from glean_plus.perceptual import STLPIPS, lpips_network


class _PerceptualMetric(BaseSampleWiseMetric):
    """Mean distance of prediction and truth, lower is better.

    Pictures come as (C, H, W), 0 to 255, in the order ``channel_order``; the network sees RGB, -1 to 1. The network is
    built when the first picture comes.

    Args:
        net: Trunk of the network.
        channel_order: ``rgb`` or ``bgr``, the order of the pictures. MMagic turns all pictures of a test into BGR,
            whatever order they were loaded in.
        device: Where the network runs.
        **kwargs: ``gt_key``, ``pred_key``, ``collect_device`` and ``prefix``, as MMagic's metrics.
    """

    family: str
    build: Callable[[str], nn.Module]

    def __init__(self, net: str = 'alex', channel_order: str = 'bgr', device: str = 'cpu', **kwargs: Any) -> None:
        if channel_order not in ('rgb', 'bgr'):
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', but is {channel_order!r}.")
        self.metric = f'{self.family}-{net}'
        super().__init__(device=device, **kwargs)
        self.net, self.order = net, channel_order
        self._network: nn.Module | None = None

    def process_image(self, gt: Any, pred: Any, mask: Any) -> float:
        if self._network is None:
            self._network = self.build(self.net).to(self.device)
        with torch.no_grad():
            return float(self._network(self._prepare(pred), self._prepare(gt)).mean())

    def _prepare(self, image: Any) -> Tensor:
        image = torch.as_tensor(image, dtype=torch.float32, device=self.device)
        if image.shape[0] == 1:
            image = image.expand(3, -1, -1)
        if self.order == 'bgr':
            image = image.flip(0)
        return image[None] / 127.5 - 1


@METRICS.register_module()
class LPIPS(_PerceptualMetric):
    """LPIPS (Zhang et al., CVPR 2018) by the package ``lpips``; its trunk is a download. Key ``LPIPS-<net>``."""

    family = 'LPIPS'
    build = staticmethod(lpips_network)


@METRICS.register_module()
class STLPIPSMetric(_PerceptualMetric):
    """Shift-tolerant LPIPS (Ghildyal and Liu, ECCV 2022), which needs no download. Key ``ST-LPIPS-<net>``."""

    family = 'ST-LPIPS'
    build = STLPIPS
