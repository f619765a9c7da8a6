from glean_plus.models.discriminators.biggan import BigGANBankDiscriminator
from glean_plus.models.discriminators.stylegan2 import StyleGAN2BankDiscriminator

__all__ = ['BigGANBankDiscriminator', 'StyleGAN2BankDiscriminator']
