"""What a restorer is to beat: results of simple methods, which a test reports beside its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import kornia.filters
import torch.nn.functional as F
from torch import Tensor

from glean_plus.utils.color import tint
from glean_plus.utils.imresize import matlab_resize

Reference = Callable[[Tensor, int], Tensor]


def build_references(test_cfg: Mapping[str, Any]) -> dict[str, Reference]:
    """Name of each -> a function of inputs (N, C, H, W), -1 to 1, and the scale; its images are -1 to 1, too.

    Args:
        test_cfg: Any of ``bicubic=True``: the input, enlarged; ``median=SIDE``: median-filtered in windows of SIDE
            pixels, and enlarged; ``bilateral=dict(side=, sigma_color=, sigma_space=)``: bilateral-filtered (the first
            sigma is a share of the range of levels, the second is in pixels), and enlarged; ``constant_ab=dict(NAME=(a,
            b))``, for inputs that are lightness: this one colour of Lab throughout, (0, 0) being gray.

    Raises:
        ValueError: On other keys, a side that is even, or on two references of one name.
    """
    config = dict(test_cfg)
    references: dict[str, Reference] = {}
    if config.pop('bicubic', False):
        references['bicubic'] = enlarge
    if side := config.pop('median', None):
        references['median'] = median(side)
    if options := config.pop('bilateral', None):
        references['bilateral'] = bilateral(**options)
    for name, ab in config.pop('constant_ab', {}).items():
        if name in references:
            raise ValueError(f'test_cfg: `constant_ab` cannot name {name!r}, which is another reference.')
        references[name] = lambda inputs, scale, ab=tuple(ab): tint(inputs, ab)  # type: ignore[misc]
    if config:
        raise ValueError(
            f'Unknown keys {sorted(config)} in `test_cfg`; known are bicubic, bilateral, constant_ab, fold, median, '
            'precision and speed.'
        )
    return references


def enlarge(inputs: Tensor, scale: int) -> Tensor:
    """MATLAB's bicubic."""
    height, width = inputs.shape[-2:]
    return matlab_resize(inputs, (scale * height, scale * width)).clamp(-1, 1)


def median(side: int) -> Reference:
    _check('median', side)

    def reference(inputs: Tensor, scale: int) -> Tensor:
        # The image is continued by its mirror image: kornia continues it by zeros.
        around = F.pad(inputs, [side // 2] * 4, mode='reflect')
        filtered = kornia.filters.median_blur(around, side)
        height, width = inputs.shape[-2:]
        return enlarge(filtered[..., side // 2:side // 2 + height, side // 2:side // 2 + width], scale)

    return reference


def bilateral(side: int, sigma_color: float, sigma_space: float) -> Reference:
    _check('bilateral.side', side)

    def reference(inputs: Tensor, scale: int) -> Tensor:
        filtered = kornia.filters.bilateral_blur((inputs + 1) / 2, side, sigma_color, (sigma_space, sigma_space))
        return enlarge(2 * filtered - 1, scale)

    return reference


def _check(name: str, side: int) -> None:
    if side < 1 or side % 2 == 0:
        raise ValueError(f'test_cfg: `{name}` is the side of a window with a middle, so odd, but is {side}.')
