"""MATLAB's bicubic resize, which super-resolution is trained and measured with; OpenCV's is another."""

from __future__ import annotations

import numpy as np
import torch
from mmagic.datasets.transforms.matlab_like_resize import MATLABLikeResize
from torch import Tensor


def matlab_bicubic(image: Tensor, scale: float) -> Tensor:
    """Resize (C, H, W), 0 to 255, by ``scale``, with anti-aliasing where it shrinks; float, clamped to 0 to 255."""
    array = image.permute(1, 2, 0).double().numpy()
    resized = MATLABLikeResize(keys=['img'], scale=scale)({'img': array})['img']
    return torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1).float().clamp(0, 255)
