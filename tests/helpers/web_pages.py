"""The web page as it is served, by a thread of the tests' process."""

from __future__ import annotations

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
import pytest
import torch

from glean_plus.web import jobs as web_jobs
from glean_plus.web.api import build
from glean_plus.web.jobs import Jobs
from glean_plus.web.restorers import Restorers
from glean_plus.web.server import server_of
from glean_plus.web.settings import Settings
from glean_plus.web.store import Store


@dataclass
class Page:
    """A server that runs, and a client of it."""

    address: str
    settings: Settings
    jobs: Jobs
    client: httpx.Client

    def upload(self, content: bytes, name: str = 'in.png') -> httpx.Response:
        return self.client.post('/api/images', content=content, headers={'X-File-Name': quote(name)})

    def image(self, path: Path) -> str:
        """Key of an upload."""
        return self.upload(path.read_bytes(), path.name).raise_for_status().json()['id']

    def call(self, image: str, **options: Any) -> httpx.Response:
        """A job; the model is the first of the list, unless the options name another."""
        return self.client.post('/api/jobs', params=dict(image=image) | options)

    def outcome(self, called: httpx.Response) -> dict[str, Any]:
        """State of a job that has ended."""
        job = called.raise_for_status().json()
        while job['state'] in ('waiting', 'running'):
            job = self.client.get(f'/api/jobs/{job["id"]}', params=dict(wait=10)).raise_for_status().json()
        return job

    def restore(self, path: Path, **options: Any) -> dict[str, Any]:
        """State of a job that is done."""
        job = self.outcome(self.call(self.image(path), **options))
        assert job['state'] == 'done', job
        return job

    def file(self, job: dict[str, Any], name: str = 'result.png') -> bytes:
        return self.client.get(f'/api/jobs/{job["id"]}/{name}').raise_for_status().content


@contextmanager
def served(settings: Settings) -> Iterator[Page]:
    """A server at a free port of this machine."""
    store = Store(settings.keep, settings.max_store)
    jobs = Jobs(store, Restorers(settings), settings.concurrency, settings.queue)
    listener = socket.create_server(('127.0.0.1', 0))
    server = server_of(build(settings, jobs))
    thread = threading.Thread(target=server.run, kwargs=dict(sockets=[listener]), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    address = f'http://127.0.0.1:{listener.getsockname()[1]}'
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            yield Page(address, settings, jobs, client)
    finally:
        server.should_exit = True
        thread.join(20)
        jobs.close()
        store.close()
        listener.close()


def endless(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """A restoration goes through layers until one of them raises: events of its begin and of its end."""
    begun, ended, layer = threading.Event(), threading.Event(), torch.nn.Identity()

    def slow(*_: Any) -> None:
        begun.set()
        try:
            while True:
                layer(torch.zeros(1))
                time.sleep(0.02)
        finally:
            ended.set()

    monkeypatch.setattr(web_jobs, 'restore', slow)
    return begun, ended
