"""Errors as sentences for whoever uses the page, without what only the server should know."""

from __future__ import annotations

import logging
import re

import torch

from glean_plus.inference.errors import RestoreError

LOG = logging.getLogger('glean_plus.web')

# The start of a path of the server: a slash, drive or ~ where a word begins.
PATH = re.compile(r'(?:^|[\s\'"(=:,])(?:~?/|[A-Za-z]:[\\/]|\\\\)[^\s/]')
MEMORY = 'The server has not enough memory for this image: choose a smaller one.'
UNKNOWN = 'This failed on the server, and its log says why: try another model or other options.'


class Refused(RestoreError):
    """A request that is not served.

    Attributes:
        status: Of HTTP, 400 or more.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def sentence(error: BaseException) -> str:
    """The sentence that the page shows for an error; the rest is logged.

    Errors about images and options are shown as they are, unless they name a file of the server.
    """
    # PyTorch's allocator on the CPU raises a RuntimeError.
    of_allocation = isinstance(error, RuntimeError) and 'allocate memory' in str(error)
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or of_allocation:
        LOG.warning('memory: %s', error)
        return MEMORY
    text = ' '.join(str(error).split())
    if isinstance(error, RestoreError) and not PATH.search(text):
        text = f'This image cannot be restored: {text}' if text.startswith('it ') else text[:1].upper() + text[1:]
        return text if text.endswith('.') else f'{text}.'
    LOG.error('%s', text or type(error).__name__, exc_info=error)
    return UNKNOWN
