"""What stands before the page's application: only what is meant reaches it, and what leaves it is clean.

Gradio serves and takes files by their path, fetches addresses, and answers errors with the lines of code where they
happened. The page needs none of that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect

from glean_plus.web.errors import LOG, UNKNOWN
from glean_plus.web.settings import PICTURES, Settings
from glean_plus.weights.fetch import LOOPBACK

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# Method -> paths: the page, its looks and code, our pictures, and the queue.
OPEN = {
    'GET': re.compile(
        r'/|/config/?|/theme\.css|/favicon\.ico|/(?:assets|static|svelte)/[\w./-]+|/pictures/[\w-]+/[\w.]+'
        r'|/gradio_api/(?:info/?|queue/data|heartbeat/\w+|call/restore/\w+)'
    ),
    'HEAD': re.compile(r'/'),
    'POST': re.compile(r'/pictures|/gradio_api/(?:queue/join|call/restore/?)'),
}
LARGEST_CALL = 16 * 1024  # bytes: of options, which are short

# Of Gradio's page: what asks hosts elsewhere, or describes it to networks of others.
FOREIGN = re.compile(
    r'<link\s[^>]*rel="(?:preconnect|manifest)"[^>]*>|<script\s[^>]*src="https?://[^>]*></script>'
    r'|<meta\s[^>]*"(?:og|twitter):[^>]*>', re.DOTALL,
)  # fmt: skip
HEADERS = {
    'content-security-policy': (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
}
SENTENCES = {
    400: 'The request is not understood.',
    403: 'This is asked from another page: with a proxy, --root-path is to be its whole address.',
    404: 'There is nothing here.',
    413: 'The request is too large.',
    421: 'This server is not known by that name: with a proxy, --root-path is to be its whole address.',
    500: UNKNOWN,
    503: 'Too many pictures are waiting: try again in a minute.',
}

BROKEN = f'event: error\ndata: {json.dumps(SENTENCES[404])}\n\n'.encode()


class Gate:
    """ASGI middleware: checks host, origin, path and body, and gives errors and headers of its own.

    Args:
        app: The application.
        settings: Of the server.
    """

    def __init__(self, app: Application, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.public = urlsplit(settings.root_path).netloc or None
        self.hosts = {*LOOPBACK, urlsplit(settings.root_path).hostname} if settings.loopback else None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':  # websockets, which the page has none of
            await send({'type': 'websocket.close', 'code': 1008})
            return
        prefix = self.settings.prefix
        if prefix and (scope['path'] + '/').startswith(prefix + '/'):  # a proxy that hands on the whole path
            path = scope['path'][len(prefix):] or '/'
            scope = {**scope, 'path': path, 'raw_path': path.encode()}
        answer = _Answer(scope, send)
        status = self._objection(scope)
        if status:
            await answer.refuse(status)
            return
        try:
            if scope['method'] == 'POST' and scope['path'] != PICTURES:
                receive = await _checked_call(receive)
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            return
        except Refused as error:
            await answer.refuse(error.status)
        except Exception:  # the boundary: its traceback goes to the log, and never to who asks
            LOG.exception('%s %s', scope['method'], scope['path'])
            await answer.refuse(500)

    def _objection(self, scope: Message) -> int:
        """Status with which a request is refused, 0 if it is not."""
        headers = {name.decode('latin-1'): value.decode('latin-1') for name, value in scope['headers']}
        host = headers.get('host', '')
        if self.hosts is not None and urlsplit(f'//{host}').hostname not in self.hosts:
            return 421  # a name that somebody else has made lead here
        origin = headers.get('origin')
        if origin is not None and urlsplit(origin).netloc not in (host, self.public):
            return 403
        allowed = OPEN.get(scope['method'])
        if allowed is None or not allowed.fullmatch(scope['path']) or '..' in scope['path']:
            return 404
        return 0


class Refused(Exception):
    """A request that does not reach the application."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def _checked_call(receive: Receive) -> Receive:
    """The body of a call, which is small and has plain values alone: no files that Gradio would fetch or open.

    Raises:
        Refused: If it is anything else.
    """
    body, more = b'', True
    while more:
        message = await receive()
        if message['type'] == 'http.disconnect':
            raise Refused(400)
        body, more = body + message.get('body', b''), message.get('more_body', False)
        if len(body) > LARGEST_CALL:
            raise Refused(413)
    try:
        content = json.loads(body)
    except ValueError as error:
        raise Refused(400) from error
    data = content.get('data') if isinstance(content, dict) else None
    if not isinstance(data, list) or any(isinstance(value, (dict, list)) for value in data):
        raise Refused(400)
    if content.get('fn_index') not in (None, 0):  # the page has one call
        raise Refused(404)
    waiting = [{'type': 'http.request', 'body': body, 'more_body': False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


class _Answer:
    """The answer to a request on its way out."""

    def __init__(self, scope: Message, send: Send) -> None:
        self._send = send
        self._own = scope['path'].startswith(PICTURES)  # whose errors are sentences already
        self._page: bytearray | None = None  # that of Gradio, which is collected to be cleaned
        self._is_page = scope['path'] == '/' and scope['method'] == 'GET'
        self._started, self._replaced = False, False
        self._start: Message = {}

    async def refuse(self, status: int) -> None:
        if self._started:  # a stream of events that broke off
            await self._send({'type': 'http.response.body', 'body': BROKEN})
            return
        body = json.dumps({'error': SENTENCES.get(status, SENTENCES[400]), 'detail': SENTENCES.get(status, '')})
        headers = [(b'content-type', b'application/json'), (b'content-length', str(len(body)).encode())]
        await self._begin({'type': 'http.response.start', 'status': status, 'headers': headers})
        await self._send({'type': 'http.response.body', 'body': body.encode()})

    async def send(self, message: Message) -> None:
        if message['type'] == 'http.response.start':
            if message['status'] >= 400 and not self._own:
                await self.refuse(404 if message['status'] == 403 else message['status'])
                self._replaced = True
            elif self._is_page:
                self._start, self._page = message, bytearray()
            else:
                await self._begin(message)
        elif self._replaced:
            return
        elif self._page is not None:
            self._page += message.get('body', b'')
            if not message.get('more_body', False):
                await self._send_page(bytes(self._page))
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        self._started = True
        kept = [(name, value) for name, value in message.get('headers', []) if name.decode().lower() not in HEADERS]
        added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        await self._send({**message, 'headers': kept + added})

    async def _send_page(self, page: bytes) -> None:
        body = FOREIGN.sub('', page.decode()).encode()
        kept = [(name, value) for name, value in self._start['headers'] if name.lower() != b'content-length']
        await self._begin({**self._start, 'headers': kept + [(b'content-length', str(len(body)).encode())]})
        await self._send({'type': 'http.response.body', 'body': body})
