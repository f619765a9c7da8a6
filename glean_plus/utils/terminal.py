"""What commands print: text that a terminal shows as it is, on streams that may be closed, full or broken off."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from glean_plus.utils.text import printable

RawDescription = argparse.RawDescriptionHelpFormatter


class Parser(argparse.ArgumentParser):
    """argparse's parser; its complaints, which repeat what was typed, are printable, and one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'{self.prog}: {printable(message)}; see {self.prog} --help\n')


def complain(text: object) -> None:
    """Print a line to the standard error, which may be full, or closed."""
    with suppress(OSError, AttributeError):
        print(f'glean-plus: {printable(text)}', file=sys.stderr, flush=True)


class OutputError(Exception):
    """The standard output cannot be written to; the text is empty where its reader has closed it, as ``head`` does."""


@contextmanager
def lasting_streams() -> Iterator[None]:
    """While entered, the standard output raises OutputError where it cannot be written to.

    Nothing is raised of the standard error: what is done does not end because nobody reads about it.
    """
    for descriptor in range(3):  # one that is closed would be given to the next file, and get what libraries print
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stream(before[0], refuse=True), _Stream(before[1], refuse=False)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Stream:
    """A stream, or the lack of one."""

    def __init__(self, stream: Any, refuse: bool) -> None:
        self._closed, self._refuse = stream is None, refuse
        self._stream = open(os.devnull, 'w') if stream is None else stream  # noqa: SIM115

    def write(self, text: str) -> int:
        if self._closed and text:
            self._failed(OSError(errno.EBADF, 'it is closed'))
        try:
            return int(self._stream.write(text) or 0)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or 'ascii'
            return self.write(text.encode(encoding, 'backslashreplace').decode(encoding))
        except OSError as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """From here on nothing is written: what is left in the buffer would fail once more when Python ends."""
        if not self._closed:
            self._closed = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if self._refuse:
            why = error.strerror or str(error)
            raise OutputError('' if isinstance(error, BrokenPipeError) else why) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence_libraries() -> None:
    """Hide warnings of libraries to their own developers, unless Python was started with filters (``-W``)."""
    if sys.warnoptions:
        return
    for category in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
        warnings.filterwarnings('ignore', category=category, module=r'(?!glean_plus\b|__main__)')
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
