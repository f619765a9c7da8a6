from glean_plus.training.hooks.checkpoints import WholeCheckpointHook
from glean_plus.training.hooks.data import DataHook
from glean_plus.training.hooks.deeper import DeeperEncoderHook
from glean_plus.training.hooks.images import PictureHook
from glean_plus.training.hooks.numbers import NumbersHook

__all__ = ['DataHook', 'DeeperEncoderHook', 'NumbersHook', 'PictureHook', 'WholeCheckpointHook']
