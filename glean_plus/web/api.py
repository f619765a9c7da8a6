"""The routes: the page, and the HTTP API that it and other programs use."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import unquote

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.faces import detectors
from glean_plus.inference.fidelity import MIDDLE, STEPS, check_fidelity
from glean_plus.inference.ood import FIGURES
from glean_plus.version import __version__
from glean_plus.web.accept import look
from glean_plus.web.errors import Refused, sentence
from glean_plus.web.gate import Gate, refusal
from glean_plus.web.jobs import LEFT, Job, Jobs, State
from glean_plus.web.restorers import Choice
from glean_plus.web.settings import Settings, shown_bytes
from glean_plus.web.store import Entry, Store
from glean_plus.web.work import UPLOAD, Result, converted

FOLDER = Path(__file__).parent
ASSETS = {'page.css': 'text/css', 'page.js': 'text/javascript', 'icon.svg': 'image/svg+xml'}
BEST: Final = 'best'
LARGEST_SEED = 2**31 - 1
LONGEST_STEM = 60
TICK = 0.1  # seconds between two looks at a job
SLOWEST = 2**17  # bytes a second of an upload that is not cut off
GRACE = 30.0  # seconds that any upload has

ABOUT = f'''
Upload an image, make a job of it, ask for the job until it has ended, and get its files:

    curl --data-binary @in.png ADDRESS/api/images
        {json.dumps(dict(id='IMAGE', width=64, height=64))}
    curl -X POST "ADDRESS/api/jobs?image=IMAGE&fidelity=0.4"
        {json.dumps(dict(id='JOB', state='waiting', ahead=0))}
    curl "ADDRESS/api/jobs/JOB?wait=10"
        {json.dumps(dict(id='JOB', state='done', result=dict(files=['before.png', 'result.png'])))}
    curl -o out.png ADDRESS/api/jobs/JOB/result.png

A job that nobody asks for in {LEFT:.0f} seconds is stopped. Errors are {json.dumps(dict(error='A sentence.'))}.
'''


class Options(BaseModel):
    """Options of a restoration."""

    model_config = ConfigDict(extra='forbid')

    image: str = Field(description='ID of an uploaded image.')
    model: str = Field('', description='Name of a model; the first of the list by default.')
    mode: Literal['best', 'direct', 'tiles', 'fit'] = Field(
        BEST, description="How sizes other than the model's are restored."
    )
    fidelity: float = Field(MIDDLE, ge=0, le=1, allow_inf_nan=False, description=(
        "0: more of the bank, sharper; 0.5: the model's own result; 1: consistent with the input."))  # fmt: skip
    consistent: bool = Field(False, description='Make the result consistent with the input, by back-projection.')
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED, description="Of the noise; the model's own by default.")
    faces: bool = Field(False, description='Restore only the faces of a photo.')
    report: bool = Field(False, description='Compute out-of-distribution scores, too.')

    def choice(self, default: str) -> Choice:
        """For the restorers.

        Raises:
            RestoreError: If two options exclude each other.
        """
        fidelity, consistent = None if self.fidelity == MIDDLE else self.fidelity, STEPS if self.consistent else 0
        check_fidelity(fidelity, consistent)
        if self.faces and self.mode != BEST:
            raise RestoreError(f"Faces are brought to the model's size: leave the mode at {BEST!r}.")
        if self.faces and self.report:
            raise RestoreError('A report is about whole images that one model made: leave the report or the faces out.')
        mode = None if self.mode == BEST else self.mode
        return Choice(self.model or default, mode, fidelity, consistent, self.seed, self.faces)


@dataclass
class Image:
    """An uploaded image."""

    id: str
    width: int
    height: int


@dataclass
class JobState:
    """A job: waiting behind some others, running, done, failed or stopped; what it gave, or why not."""

    id: str
    state: State
    ahead: int
    progress: float
    error: str | None
    result: Result | None


@dataclass
class Model:
    """A model that can be chosen."""

    name: str
    about: str


@dataclass
class Info:
    """Models and limits of the server: sizes in bytes and pixels, times in seconds, and the scores of a report."""

    version: str
    models: list[Model]
    faces: bool
    max_upload: int
    max_pixels: int
    keep: float
    concurrency: int
    figures: dict[str, str]


@dataclass
class Error:
    """Why a request is refused."""

    error: str


def build(settings: Settings, jobs: Jobs) -> FastAPI:
    """The application, to be run by any ASGI server, in one process."""
    app = FastAPI(
        title='GLEAN', version=__version__, description=ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False,
        servers=[dict(url=settings.prefix or '/')], responses={'4XX': dict(model=Error), '5XX': dict(model=Error)},
    )  # fmt: skip
    app.add_exception_handler(RestoreError, lambda _, error: refusal(getattr(error, 'status', 422), sentence(error)))
    app.add_exception_handler(HTTPException, lambda _, error: refusal(error.status_code))
    app.add_exception_handler(RequestValidationError, lambda _, error: _invalid(error))
    _add_page(app, settings)
    _add_images(app, settings, jobs.store)
    _add_jobs(app, jobs)

    @app.get('/api/info', summary='Models and limits')
    def info() -> Info:
        offered = [Model(name, offer.about) for name, offer in jobs.restorers.offers.items()]
        return Info(
            __version__, offered, detectors.is_here(), settings.max_upload, settings.max_pixels, settings.keep,
            settings.concurrency, FIGURES,
        )  # fmt: skip

    app.add_middleware(Gate, settings=settings)
    return app


def _add_page(app: FastAPI, settings: Settings) -> None:
    page = (FOLDER / 'page.html').read_text(encoding='utf-8').replace('href="/"', f'href="{settings.prefix}/"', 1)
    assets = {name: (FOLDER / name).read_bytes() for name in ASSETS}

    @app.api_route('/', methods=['GET', 'HEAD'], include_in_schema=False)
    def index() -> Response:
        return Response(page, media_type='text/html')

    @app.get('/assets/{name}', include_in_schema=False)
    def asset(name: Literal['page.css', 'page.js', 'icon.svg']) -> Response:
        return Response(assets[name], media_type=ASSETS[name])


def _add_images(app: FastAPI, settings: Settings, store: Store) -> None:
    slots = asyncio.Semaphore(settings.queue)  # of open uploads
    seconds = GRACE + settings.max_upload / SLOWEST
    body = dict(required=True, content={'image/*': dict(schema=dict(type='string', format='binary'))})

    @app.post('/api/images', status_code=201, summary='Upload an image', openapi_extra=dict(requestBody=body))
    async def upload(
        request: Request,
        x_file_name: Annotated[str, Header(description='Name of the file, percent-encoded.')] = '',
    ) -> Image:
        """The body is the file: PNG, JPEG, WebP, TIFF or BMP."""
        length = request.headers.get('content-length')
        most = settings.max_upload if length is None else int(length)
        if most > settings.max_upload:
            raise _too_large(settings.max_upload)
        if slots.locked():
            raise Refused(503, 'Too many uploads are open: try again in a minute.')
        async with slots:
            entry = store.new(_stem(x_file_name))
            try:
                with store.writing(entry, most):
                    await asyncio.wait_for(_save(request, entry.folder / UPLOAD, settings.max_upload), seconds)
                width, height = await run_in_threadpool(look, entry.folder / UPLOAD, settings.max_pixels)
            except BaseException as error:
                store.remove(entry.key)
                if isinstance(error, asyncio.TimeoutError):
                    raise Refused(408, f'The upload is too slow: it has {seconds:.0f} seconds.') from error
                raise
        return Image(entry.key, width, height)

    @app.delete('/api/images/{key}', status_code=204, summary='Remove an uploaded image')
    def remove(key: str) -> None:
        store.remove(key)


def _add_jobs(app: FastAPI, jobs: Jobs) -> None:
    store, converting = jobs.store, asyncio.Lock()  # conversions are not queued, so they go one at a time

    @app.post('/api/jobs', status_code=202, summary='Restore an image')
    def submit(options: Annotated[Options, Query()]) -> JobState:
        """Puts a job into the queue."""
        return state_of(jobs.submit(options.image, options.choice(next(iter(jobs.restorers.offers))), options.report))

    @app.get('/api/jobs/{key}', summary='State and result of a job')
    async def state(
        request: Request, key: str,
        wait: Annotated[float, Query(ge=0, le=20, description='Seconds to wait for its end, at most.')] = 0,
    ) -> JobState:  # fmt: skip
        end = time.monotonic() + wait
        with store.using(key) as entry:
            job = _job(entry)
            while True:
                job.seen = time.monotonic()
                if job.ended or job.seen >= end or await request.is_disconnected():
                    return state_of(entry)
                await asyncio.sleep(TICK)

    @app.delete('/api/jobs/{key}', status_code=204, summary='Stop a job and remove its files')
    def cancel(key: str) -> None:
        with store.using(key) as entry:
            jobs.cancel(_job(entry))
        store.remove(key)

    @app.get('/api/jobs/{key}/{name}', summary='A file of a job', response_class=FileResponse)
    async def file(
        key: str, name: Literal['result.png', 'result.jpg', 'result.webp', 'before.png', 'heat.png'],
        save: Annotated[bool, Query(description='Answer as a download.')] = False,
    ) -> FileResponse:  # fmt: skip
        """The result, the input as it was read, or the heat map of the report."""
        with store.using(key) as entry:
            path = entry.folder / name
            if name.startswith('result'):
                async with converting:
                    path = await run_in_threadpool(converted, store, entry, path.suffix)
            elif not path.is_file():
                raise Refused(404, 'There is no such file.')
            kind = 'attachment' if save else 'inline'
            return FileResponse(path, filename=f'{entry.stem}_{name}', content_disposition_type=kind)

    def state_of(entry: Entry) -> JobState:
        job = _job(entry)
        return JobState(entry.key, job.state, jobs.ahead(job), job.progress, job.error, job.result)


def _job(entry: Entry) -> Job:
    """The job of an entry.

    Raises:
        Refused: If it is an upload.
    """
    if entry.job is None:
        raise Refused(404, 'This is an image, and no job.')
    return entry.job


async def _save(request: Request, path: Path, limit: int) -> None:
    """The body of a request -> a file; what is beyond the limit is not read.

    Raises:
        Refused: If it has more bytes than the limit.
        RestoreError: If it has none.
    """
    total = 0
    with open(path, 'wb') as file:
        async for chunk in request.stream():
            total += len(chunk)
            if total > limit:
                raise _too_large(limit)
            await run_in_threadpool(file.write, chunk)
    if not total:
        raise RestoreError('The file is empty.')


def _too_large(limit: int) -> Refused:
    return Refused(413, f'The file is too large: at most {shown_bytes(limit)} are allowed.')


def _invalid(error: RequestValidationError) -> JSONResponse:
    """The first fault of a request as a sentence; an unknown path is not found."""
    (place, *_, name), why = error.errors()[0]['loc'], error.errors()[0]['msg']
    return refusal(404) if place == 'path' else refusal(422, f'{name}: {why[:1].lower()}{why[1:]}.')


def _stem(header: str) -> str:
    """Stem of a file's name, without what is not harmless in one."""
    name = re.split(r'[\\/]', unquote(header))[-1]
    return re.sub(r'[^\w -]+', '_', Path(name).stem).strip('_ ')[:LONGEST_STEM] or 'image'
