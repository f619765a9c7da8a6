"""Middleware of the application: checks of host and origin, the same headers on every answer, errors as sentences."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import h11
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from glean_plus.web.errors import LOG, UNKNOWN
from glean_plus.web.settings import Settings
from glean_plus.weights.fetch import LOOPBACK

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# A name or address, and perhaps a port. The name of an origin is the same.
HOST = re.compile(r'([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?', re.ASCII)
ORIGIN = re.compile(rf'https?://({HOST.pattern})', re.ASCII)
HEADERS = {
    'content-security-policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    ),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'cache-control': 'private, no-store',
}
SENTENCES = {
    400: 'The request is malformed.',
    403: 'This request comes from another page: with a proxy, --root-path must be its whole address.',
    404: 'There is nothing here.',
    405: 'This method is not allowed here.',
    421: 'This server is not known by that name: with a proxy, --root-path must be its whole address.',
    500: UNKNOWN,
}


def refusal(status: int, why: str | None = None) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse(dict(error=why or SENTENCES.get(status, SENTENCES[400])), status)


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: Application, settings: Settings) -> None:
        self.app, self.settings = app, settings
        public = urlsplit(settings.root_path)
        self.public = public.netloc.lower()
        self.hosts = {*LOOPBACK, (public.hostname or '').lower()} if settings.loopback else None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':
            await send({'type': 'websocket.close', 'code': 1008})
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message['type'] == 'http.response.start':
                started = True
                kept = [(name, value) for name, value in message['headers'] if name.decode().lower() not in HEADERS]
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, 'headers': kept + added}
            await send(message)

        status = self._objection(scope)
        try:
            await (refusal(status) if status else self.app)(self._without_prefix(scope), receive, answer)
        except ClientDisconnect:
            return
        except Exception:  # the boundary: the traceback goes to the log, and never to the client
            LOG.exception('%s %s', scope['method'], scope['path'])
            if started:
                raise  # the server cuts the connection, so that nobody takes a part for the whole
            await refusal(500)(scope, receive, answer)

    def _without_prefix(self, scope: Message) -> Message:
        """The scope without the path that a proxy shows the page at, if the proxy passes the whole path on."""
        prefix, path = self.settings.prefix, scope['path']
        if not prefix or not f'{path}/'.startswith(f'{prefix}/'):
            return scope
        path = path[len(prefix):] or '/'
        return {**scope, 'path': path, 'raw_path': path.encode()}

    def _objection(self, scope: Message) -> int:
        """Status with which a request is refused, 0 if it is not."""
        hosts, origins = (
            [value.decode('latin-1').lower() for name, value in scope['headers'] if name == wanted]
            for wanted in (b'host', b'origin')
        )
        match = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return 400
        if self.hosts is not None and match.group(1).strip('[]') not in self.hosts:
            return 421  # a name that somebody else has made lead here
        for origin in origins:
            match = ORIGIN.fullmatch(origin)
            if match is None or match.group(1) not in (hosts[0], self.public):
                return 403
        return 0


class Protocol(H11Protocol):
    """HTTP whose answer to what is no HTTP is an error like all others."""

    def send_400_response(self, msg: str) -> None:
        answer = refusal(400)
        head = [*answer.headers.items(), *HEADERS.items(), ('connection', 'close')]
        lines = ['HTTP/1.1 400 Bad Request', *(f'{name}: {value}' for name, value in head), '', '']
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # nothing has been sent yet
            self.transport.write('\r\n'.join(lines).encode() + bytes(answer.body))
        self.transport.close()
