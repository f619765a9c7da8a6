from glean_plus.engine.checkpoints import load_safetensors
from glean_plus.engine.distributed import SeparateDistributedDataParallel
from glean_plus.engine.optim import BF16OptimWrapper
from glean_plus.engine.pictures import PictureHook

__all__ = ['BF16OptimWrapper', 'PictureHook', 'SeparateDistributedDataParallel', 'load_safetensors']
