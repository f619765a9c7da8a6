"""The class of each image, for class-conditional networks."""

from __future__ import annotations

from mmagic.structures import DataSample
from torch import Tensor, nn


def classes_of(data_samples: DataSample | None, who: str, otherwise: str = '') -> Tensor:
    """``gt_label`` of a batch, (N,).

    Args:
        data_samples: The batch, stacked.
        who: What wants the classes, for the error.
        otherwise: What else could be done than to give them, for the error.

    Raises:
        ValueError: If the data have no classes.
    """
    if data_samples is None or 'gt_label' not in data_samples:
        raise ValueError(
            f'{who}, but the data samples have no `gt_label`: use a data set that gives the class of each image, '
            f'as LabeledImageDataset does{otherwise and f", or {otherwise}"}.'
        )
    return data_samples.gt_label.label.flatten()


def generator_labels(generator: nn.Module, data_samples: DataSample | None) -> tuple[Tensor, ...]:
    """A generator's arguments beside the input: the classes (N,) in ``gt_label``, where it wants them."""
    if not getattr(generator, 'given_class', False):
        return ()
    who, otherwise = 'The generator was built with given_class=True', 'build the generator without given_class'
    return (classes_of(data_samples, who, otherwise),)
