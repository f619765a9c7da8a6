"""GLEAN and LightGLEAN for MMagic: restoration with a pre-trained GAN as a latent bank."""

from typing import Any

from glean_plus import compat
from glean_plus.version import __version__

compat.install()

__all__ = ['Restorer', '__version__']


def __getattr__(name: str) -> Any:
    """``Restorer``, whose modules take seconds to import, when it is asked for."""
    if name == 'Restorer':
        from glean_plus.inference import Restorer

        return Restorer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
