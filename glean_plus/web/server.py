"""The server: the gate, the routes of pictures and Gradio's page behind it, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable

import gradio as gr
import uvicorn
from fastapi import FastAPI
from torch.nn.modules.module import register_module_forward_pre_hook

from glean_plus.inference.errors import RestoreError
from glean_plus.web.gate import Application, Gate
from glean_plus.web.page import build_page
from glean_plus.web.restorers import Restorers
from glean_plus.web.routes import picture_routes
from glean_plus.web.settings import Settings
from glean_plus.web.store import Store

TERMINATED = 128 + signal.SIGTERM
PATIENCE = 2  # seconds that running requests have when the server stops
LAYER = 10  # seconds that the longest layer takes, about


def build(settings: Settings, store: Store, restorers: Restorers) -> Application:
    """The application, to be run by any ASGI server, in one process."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(picture_routes(store, settings))
    page = build_page(store, restorers, settings)
    gr.mount_gradio_app(app, page, path='/', root_path=settings.root_path, show_error=False, ssr_mode=False)
    return Gate(app, settings)


def serve(settings: Settings, say: Callable[[str], None] = print) -> None:
    """Serve until SIGINT or SIGTERM, and leave no temporary file.

    Args:
        settings: Limits and places.
        say: Is given the address, and a warning where others can reach it.

    Raises:
        RestoreError: If a model or the address cannot be used.
        WeightsError: If a model's weights cannot.
        KeyboardInterrupt, SystemExit: When it was told to stop.
    """
    signal.signal(signal.SIGTERM, _terminate)
    logging.basicConfig(format='%(levelname)s: %(message)s')
    for noisy in ('httpx', 'asyncio'):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with _listening(settings) as listener:
        store = Store(settings.keep, settings.max_store)
        try:
            app = build(settings, store, Restorers(settings))
            server = server_of(app)
            host = f'[{settings.host}]' if ':' in settings.host else settings.host
            say(f'The page is at http://{host}:{listener.getsockname()[1]}/; Ctrl-C stops it.')
            if not settings.loopback:
                say(
                    f'Warning: at {settings.host} everybody who reaches this machine can upload pictures and have it '
                    'compute. There is no password and no encryption: put a proxy before it that has both.'
                )
            _run(server, listener)
        finally:
            store.close()


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve in a thread, so that a signal stops what is computed as well: its next layer raises."""
    stopping, ended = threading.Event(), threading.Event()  # Thread.join does not survive an exception of a signal

    def run() -> None:
        try:
            server.run(sockets=[listener])
        finally:
            ended.set()

    def check(*_: object) -> None:
        if stopping.is_set() and threading.current_thread() is not threading.main_thread():
            raise RestoreError('The server stops.')

    hook = register_module_forward_pre_hook(check)
    threading.Thread(target=run, daemon=True).start()
    try:
        while not ended.wait(1):
            pass
    finally:
        server.should_exit = True
        stopping.set()
        ended.wait(LAYER + PATIENCE)
        hook.remove()


def server_of(app: Application) -> uvicorn.Server:
    """As :func:`serve` runs it."""
    return uvicorn.Server(uvicorn.Config(
        app, log_level='warning', timeout_graceful_shutdown=PATIENCE, server_header=False, date_header=False, ws='none',
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


def _terminate(*_: object) -> None:
    sys.exit(TERMINATED)
