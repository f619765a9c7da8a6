"""Random transforms whose outcome does not depend on who runs them, and when.

A loader's workers have a generator each, so what a transform draws depends on the number of workers. Here it depends
on the seed, the index of the image in its data set and, in training, the number of the draw: the place of the index
in the sampler's endless stream, which is the same for any number of workers, and continues after a resume.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import InfiniteSampler

from glean_plus.registry import DATA_SAMPLERS, TRANSFORMS


class NumberedIndex(int):
    """An index that knows its place in the sampler's stream; MMEngine's data sets hand it on as ``sample_idx``.

    It still does as index of one of several data sets (``ConcatDataset``), or of one that is repeated.
    """

    draw: int

    def __new__(cls, index: int, draw: int) -> NumberedIndex:
        numbered = super().__new__(cls, index)
        numbered.draw = draw
        return numbered

    def __sub__(self, other: int) -> NumberedIndex:
        return NumberedIndex(int(self) - other, self.draw)

    def __mod__(self, other: int) -> NumberedIndex:
        return NumberedIndex(int(self) % other, self.draw)

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]  # workers get their indices pickled
        return int(self), self.draw


@DATA_SAMPLERS.register_module()
class NumberedSampler(InfiniteSampler):
    """MMEngine's ``InfiniteSampler`` with each index numbered, over all processes together."""

    def _indices_of_rank(self) -> Iterator[int]:
        numbered = (NumberedIndex(index, draw) for draw, index in enumerate(self._infinite_indices()))
        yield from itertools.islice(numbered, self.rank, None, self.world_size)


@TRANSFORMS.register_module()
class SeededTransforms(BaseTransform):
    """Runs transforms on generators seeded for this image, and leaves numpy's and Python's as they were.

    Any transforms will do that draw from these two, MMagic's included.

    Args:
        transforms: Configs of the transforms.
        seed: Same seed, same bytes.
        fixed: Each image has the same draws whenever it is seen, for validation and tests. False draws again each
            time, for training, and needs ``sampler=dict(type='NumberedSampler')``.

    Raises:
        ValueError: On a negative seed.
        KeyError: (when called) On a sample without index, or without the number of the draw.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]], seed: int = 0, fixed: bool = False) -> None:
        if seed < 0:
            raise ValueError(f'seed must not be negative, but is {seed}.')
        self.transforms = [TRANSFORMS.build(dict(each)) for each in transforms]
        self.seed = seed
        self.fixed = fixed

    def _key(self, results: Mapping[str, Any]) -> tuple[int, ...]:
        if 'sample_idx' not in results:
            raise KeyError('SeededTransforms needs `sample_idx`, which the data sets of MMEngine and MMagic give.')
        index = results['sample_idx']
        if self.fixed:
            return (int(index),)
        if not isinstance(index, NumberedIndex):
            raise KeyError(
                'SeededTransforms draws again each time only with numbered indices: set '
                "sampler=dict(type='NumberedSampler') in the data loader, or fixed=True for the same draws each time."
            )
        return int(index), index.draw

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        # A spawn key, and not more entropy: SeedSequence takes (0, 0) and (0, 0, 0) for the same entropy.
        state = np.random.SeedSequence(self.seed, spawn_key=self._key(results)).generate_state(8)
        outer = np.random.get_state(), random.getstate()
        try:
            np.random.seed(state)
            random.seed(state.tobytes())
            for each in self.transforms:
                results = each(results)
                if results is None:
                    return None
            return results
        finally:
            np.random.set_state(outer[0])
            random.setstate(outer[1])
