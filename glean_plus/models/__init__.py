from glean_plus.models.bank_trainer import BigGANBankTrainer, StyleGAN2BankTrainer
from glean_plus.models.banks import BigGANBank, BigGANDeepBank, LatentBank, StyleGAN1Bank, StyleGAN2Bank
from glean_plus.models.baselines import BankFreeGLEAN, ESRGANPlus
from glean_plus.models.biggan_discriminator import BigGANBankDiscriminator
from glean_plus.models.codes import LearnedCodes, PredictedCodes
from glean_plus.models.decoder import GLEANDecoder
from glean_plus.models.discriminator import StyleGAN2BankDiscriminator
from glean_plus.models.encoder import GLEANEncoder
from glean_plus.models.glean import GLEAN
from glean_plus.models.heads import ColorizationHead
from glean_plus.models.preprocessor import ColorizationDataPreprocessor
from glean_plus.models.restorer import GLEANRestorer

__all__ = [
    'BankFreeGLEAN', 'BigGANBank', 'BigGANBankDiscriminator', 'BigGANBankTrainer', 'BigGANDeepBank',
    'ColorizationDataPreprocessor', 'ColorizationHead', 'ESRGANPlus', 'GLEAN', 'GLEANDecoder', 'GLEANEncoder',
    'GLEANRestorer', 'LatentBank', 'LearnedCodes', 'PredictedCodes', 'StyleGAN1Bank', 'StyleGAN2Bank',
    'StyleGAN2BankDiscriminator', 'StyleGAN2BankTrainer',
]  # fmt: skip
