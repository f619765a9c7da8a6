from glean_plus.models.banks.base import LatentBank
from glean_plus.models.banks.stylegan1 import StyleGAN1Bank
from glean_plus.models.banks.stylegan2 import StyleGAN2Bank, stylegan2_channels

__all__ = ['LatentBank', 'StyleGAN1Bank', 'StyleGAN2Bank', 'stylegan2_channels']
