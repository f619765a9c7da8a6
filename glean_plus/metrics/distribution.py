"""FID and KID: distances between the features of two sets of images."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmagic.evaluation.metrics.metrics_utils import obtain_data
from mmengine.logging import print_log

from glean_plus.metrics.base import WHY, PictureMetric, Unmeasurable, check_side
from glean_plus.pretrained.inception import inception
from glean_plus.pretrained.perceptual import STLPIPS_SIDES, stlpips_features
from glean_plus.registry import METRICS
from glean_plus.weights.errors import brief
from glean_plus.weights.integrity import directory_damage


def frechet_distance(
    mean_a: np.ndarray,
    cov_a: np.ndarray,
    mean_b: np.ndarray,
    cov_b: np.ndarray,
    root_a: np.ndarray | None = None,
) -> float:
    """Squared Frechet distance of two normal distributions.

    Args:
        mean_a: (D,).
        cov_a: (D, D).
        mean_b: (D,).
        cov_b: (D, D).
        root_a: (K, D) with ``root_a.T @ root_a`` = ``cov_a``, if one is known; the smaller K, the faster.
    """
    if root_a is None:
        values, vectors = np.linalg.eigh(cov_a)
        root_a = np.sqrt(values.clip(0))[:, None] * vectors.T
    # Tr sqrt(A B) = Tr sqrt(R B R^T) with A = R^T R: symmetric, so real, and no covariance need be regular.
    root = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a.T).clip(0)).sum()
    difference = mean_a - mean_b
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * root)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3: features (N, D), (M, D)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    dim, n, m = a.shape[1], len(a), len(b)
    within_a, within_b, between = ((x @ y.T / dim + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    return float(
        (within_a.sum() - np.trace(within_a)) / (n * (n - 1))
        + (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
        - 2 * between.mean()
    )


# What images are compared by, beside Inception: they need no download, and their distances have another name.
OFFLINE_FEATURES = {'stlpips-alex': 'alex', 'stlpips-vgg': 'vgg'}


class _DistributionMetric(PictureMetric):
    """Collects features of the predictions, and of the ground truths unless a reference is given."""

    #: What a reference file must have.
    needed: tuple[str, ...]

    def __init__(
        self, metric: str, weights: str | None, reference: str | None, features: str, **kwargs: Any
    ) -> None:
        if features not in ('inception', *OFFLINE_FEATURES):
            known = ', '.join(map(repr, ('inception', *OFFLINE_FEATURES)))
            raise ValueError(f'features must be one of {known}, but is {features!r}.')
        self.smallest = 1 if features == 'inception' else STLPIPS_SIDES[OFFLINE_FEATURES[features]]
        if features == 'inception':
            self.network = inception(weights)
        elif weights is not None:
            raise ValueError(f"weights are Inception's; features={features!r} brings its own, but has {weights!r}.")
        else:
            net = OFFLINE_FEATURES[features]
            metric = f'{metric}-ST-LPIPS-{net}'
            self.network = stlpips_features(net)
        super().__init__(metric, **kwargs)
        self.reference = reference
        self._known = self._read(Path(reference)) if reference else {}

    def _read(self, path: Path) -> dict[str, np.ndarray]:
        if not path.is_file():
            raise ValueError(f'There is no reference {path}: an .npz file with {" and ".join(self.needed)}.')
        if wrong := directory_damage(path):
            raise ValueError(f'The reference {path} cannot be read: {wrong}.')
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in self.needed if name in file}
        except Exception as error:  # a broken file makes numpy raise nearly anything
            raise ValueError(f'The reference {path} cannot be read: {brief(error)}') from error
        if missing := [name for name in self.needed if name not in found]:
            raise ValueError(f'The reference {path} lacks {missing}.')
        if strange := [name for name, array in found.items() if array.dtype.kind not in 'biuf']:
            raise ValueError(f'The reference {path} has no numbers as {strange}.')
        if broken := [name for name, array in found.items() if not np.isfinite(array).all()]:
            raise ValueError(f'The reference {path} has NaN or Inf in {broken}.')
        if len(found.get('features', (0, 0))) < 2:
            raise ValueError(f'The reference {path} has the features of fewer than two images.')
        return {name: array.astype(np.float64) for name, array in found.items()}

    def _features(self, image: Any) -> np.ndarray:
        check_side(image, self.smallest)
        with torch.no_grad():
            features: np.ndarray = self.network.on(self.device)(self.prepare_image(image))[0].cpu().numpy()
        if not np.isfinite(features).all():
            raise Unmeasurable('its values are not finite')
        return features

    def measure(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(pred=self._features(obtain_data(sample['output'], self.pred_key)))
        if not self.reference:
            result['real'] = self._features(obtain_data(sample, self.gt_key))
        return result

    def compute_metrics(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        measured = [result for result in results if WHY not in result]
        if len(measured) < 2:
            text = f'{self.metric} compares sets of images, but the test has {len(measured)} that it exists for.'
            print_log(text, logger='current', level=logging.WARNING)
            return self.left_out(results)
        sets = {key: np.stack([result[key] for result in measured]).astype(np.float64) for key in measured[0]}
        return {self.metric: self.distance(sets['pred'], sets.get('real'))} | self.left_out(results)

    @abstractmethod
    def distance(self, pred: np.ndarray, real: np.ndarray | None) -> float:
        """Between features (N, D) and (M, D), D = 2048 of Inception; without the latter, to the reference."""


@METRICS.register_module()
class FIDMetric(_DistributionMetric):
    """FID (Heusel et al., 2017) of the predictions of a restoration test; lower is better. Key ``FID``.

    MMagic's FID draws its own images from a generator's noise and so cannot judge a restorer. The network, its
    weights and the resize are pytorch-fid's. Biased by the number of images: compare equal numbers only.

    Args:
        weights: Path or URL of pytorch-fid's Inception; None is a download of 91 MB.
        reference: .npz with ``mu`` and ``sigma``, as pytorch-fid writes; None takes the ground truths of the test.
        features: ``inception``; or ``stlpips-alex``, ``stlpips-vgg``, ST-LPIPS' trunk, scaled as
            :class:`STLPIPSFeatures` says, which needs no download. The distance then is no FID, and its key is
            ``FID-ST-LPIPS-alex`` or ``FID-ST-LPIPS-vgg``.
        **kwargs: As :class:`PictureMetric`.

    Raises:
        ValueError: If the reference is missing or another, or the features are unknown or given weights.
        WeightsError: At the first image, if the weights cannot be had or do not fit.

    Example:
        >>> FIDMetric(features='stlpips-alex').metric
        'FID-ST-LPIPS-alex'
    """

    needed = ('mu', 'sigma')

    def __init__(
        self,
        weights: str | None = None,
        reference: str | None = None,
        features: str = 'inception',
        **kwargs: Any,
    ) -> None:
        super().__init__('FID', weights, reference, features, **kwargs)

    def distance(self, pred: np.ndarray, real: np.ndarray | None) -> float:
        known = self._known if real is None else dict(mu=real.mean(0), sigma=np.cov(real, rowvar=False))
        root = (pred - pred.mean(0)) / (len(pred) - 1) ** 0.5 if len(pred) < pred.shape[1] else None
        return frechet_distance(pred.mean(0), np.cov(pred, rowvar=False), known['mu'], known['sigma'], root)


@METRICS.register_module()
class KIDMetric(_DistributionMetric):
    """KID (Binkowski et al., 2018), the mean over random subsets; lower is better, and no bias. Key ``KID``.

    MMagic has none. Not multiplied by 1000.

    Args:
        weights: As :class:`FIDMetric`.
        reference: .npz with ``features`` (N, 2048); None takes the ground truths of the test.
        features: As :class:`FIDMetric`; the key then is ``KID-ST-LPIPS-alex`` or ``KID-ST-LPIPS-vgg``.
        subsets: How many.
        subset_size: Images in each; all of them, once, if there are no more.
        seed: Of the choice.
        **kwargs: As :class:`PictureMetric`.

    Raises:
        ValueError: If a number is too small, or as :class:`FIDMetric`.
        WeightsError: At the first image, if the weights cannot be had or do not fit.

    Example:
        >>> KIDMetric(features='stlpips-vgg', subsets=10).metric
        'KID-ST-LPIPS-vgg'
    """

    needed = ('features',)

    def __init__(
        self,
        weights: str | None = None,
        reference: str | None = None,
        features: str = 'inception',
        subsets: int = 100,
        subset_size: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if subsets < 1 or subset_size < 2:
            raise ValueError(f'KID wants subsets >= 1 and subset_size >= 2, but has {subsets} and {subset_size}.')
        super().__init__('KID', weights, reference, features, **kwargs)
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed

    def distance(self, pred: np.ndarray, real: np.ndarray | None) -> float:
        real = self._known['features'] if real is None else real
        size = min(self.subset_size, len(pred), len(real))
        if size == len(pred) == len(real):
            return kernel_distance(pred, real)
        random = np.random.default_rng(self.seed)
        return float(np.mean([
            kernel_distance(*(each[random.choice(len(each), size, replace=False)] for each in (pred, real)))
            for _ in range(self.subsets)
        ]))  # fmt: skip
