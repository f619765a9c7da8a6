"""Pictures over HTTP: in as the body of a POST, out by names that cannot be guessed."""

from __future__ import annotations

import re
import threading
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from glean_plus.inference.errors import RestoreError
from glean_plus.web.accept import look
from glean_plus.web.errors import sentence
from glean_plus.web.settings import PICTURES, Settings, shown_bytes
from glean_plus.web.store import Store
from glean_plus.web.work import BEFORE, DOWNLOADS, HEAT, RESULT, UPLOAD, converted

SHOWN = (BEFORE, RESULT, HEAT)
LONGEST_STEM = 60


def picture_routes(store: Store, settings: Settings) -> APIRouter:
    """``POST /pictures`` takes a file and names it, ``GET /pictures/KEY/FILE`` gives what was made of it."""
    router = APIRouter()
    one_at_a_time = threading.Lock()  # of conversions, which nobody queues for

    @router.post(PICTURES)
    async def upload(request: Request) -> Response:
        try:
            entry = store.new(_stem(request.headers.get('x-file-name', '')))
        except RestoreError as error:
            return _refused(507, sentence(error))
        try:
            await _save(request, entry.folder / UPLOAD, settings.max_upload)
            width, height = await run_in_threadpool(look, entry.folder / UPLOAD, settings.max_pixels)
        except BaseException as error:
            store.remove(entry.key)
            if isinstance(error, TooLarge):
                return _refused(413, sentence(error))
            if isinstance(error, RestoreError):
                return _refused(422, sentence(error))
            raise
        return JSONResponse(dict(picture=entry.key, width=width, height=height))

    @router.get(PICTURES + '/{key}/{name}')
    def download(key: str, name: str, save: bool = False) -> Response:
        ending = Path(name).suffix
        if name not in SHOWN and name not in [f'result{each}' for each in DOWNLOADS]:
            return _refused(404, 'There is no such picture.')
        try:
            with store.using(key) as entry:
                file, stem = entry.folder / name, entry.stem
                if (entry.folder / RESULT).is_file() and name not in SHOWN:
                    with one_at_a_time:
                        file = converted(entry.folder, ending)
        except RestoreError as error:
            return _refused(404, sentence(error))
        if not file.is_file():
            return _refused(404, 'There is no such picture.')
        return FileResponse(
            file, filename=f'{stem}_{Path(name).stem}{ending}', content_disposition_type='attachment' if save else
            'inline', headers={'Cache-Control': 'private, no-store'},
        )  # fmt: skip

    return router


class TooLarge(RestoreError):
    """More bytes than a file may have."""


async def _save(request: Request, path: Path, limit: int) -> None:
    """The body of a request -> a file; what is beyond the limit is not read.

    Raises:
        TooLarge: If it has more bytes than the limit.
        RestoreError: If it has none.
    """
    told, total = request.headers.get('content-length', '0'), 0
    too_large = TooLarge(f'The file is too large: at most {shown_bytes(limit)} are taken.')
    if told.isdigit() and int(told) > limit:
        raise too_large
    with open(path, 'wb') as file:
        async for chunk in request.stream():
            total += len(chunk)
            if total > limit:
                raise too_large
            await run_in_threadpool(partial(file.write, chunk))
    if not total:
        raise RestoreError('The file is empty.')


def _stem(header: str) -> str:
    """Of the name that the file had, as far as it is harmless in one."""
    name = re.split(r'[\\/]', unquote(header))[-1]
    return re.sub(r'[^\w -]+', '_', Path(name).stem).strip('_ ')[:LONGEST_STEM] or 'picture'


def _refused(status: int, why: str) -> Response:
    return JSONResponse(dict(error=why), status)
