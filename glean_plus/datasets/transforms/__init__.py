from glean_plus.datasets.transforms.degradation import (
    BlindBlur,
    BlindDownsample,
    BlindJPEG,
    BlindNoise,
    BlindResample,
    Quantize,
    Shuffled,
    Sometimes,
)  # fmt: skip
from glean_plus.datasets.transforms.lightness import LabLightness
from glean_plus.datasets.transforms.load import LoadPicture
from glean_plus.datasets.transforms.seeded import NumberedSampler, SeededTransforms
from glean_plus.datasets.transforms.square import SquareResize

__all__ = [
    'BlindBlur', 'BlindDownsample', 'BlindJPEG', 'BlindNoise', 'BlindResample', 'LabLightness', 'LoadPicture',
    'NumberedSampler', 'Quantize', 'SeededTransforms', 'Shuffled', 'Sometimes', 'SquareResize',
]  # fmt: skip
