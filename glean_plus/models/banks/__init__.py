from glean_plus.models.banks.base import LatentBank
from glean_plus.models.banks.stylegan2 import StyleGAN2Bank, stylegan2_channels

__all__ = ['LatentBank', 'StyleGAN2Bank', 'stylegan2_channels']
