from glean_plus.transforms.degradation import BlindBlur, BlindDownsample, BlindJPEG, BlindNoise, Shuffled
from glean_plus.transforms.lightness import LabLightness
from glean_plus.transforms.load import LoadPicture
from glean_plus.transforms.seeded import NumberedSampler, SeededTransforms
from glean_plus.transforms.square import SquareResize

__all__ = [
    'BlindBlur', 'BlindDownsample', 'BlindJPEG', 'BlindNoise', 'LabLightness', 'LoadPicture', 'NumberedSampler',
    'SeededTransforms', 'Shuffled', 'SquareResize',
]  # fmt: skip
