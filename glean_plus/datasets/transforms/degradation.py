"""The four steps of blind restoration's degradation, y = JPEG_q((x * k_sigma) down r + n_delta) (section 5.5, Eq. 11).

Each draws its value from numpy's global generator, as MMagic's transforms do, changes ``results[key]`` and appends
``(name, value)`` to ``results['degradation']``, so that an image can be explained. MMagic's own steps are not used:

* ``RandomResize`` draws 1 / r uniformly, so that r would lie near 1 far too often.
* ``RandomJPEGCompression`` rounds a uniform draw, which halves the chance of the two ends; it encodes whatever range
  and type it is given, and takes RGB for BGR by default.
* ``RandomBlur`` has a kernel of a fixed size, and rounds to whole levels where the image is uint8.
* ``RandomNoise`` has the right units, but adds to what the step before left, and none of them tells what it drew.
* ``DegradationsWithShuffle`` shuffles its own list in place, so that an order depends on all orders before it.

Between the steps the image is float32, 0 to 255; only JPEG rounds and clips it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from glean_plus.registry import TRANSFORMS
from glean_plus.utils.images.arrays import quantize

INTERPOLATIONS = {'bilinear': cv2.INTER_LINEAR, 'bicubic': cv2.INTER_CUBIC, 'area': cv2.INTER_AREA}


class DegradationStep(BaseTransform):
    """One step: a value from ``limits``, uniformly, and what it does to an image (H, W, C), float32, 0 to 255.

    Args:
        limits: Lowest and highest value.
        key: Key of the image.

    Raises:
        ValueError: If the limits are no ascending pair within :attr:`allowed`.
    """

    name: ClassVar[str] = ''
    allowed: ClassVar[tuple[float, float]] = (0, np.inf)

    def __init__(self, limits: Sequence[float], key: str = 'img') -> None:
        low, high = self.allowed
        if len(limits) != 2 or not low <= limits[0] <= limits[1] <= high:
            raise ValueError(
                f'{type(self).__name__}: limits of {self.name} must be (lowest, highest) within {low} to {high}, but '
                f'are {tuple(limits)}.'
            )
        self.limits = (limits[0], limits[1])
        self.key = key

    def draw(self) -> float:
        return float(np.random.uniform(*self.limits))

    @abstractmethod
    def apply(self, image: np.ndarray, value: float, channel_order: str) -> np.ndarray:
        """The image after this step with this value."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        value = self.draw()
        image = np.asarray(results[self.key], dtype=np.float32)
        order = results.get(f'{self.key}_channel_order', 'bgr')
        results[self.key] = self.apply(image, value, order)
        results['degradation'] = [*results.get('degradation', []), (self.name, value)]
        return results


@TRANSFORMS.register_module()
class BlindBlur(DegradationStep):
    """Gaussian blur of standard deviation sigma, in pixels of the image; the kernel reaches to 4 sigma."""

    name = 'sigma'
    allowed = (1e-3, 1e3)

    def __init__(self, limits: Sequence[float] = (0.2, 10), key: str = 'img') -> None:
        super().__init__(limits, key)

    def apply(self, image: np.ndarray, value: float, channel_order: str) -> np.ndarray:
        side = 2 * int(np.ceil(4 * value)) + 1
        return cv2.GaussianBlur(image, (side, side), value).reshape(image.shape)


@TRANSFORMS.register_module()
class BlindDownsample(DegradationStep):
    """Shrinks both sides by the factor r, to whole pixels, at least one.

    The paper names no interpolation; bilinear is GFPGAN's. It does not smooth: the blur is what comes before.
    """

    name = 'r'
    allowed = (1, np.inf)

    def __init__(
        self, limits: Sequence[float] = (1, 8), interpolation: str = 'bilinear', key: str = 'img'
    ) -> None:
        super().__init__(limits, key)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f'interpolation must be one of {sorted(INTERPOLATIONS)}, but is {interpolation!r}.')
        self.interpolation = INTERPOLATIONS[interpolation]

    def apply(self, image: np.ndarray, value: float, channel_order: str) -> np.ndarray:
        height, width, channels = image.shape
        size = max(1, round(width / value)), max(1, round(height / value))
        return cv2.resize(image, size, interpolation=self.interpolation).reshape(size[1], size[0], channels)


@TRANSFORMS.register_module()
class BlindResample(BlindDownsample):
    """Shrinks by the factor r as :class:`BlindDownsample` and enlarges again: an image that once was smaller."""

    def apply(self, image: np.ndarray, value: float, channel_order: str) -> np.ndarray:
        height, width, channels = image.shape
        small = super().apply(image, value, channel_order)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


@TRANSFORMS.register_module()
class BlindNoise(DegradationStep):
    """White Gaussian noise of standard deviation delta, in levels of 255, independent in each pixel and channel."""

    name = 'delta'

    def __init__(self, limits: Sequence[float] = (0, 25), key: str = 'img') -> None:
        super().__init__(limits, key)

    def apply(self, image: np.ndarray, value: float, channel_order: str) -> np.ndarray:
        return image + np.float32(value) * np.random.standard_normal(image.shape).astype(np.float32)


@TRANSFORMS.register_module()
class BlindJPEG(DegradationStep):
    """JPEG with a whole quality q, each from the lowest to the highest equally likely; the result is uint8.

    Raises:
        ValueError: Where the limits are no whole numbers from 1 to 100.
    """

    name = 'q'
    allowed = (1, 100)

    def __init__(self, limits: Sequence[int] = (5, 50), key: str = 'img') -> None:
        super().__init__(limits, key)
        if any(int(limit) != limit for limit in limits):
            raise ValueError(f'BlindJPEG: limits of q must be whole numbers, but are {tuple(limits)}.')

    def draw(self) -> int:
        return int(np.random.randint(int(self.limits[0]), int(self.limits[1]) + 1))

    def apply(self, image: np.ndarray, value: float, channel_order: str) -> np.ndarray:
        step = -1 if channel_order.lower() == 'rgb' else 1  # OpenCV's encoder takes BGR
        levels = np.ascontiguousarray(quantize(image)[:, :, ::step])
        written, code = cv2.imencode('.jpg', levels, [cv2.IMWRITE_JPEG_QUALITY, int(value)])
        if not written:
            raise RuntimeError(f'OpenCV cannot write an image of shape {image.shape} as JPEG.')
        decoded = cv2.imdecode(code, cv2.IMREAD_UNCHANGED).reshape(image.shape)
        return np.ascontiguousarray(decoded[:, :, ::step])


@TRANSFORMS.register_module()
class Quantize(BaseTransform):
    """Rounds and clips an image (H, W, C), 0 to 255, to uint8, as a file stores it."""

    def __init__(self, key: str = 'img') -> None:
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results[self.key] = quantize(np.asarray(results[self.key]))
        return results


@TRANSFORMS.register_module()
class Sometimes(BaseTransform):
    """Runs transforms with a probability, else none of them: what photographs have gone through differs.

    Args:
        transforms: Configs of the transforms.
        probability: 0 to 1.

    Raises:
        ValueError: On another probability.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]], probability: float) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f'Sometimes: probability must be within 0 to 1, but is {probability}.')
        self.transforms = [TRANSFORMS.build(dict(each)) for each in transforms]
        self.probability = probability

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results.setdefault('degradation', [])  # a batch is stacked of samples that have the same keys
        if np.random.uniform() < self.probability:
            for each in self.transforms:
                results = each(results)
        return results


@TRANSFORMS.register_module()
class Shuffled(BaseTransform):
    """Runs transforms in an order sampled for each image (degradation shuffling, Zhang et al., ICCV 2021).

    Args:
        transforms: Configs of the transforms.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]]) -> None:
        if not transforms:
            raise ValueError('Shuffled needs at least one transform.')
        self.transforms = [TRANSFORMS.build(dict(each)) for each in transforms]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        for index in np.random.permutation(len(self.transforms)):
            results = self.transforms[index](results)
        return results
