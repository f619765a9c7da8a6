"""Pixel values are rounded half to even and clipped, whatever makes a file of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from glean_plus.utils.images.arrays import from_unit, quantize, to_array


@pytest.mark.parametrize(('kind', 'expected'), [
    ('uint8', [0, 0, 64, 128, 255, 255]),
    ('uint16', [0, 0, 16384, 32768, 65535, 65535]),
    ('float32', [0, 0, 0.25, 0.5, 1, 1]),
])  # fmt: skip
def test_the_unit_range_becomes_that_of_the_type(kind: str, expected: list[float]) -> None:
    values = from_unit(np.array([-0.1, 0, 0.25, 0.5, 1, 1.1], np.float32), kind)
    assert values.dtype == kind and values.tolist() == expected


def test_halves_are_rounded_to_even() -> None:
    values = [-3, 0.5, 1.5, 2.5, 254.6, 300]
    assert quantize(np.array(values)).tolist() == [0, 0, 2, 2, 255, 255]
    image = to_array(torch.tensor(values, dtype=torch.bfloat16).view(1, 2, 3))
    assert image.shape == (2, 3, 3) and image[..., 2].ravel().tolist() == [0, 0, 2, 2, 255, 255]
