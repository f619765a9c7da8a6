"""What a test compares with, against SciPy, the data tools and known images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch

from glean_plus.training.baselines import build_references
from glean_plus.utils.imresize import matlab_bicubic


def photographs() -> torch.Tensor:
    """Two noisy pieces of a photograph, (2, 3, 24, 24), -1 to 1."""
    image = torch.from_numpy(skimage.data.astronaut()[:48, 200:224]).permute(2, 0, 1).float() / 127.5 - 1
    noisy = image + 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return torch.stack([noisy[:, :24], noisy[:, 24:]]).clamp(-1, 1)


def by(expected: np.ndarray, scale: int = 2) -> torch.Tensor:
    """Filtered images, enlarged by MATLAB's bicubic as the data tools do."""
    levels = torch.from_numpy((expected + 1) * 127.5).float()
    return torch.stack([matlab_bicubic(image, scale) for image in levels]) / 127.5 - 1


def test_bicubic_is_that_of_the_data_tools() -> None:
    x = photographs()
    torch.testing.assert_close(build_references(dict(bicubic=True))['bicubic'](x, 2), by(x.numpy()), atol=1e-5, rtol=0)


@pytest.mark.parametrize('side', [3, 5])
def test_median_is_scipy_s(side: int) -> None:
    x = photographs()
    expected = scipy.ndimage.median_filter(x.numpy(), size=(1, 1, side, side), mode='mirror')
    ours = build_references(dict(median=side))['median'](x, 2)
    torch.testing.assert_close(ours, by(expected), atol=1e-5, rtol=0)


def test_bilateral_smooths_noise_and_keeps_an_edge() -> None:
    noise = 0.05 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    edge = torch.where(torch.arange(32) < 16, -0.8, 0.8).expand(1, 3, 32, 32)
    options = dict(side=7, sigma_color=0.2, sigma_space=2.5)
    result = build_references(dict(bilateral=options))['bilateral'](edge + noise, 1)
    assert float((result - edge).std()) < 0.35 * float(noise.std())
    assert float((result - edge)[..., 15:17].abs().max()) < 0.15
    # Each option does something.
    for change in (dict(side=3), dict(sigma_color=0.02), dict(sigma_space=0.5)):
        other = build_references(dict(bilateral=options | change))['bilateral'](edge + noise, 1)
        assert float((other - result).abs().max()) > 1e-3, change


@pytest.mark.parametrize(
    ('config', 'named'),
    [
        (dict(median=4), '`median`.*odd, but is 4'),
        (dict(bilateral=dict(side=0, sigma_color=0.1, sigma_space=1.0)), '`bilateral.side`.*0'),
        (dict(bicubik=True), "'bicubik'.*known are bicubic, .*fold.* and speed"),
        (dict(bicubic=True, constant_ab=dict(bicubic=(0, 0))), "cannot name 'bicubic'"),
    ],
)
def test_bad_config_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build_references(config)
