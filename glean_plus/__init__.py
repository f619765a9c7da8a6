"""GLEAN and LightGLEAN for MMagic: restoration with a pre-trained GAN as a latent bank."""

from glean_plus import compat
from glean_plus.version import __version__

compat.install()

__all__ = ['__version__']
