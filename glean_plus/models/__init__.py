from glean_plus.models.bank_trainer import StyleGAN2BankTrainer
from glean_plus.models.banks import LatentBank, StyleGAN2Bank
from glean_plus.models.discriminator import StyleGAN2BankDiscriminator

__all__ = ['LatentBank', 'StyleGAN2Bank', 'StyleGAN2BankDiscriminator', 'StyleGAN2BankTrainer']
