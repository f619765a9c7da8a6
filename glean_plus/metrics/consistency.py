"""Whether the result still is a result of its input."""

from __future__ import annotations

import math
from typing import Any

import torch

from glean_plus.metrics.base import MAX_PSNR, PictureMetric
from glean_plus.registry import METRICS
from glean_plus.utils.imresize import matlab_resize


@METRICS.register_module()
class LRConsistency(PictureMetric):
    """PSNR between the input and the prediction brought to its size by MATLAB's bicubic, in dB; higher is better.

    The input was rounded to 8 bits, the shrunk prediction is not: a perfect one has about 58.9 dB, which is the
    rounding. What exceeds 100 dB counts as 100, and ``LR-PSNR-exact`` says how many images do. Key ``LR-PSNR``.

    Args:
        gt_key: Of the input; MMagic's test step calls it ``input``.
        **kwargs: As :class:`PictureMetric`.

    Example:
        >>> lq, pred = torch.zeros(3, 8, 8), torch.full((3, 32, 32), 16.0)
        >>> round(LRConsistency().process_image(lq, pred, None), 2)
        24.05
    """

    unit = 'dB'
    exact = MAX_PSNR

    def __init__(self, gt_key: str = 'input', **kwargs: Any) -> None:
        super().__init__('LR-PSNR', gt_key=gt_key, **kwargs)

    def process_image(self, gt: Any, pred: Any, mask: Any) -> float:
        lq, pred = (torch.as_tensor(image, dtype=torch.float32, device=self.device) for image in (gt, pred))
        if lq.shape[0] != pred.shape[0]:
            raise ValueError(f'LR-PSNR compares equal channels, but the input has {lq.shape[0]}, '
                             f'the prediction {pred.shape[0]}.')  # fmt: skip
        shrunk = matlab_resize(pred, (lq.shape[-2], lq.shape[-1])).clamp(0, 255)
        error = float((shrunk - lq).double().square().mean())
        return min(10 * math.log10(255**2 / error), MAX_PSNR) if error else MAX_PSNR
