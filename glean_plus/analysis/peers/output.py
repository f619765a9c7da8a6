"""Output files and the log of a comparison."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import MMLogger

from glean_plus.analysis.errors import PeersError
from glean_plus.utils.logs import is_needed


def check_outputs(*paths: Path | None) -> None:
    """Raises PeersError where no file can be written, before hours of computation."""
    for path in filter(None, paths):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PeersError(f'{path} cannot be written: {error.strerror}.') from error
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise PeersError(f'{path} cannot be written: {"it is a folder" if path.is_dir() else "no permission"}.')


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Keeps MMEngine's log, which goes to the standard output, apart from the tables, and leaves out its noise."""
    log = MMLogger.get_current_instance()
    moved = [each for each in log.handlers if isinstance(each, logging.StreamHandler) and each.stream is sys.stdout]
    for handler in moved:
        handler.setStream(sys.stderr)
        handler.addFilter(is_needed)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(sys.stdout)
            handler.removeFilter(is_needed)
