"""The server, until it is stopped."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from glean_plus.inference.errors import RestoreError
from glean_plus.web.api import build
from glean_plus.web.gate import Protocol
from glean_plus.web.jobs import Jobs
from glean_plus.web.restorers import Restorers
from glean_plus.web.settings import Settings
from glean_plus.web.store import Store

TERMINATED = 128 + signal.SIGTERM
PATIENCE = 2  # seconds that open requests have when the server stops


def serve(settings: Settings, say: Callable[[str], None] = print) -> None:
    """Serve until SIGINT or SIGTERM, and leave no temporary file.

    Args:
        say: Shows the address, and a warning where others can reach it.

    Raises:
        RestoreError: If a model or the address cannot be used.
        WeightsError: If a model's weights cannot be read.
        KeyboardInterrupt, SystemExit: By a signal.
    """
    logging.basicConfig(format='%(levelname)s: %(message)s')
    with _ended_by_sigterm(), _listening(settings) as listener:
        store = Store(settings.keep, settings.max_store)
        try:
            jobs = Jobs(store, Restorers(settings), settings.concurrency, settings.queue)
            try:
                server = server_of(build(settings, jobs))
                host = f'[{settings.host}]' if ':' in settings.host else settings.host
                say(f'The page is at http://{host}:{listener.getsockname()[1]}/; Ctrl-C stops it.')
                if not settings.loopback:
                    say(
                        f'Warning: at {settings.host} everybody who reaches this machine can upload images and have it '
                        'compute. There is no password and no encryption: put a proxy before it that has both.'
                    )
                server.run(sockets=[listener])
            finally:
                jobs.close()
        finally:
            store.close()


def server_of(app: FastAPI) -> uvicorn.Server:
    """As :func:`serve` runs it."""
    return uvicorn.Server(uvicorn.Config(
        app, http=Protocol, ws='none', log_level='warning', timeout_graceful_shutdown=PATIENCE, server_header=False,
        date_header=False,
    ))  # fmt: skip


def _listening(settings: Settings) -> socket.socket:
    """A socket at the address, before the models take their seconds."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        raise RestoreError(
            f'The address {settings.host}, port {settings.port}, cannot be used ({error.strerror or error}): '
            'choose another --host or --port.'
        ) from error


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Meanwhile SIGTERM raises :exc:`SystemExit`, so that temporary files are removed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
