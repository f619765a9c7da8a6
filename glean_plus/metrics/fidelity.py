"""PSNR and SSIM."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmagic.evaluation.metrics.psnr import psnr
from mmagic.evaluation.metrics.ssim import ssim
from torch import Tensor

from glean_plus.metrics.base import MAX_PSNR, PictureMetric, Unmeasurable, check_crop_border, check_pair, size
from glean_plus.registry import METRICS

WINDOW = 11  # pixels of SSIM's window


class _FullReference(PictureMetric):
    """Compares pixel by pixel, on float32 images of 0 to 255."""

    #: Pixels that a side must have after the crop.
    smallest = 1

    def __init__(self, metric: str, crop_border: int = 0, convert_to: str | None = None, **kwargs: Any) -> None:
        if convert_to not in (None, 'Y', 'y'):
            raise ValueError(f"convert_to must be 'Y' or None, but is {convert_to!r}.")
        self.crop_border, self.convert_to = check_crop_border(crop_border), convert_to
        super().__init__(metric, **kwargs)

    def prepared(self, gt: Any, pred: Any) -> dict[str, Any]:
        """The arguments of MMagic's functions.

        Raises:
            Unmeasurable: If the sizes differ, or too little is left after the crop.
        """
        images = [torch.as_tensor(image).detach().cpu().float() for image in (gt, pred)]
        check_pair(images[0], images[1], self.smallest)
        if min(images[0].shape[-2:]) - 2 * self.crop_border < self.smallest:
            least = f'of its {size(images[0])}, where {self.smallest} are needed'
            raise Unmeasurable(f'crop_border={self.crop_border} leaves too few pixels {least}')
        if self.convert_to:  # gray is gray in colour
            images = [image.expand(3, -1, -1) if image.shape[0] == 1 else image for image in images]
        return dict(img1=images[0], img2=images[1], crop_border=self.crop_border, input_order='CHW',
                    convert_to=self.convert_to, channel_order=self.order)  # fmt: skip


@METRICS.register_module()
class PSNRMetric(_FullReference):
    """PSNR in dB; higher is better. Key ``PSNR``.

    MMagic's function, in a metric whose mean stays finite: an image that equals its ground truth counts as 100 dB, as
    does what would be more, and ``PSNR-exact`` says how many there are.

    Args:
        crop_border: Pixels left out at each edge.
        convert_to: ``Y`` (of MATLAB's YCbCr), or None for all channels.
        **kwargs: As :class:`PictureMetric`.

    Raises:
        ValueError: On another conversion, or a negative border.

    Example:
        >>> gt, pred = np.zeros((3, 32, 32)), np.full((3, 32, 32), 16.0)
        >>> round(PSNRMetric().process_image(gt, pred, None), 2)
        24.05
    """

    unit = 'dB'
    exact = MAX_PSNR

    def __init__(self, crop_border: int = 0, convert_to: str | None = None, **kwargs: Any) -> None:
        super().__init__('PSNR', crop_border, convert_to, **kwargs)

    def process_image(self, gt: Tensor | np.ndarray, pred: Tensor | np.ndarray, mask: Any) -> float:
        return min(float(psnr(**self.prepared(gt, pred))), MAX_PSNR)


@METRICS.register_module()
class SSIMMetric(_FullReference):
    """SSIM (Wang et al., 2004) by a Gaussian window of 11 pixels; higher is better. Key ``SSIM``.

    MMagic's function, in a metric that leaves out images which are smaller than the window.

    Args:
        crop_border: Pixels left out at each edge.
        convert_to: ``Y`` (of MATLAB's YCbCr), or None for the mean over all channels.
        **kwargs: As :class:`PictureMetric`.

    Raises:
        ValueError: On another conversion, or a negative border.

    Example:
        >>> image = np.random.default_rng(0).uniform(0, 255, (3, 32, 32))
        >>> round(float(SSIMMetric().process_image(image, image, None)), 6)
        1.0
    """

    smallest = WINDOW

    def __init__(self, crop_border: int = 0, convert_to: str | None = None, **kwargs: Any) -> None:
        super().__init__('SSIM', crop_border, convert_to, **kwargs)

    def process_image(self, gt: Tensor | np.ndarray, pred: Tensor | np.ndarray, mask: Any) -> float:
        return float(ssim(**self.prepared(gt, pred)))
