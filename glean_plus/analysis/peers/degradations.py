"""Degradations of the low-resolution images, as data; the same seed gives the same images."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Steps = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Degradation:
    """Steps on the ground truth, MATLAB's bicubic to the low resolution, and steps on the result of that."""

    about: str  # in a few words
    # Configs of the transforms in glean_plus.datasets.transforms.degradation.
    before: Steps = ()
    after: Steps = ()

    @property
    def degrades(self) -> bool:
        return bool(self.before or self.after)


def _jpeg(quality: int) -> Degradation:
    return Degradation(f'JPEG of quality {quality}', after=[dict(type='BlindJPEG', limits=(quality, quality))])


DEGRADATIONS: Mapping[str, Degradation] = {
    'clean': Degradation('nothing more'),
    'jpeg50': _jpeg(50),
    'jpeg75': _jpeg(75),
    'jpeg90': _jpeg(90),
    'noise10': Degradation('Gaussian noise of sigma 10 (of 255)', after=[dict(type='BlindNoise', limits=(10, 10))]),
    'blur': Degradation('Gaussian blur of sigma 1 pixel', after=[dict(type='BlindBlur', limits=(1, 1))]),
    # A page on paper: soft optics and the noise of a sensor, then JPEG.
    'scan': Degradation(
        'blur and noise of a scanner, JPEG of quality 70 to 90',
        before=[dict(type='BlindBlur', limits=(0.8, 1.6)), dict(type='BlindNoise', limits=(6, 12))],
        after=[dict(type='BlindNoise', limits=(2, 5)), dict(type='BlindJPEG', limits=(70, 90))],
    ),
    'screenshot': Degradation(
        'resampled by 1.2 to 1.8, bilinear, JPEG of quality 80 to 95',
        before=[dict(type='BlindDownsample', limits=(1.2, 1.8))],
        after=[dict(type='BlindJPEG', limits=(80, 95))],
    ),
    # Second order, as in Real-ESRGAN's training (Wang et al., 2021), but milder, and without its sinc filters.
    'blind': Degradation(
        'blur, downsampling, noise and JPEG, twice, of random strengths',
        before=[
            dict(type='BlindBlur', limits=(0.2, 2)),
            dict(type='BlindDownsample', limits=(1, 2)),
            dict(type='BlindNoise', limits=(0, 15)),
            dict(type='BlindJPEG', limits=(50, 95)),
            dict(type='BlindBlur', limits=(0.2, 1.2)),
        ],
        after=[dict(type='BlindNoise', limits=(0, 10)), dict(type='BlindJPEG', limits=(50, 95))],
    ),
}


def degrade(gt: np.ndarray, scale: int, degradation: Degradation, name: str, seed: int = 0) -> np.ndarray:
    """The low-resolution counterpart of an image.

    Args:
        gt: (H, W, 3) uint8 RGB, sides multiples of ``scale``.
        name: Of the image: with the seed it decides what is sampled, whatever other images there are.
        seed: Not negative.

    Returns:
        (H / scale, W / scale, 3) uint8 RGB.
    """
    import numpy as np
    import torch  # takes a second to import

    from glean_plus.prepare.images import shrink
    from glean_plus.utils.images.arrays import quantize
    from glean_plus.utils.imresize import matlab_resize

    image = gt
    if degradation.before:
        image = _run(degradation.before, image, name, seed, 0)
        size = gt.shape[0] // scale, gt.shape[1] // scale
        small = matlab_resize(torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1), size)
        image = small.permute(1, 2, 0).numpy()
    else:
        image = shrink(image, scale)
    if degradation.after:
        image = _run(degradation.after, image, name, seed, 1)
    return np.ascontiguousarray(quantize(image))


def _run(steps: Steps, image: np.ndarray, name: str, seed: int, stage: int) -> np.ndarray:
    from glean_plus.datasets.transforms.seeded import SeededTransforms

    index = zlib.crc32(name.encode('utf-8', errors='surrogateescape')) + (stage << 32)
    results = SeededTransforms(steps, seed, fixed=True)(dict(img=image, img_channel_order='rgb', sample_idx=index))
    return results['img']
