from typing import Any

from glean_plus.models.banks import BigGANBank, BigGANDeepBank, LatentBank, StyleGAN1Bank, StyleGAN2Bank
from glean_plus.models.baselines import BankFreeGLEAN, ESRGANPlus
from glean_plus.models.codes import LearnedCodes, PredictedCodes
from glean_plus.models.decoder import GLEANDecoder
from glean_plus.models.discriminators import BigGANBankDiscriminator, StyleGAN2BankDiscriminator
from glean_plus.models.encoder import GLEANEncoder
from glean_plus.models.glean import GLEAN
from glean_plus.models.heads import ColorizationHead

__all__ = [
    'BankFreeGLEAN', 'BigGANBank', 'BigGANBankDiscriminator', 'BigGANDeepBank', 'ColorizationHead', 'ESRGANPlus',
    'GLEAN', 'GLEANDecoder', 'GLEANEncoder', 'LatentBank', 'LearnedCodes', 'PredictedCodes', 'StyleGAN1Bank',
    'StyleGAN2Bank', 'StyleGAN2BankDiscriminator',
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What has moved from here to :mod:`glean_plus.training`."""
    if name in ('BigGANBankTrainer', 'ColorizationDataPreprocessor', 'GLEANRestorer', 'StyleGAN2BankTrainer'):
        from glean_plus import training

        return getattr(training, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
