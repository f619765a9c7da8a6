from glean_plus.engine.checkpoints import WholeCheckpointHook, load_from_checked, load_safetensors, newest_whole
from glean_plus.engine.data import DataHook
from glean_plus.engine.distributed import SeparateDistributedDataParallel
from glean_plus.engine.errors import TrainingError
from glean_plus.engine.numbers import NumbersHook
from glean_plus.engine.optim import BF16OptimWrapper
from glean_plus.engine.pictures import PictureHook

__all__ = [
    'BF16OptimWrapper', 'DataHook', 'NumbersHook', 'PictureHook', 'SeparateDistributedDataParallel', 'TrainingError',
    'WholeCheckpointHook', 'load_from_checked', 'load_safetensors', 'newest_whole',
]  # fmt: skip
