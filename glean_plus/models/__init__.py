from glean_plus.models.banks import BigGANBank, BigGANDeepBank, LatentBank, StyleGAN1Bank, StyleGAN2Bank
from glean_plus.models.baselines import BankFreeGLEAN, ESRGANPlus
from glean_plus.models.codes import LearnedCodes, PredictedCodes
from glean_plus.models.decoder import GLEANDecoder
from glean_plus.models.discriminators import BigGANBankDiscriminator, StyleGAN2BankDiscriminator
from glean_plus.models.encoder import GLEANEncoder
from glean_plus.models.glean import GLEAN
from glean_plus.models.heads import ColorizationHead
from glean_plus.utils.moved import attributes_of

__all__ = [
    'BankFreeGLEAN', 'BigGANBank', 'BigGANBankDiscriminator', 'BigGANDeepBank', 'ColorizationHead', 'ESRGANPlus',
    'GLEAN', 'GLEANDecoder', 'GLEANEncoder', 'LatentBank', 'LearnedCodes', 'PredictedCodes', 'StyleGAN1Bank',
    'StyleGAN2Bank', 'StyleGAN2BankDiscriminator',
]  # fmt: skip

__getattr__ = attributes_of(__name__)
