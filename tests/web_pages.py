"""The web page as it is served, by a thread of the tests' process."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from glean_plus.web.restorers import Restorers
from glean_plus.web.server import build, server_of
from glean_plus.web.settings import Settings
from glean_plus.web.store import Store

# Of the call: model, mode, fidelity, consistent, seed, faces, report.
DEFAULTS = dict(mode='best', fidelity=0.5, consistent=False, seed='', faces=False, report=False)


@dataclass
class Page:
    """A server that runs, and a client of it."""

    address: str
    settings: Settings
    store: Store
    restorers: Restorers
    client: httpx.Client

    def upload(self, content: bytes, name: str = 'in.png') -> httpx.Response:
        return self.client.post('/pictures', content=content, headers={'X-File-Name': quote(name)})

    def picture(self, path: Path) -> str:
        """What the server calls an upload."""
        return self.upload(path.read_bytes(), path.name).raise_for_status().json()['picture']

    def call(self, picture: str, model: str | None = None, **options: Any) -> httpx.Response:
        data = [picture, model or next(iter(self.restorers.offers)), *(DEFAULTS | options).values()]
        return self.client.post('/gradio_api/call/restore', json=dict(data=data))

    def outcome(self, called: httpx.Response) -> tuple[str, dict[str, Any]]:
        """HTML and facts of a call, once it is done."""
        event = called.raise_for_status().json()['event_id']
        text = self.client.get(f'/gradio_api/call/restore/{event}').text
        lines = text.strip().split('\n')
        assert lines[-2] == 'event: complete', text
        html, facts = json.loads(lines[-1].removeprefix('data: '))
        return html, facts

    def restore(self, path: Path, model: str | None = None, **options: Any) -> dict[str, Any]:
        return self.outcome(self.call(self.picture(path), model, **options))[1]

    def file(self, facts: dict[str, Any], ending: str = 'png') -> bytes:
        return self.client.get(facts['files'][ending]).raise_for_status().content


@contextmanager
def served(settings: Settings) -> Iterator[Page]:
    """A server at a free port of this machine."""
    store = Store(settings.keep, settings.max_store)
    restorers = Restorers(settings)
    listener = socket.create_server(('127.0.0.1', 0))
    server = server_of(build(settings, store, restorers))
    thread = threading.Thread(target=server.run, kwargs=dict(sockets=[listener]), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    address = f'http://127.0.0.1:{listener.getsockname()[1]}'
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            yield Page(address, settings, store, restorers, client)
    finally:
        server.should_exit = True
        thread.join(20)
        store.close()
        listener.close()
