from glean_plus.training.bank_trainer import BigGANBankTrainer, StyleGAN2BankTrainer
from glean_plus.training.distributed import SeparateDistributedDataParallel
from glean_plus.training.errors import TrainingError
from glean_plus.training.hooks import (
    DataHook,
    DeeperEncoderHook,
    NumbersHook,
    PictureHook,
    WholeCheckpointHook,
)  # fmt: skip
from glean_plus.training.hooks.checkpoints import load_from_checked, load_from_safetensors, newest_whole
from glean_plus.training.optim import BF16OptimWrapper
from glean_plus.training.preprocessor import ColorizationDataPreprocessor
from glean_plus.training.restorer import GLEANRestorer

__all__ = [
    'BF16OptimWrapper', 'BigGANBankTrainer', 'ColorizationDataPreprocessor', 'DataHook', 'DeeperEncoderHook',
    'GLEANRestorer', 'NumbersHook', 'PictureHook', 'SeparateDistributedDataParallel', 'StyleGAN2BankTrainer',
    'TrainingError', 'WholeCheckpointHook', 'load_from_checked', 'load_from_safetensors', 'newest_whole',
]  # fmt: skip
