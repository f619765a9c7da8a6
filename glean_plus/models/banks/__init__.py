from glean_plus.models.banks.base import LatentBank
from glean_plus.models.banks.biggan import BigGANBank, biggan_channels
from glean_plus.models.banks.biggan_deep import BigGANDeepBank
from glean_plus.models.banks.stylegan1 import StyleGAN1Bank
from glean_plus.models.banks.stylegan2 import StyleGAN2Bank, stylegan2_channels

__all__ = [
    'BigGANBank', 'BigGANDeepBank', 'LatentBank', 'StyleGAN1Bank', 'StyleGAN2Bank', 'biggan_channels',
    'stylegan2_channels',
]  # fmt: skip
