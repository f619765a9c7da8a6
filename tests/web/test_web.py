"""`glean-plus web`: its limits, its temporary files, what it answers, and what nobody gets out of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from documents import DOCS, commands
from PIL import Image
from starlette.testclient import TestClient
from web_pages import Page, endless, served

from glean_plus import Restorer
from glean_plus.cli import main as command
from glean_plus.cli.main import main
from glean_plus.inference import RestoreError
from glean_plus.inference.faces import FaceRestorer, detectors
from glean_plus.inference.read import FIRST_FRAME, read
from glean_plus.utils.choices import DEFAULT_MODEL
from glean_plus.web import api as web_api
from glean_plus.web import jobs as web_jobs
from glean_plus.web import server as web_server
from glean_plus.web import store as web_store
from glean_plus.web.accept import look
from glean_plus.web.api import build
from glean_plus.web.errors import MEMORY, UNKNOWN, sentence
from glean_plus.web.gate import HEADERS
from glean_plus.web.jobs import Jobs
from glean_plus.web.restorers import Choice, Restorers, offers
from glean_plus.web.settings import Settings
from glean_plus.web.store import Store

from conftest import CONFIGS, ROOT
from image_files import SRGB, tiff
from small_restorers import generator_config, photo, write_checkpoint

SMALL = dict(device='cpu', max_upload=2**20, max_pixels=100_000, concurrency=2, queue=3)


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('model') / 'light.pth', generator_config(True))


@pytest.fixture(scope='module')
def page(model: Path) -> Iterator[Page]:
    with served(Settings(models=(str(model),), **SMALL)) as page:
        yield page


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(photo('astronaut', 24, 30)).save(tmp_path / 'in.png')
    return tmp_path / 'in.png'


def levels(content: bytes, tmp_path: Path) -> np.ndarray:
    """Of a file as a browser got it."""
    (tmp_path / 'got.png').write_bytes(content)
    return read(tmp_path / 'got.png').image


def connect(page: Page) -> socket.socket:
    host, _, port = page.address.removeprefix('http://').partition(':')
    return socket.create_connection((host, int(port)), timeout=60)


# What is restored


@pytest.mark.parametrize('options', [
    dict(), dict(mode='tiles'), dict(mode='fit'), dict(fidelity=0.2), dict(fidelity=0.8), dict(consistent=True),
    dict(seed=7),
])  # fmt: skip
def test_results_are_the_restorer_s(
    page: Page, model: Path, picture: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    got = levels(page.file(page.restore(picture, **options)), tmp_path)
    same = options | dict(consistent=5 * options.get('consistent', False))
    expected = Restorer(model, device='cpu', **same)
    np.testing.assert_array_equal(got, np.asarray(expected(picture)))
    if options:
        assert (got != np.asarray(Restorer(model, device='cpu')(picture))).any()


def test_documented_requests(page: Page, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's lines, by curl, on this server and with the keys that it gives."""
    if not shutil.which('curl'):
        pytest.skip('no curl here')
    monkeypatch.chdir(picture.parent)
    keys = {'http://127.0.0.1:7860': page.address}
    lines = [line for line in commands(DOCS / 'guides' / 'web.md') if line.startswith('curl ')]
    for line in lines:
        for said, given in keys.items():
            line = line.replace(said, given)
        done = subprocess.run(shlex.split(line) + ['-sS', '--fail'], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout or '{}')
        if 'id' in answer:
            keys.setdefault('JOB' if 'state' in answer else 'IMAGE', answer['id'])
    assert len(lines) == 5 and Image.open('out.png').size[0] > Image.open(picture).size[0]


def test_no_visitor_makes_it_download_a_detector(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restorers = Restorers(Settings(models=(str(model),), **SMALL))
    monkeypatch.setattr(detectors, 'is_here', lambda: False)
    with pytest.raises(RestoreError, match='No detector of faces is here'), restorers.of(Choice('light', faces=True)):
        pass


def test_faces_are_restored_alone(page: Page, model: Path, tmp_path: Path) -> None:
    Image.fromarray(photo('astronaut', 200, 200, 0, 120)).save(tmp_path / 'face.png')
    job = page.restore(tmp_path / 'face.png', faces=True)
    assert job['result']['faces'] == 1
    expected = np.asarray(FaceRestorer(Restorer(model, device='cpu'))(tmp_path / 'face.png'))
    np.testing.assert_array_equal(levels(page.file(job), tmp_path), expected)


def test_report_and_facts(page: Page, picture: Path) -> None:
    job = page.restore(picture, report=True)
    result = job['result']
    assert result['report']['noise_spread'] > 0 and 'no bounds are known' in result['report']['verdict']
    assert result['before'] == [30, 24] and result['after'] == [60, 48] and result['lr_psnr'] > 0
    assert result['files'] == ['before.png', 'result.png', 'result.jpg', 'result.webp', 'heat.png']
    assert Image.open(io.BytesIO(page.file(job, 'heat.png'))).size == (60, 48)
    before = np.asarray(Image.open(io.BytesIO(page.file(job, 'before.png'))))
    np.testing.assert_array_equal(before, np.asarray(Image.open(picture)))


def test_sixteen_bits_and_transparency_are_downloaded(page: Page, model: Path, tmp_path: Path) -> None:
    import cv2

    deep = (photo('coffee', 20, 20).astype(np.uint16) * 257)[..., ::-1]
    opacity = np.full((20, 20, 1), 30000, np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), np.concatenate([deep, opacity], axis=2))
    job = page.restore(tmp_path / 'deep.png')
    got = levels(page.file(job), tmp_path)
    assert got.dtype == np.uint16 and got.shape == (40, 40, 4)
    np.testing.assert_array_equal(got, Restorer(model, device='cpu')(tmp_path / 'deep.png'))
    assert job['result']['files'] == ['before.png', 'result.png']
    assert job['result']['lost'] == ['JPEG has no 16 bits.', 'WEBP has no 16 bits.']

    Image.fromarray(photo('coffee', 20, 20)).convert('RGBA').save(tmp_path / 'clear.png')
    job = page.restore(tmp_path / 'clear.png')
    assert job['result']['files'] == ['before.png', 'result.png', 'result.webp']
    assert job['result']['lost'] == ['JPEG has no transparency.']
    assert Image.open(io.BytesIO(page.file(job, 'result.webp'))).format == 'WEBP'
    refused = page.client.get(f'/api/jobs/{job["id"]}/result.jpg')
    assert refused.status_code == 404 and 'no transparency' in refused.json()['error']


def test_downloads_have_the_format_and_name(page: Page, picture: Path) -> None:
    key = page.upload(picture.read_bytes(), '../../Großer "Kuchen"\n.png').json()['id']
    job = page.outcome(page.call(key))
    result = np.asarray(Image.open(io.BytesIO(page.file(job))))
    for ending, kind in (('png', 'PNG'), ('jpg', 'JPEG'), ('webp', 'WEBP')):
        answer = page.client.get(f'/api/jobs/{job["id"]}/result.{ending}', params=dict(save=True))
        image, expected = Image.open(io.BytesIO(answer.content)), io.BytesIO()
        Image.fromarray(result).save(expected, kind, quality=95, subsampling=0)
        assert image.format == kind
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(expected)))
        assert answer.headers['content-disposition'].startswith('attachment')
        assert f'Gro%C3%9Fer%20_Kuchen_result.{ending}' in answer.headers['content-disposition']
        assert answer.headers['cache-control'] == 'private, no-store'


# What is refused


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes whose header tells this size."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


@pytest.mark.parametrize('content, status, words', [
    (b'', 422, 'The file is empty.'), (b'no image', 422, 'no image in a known format'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 422, 'no image in a known format'),
    (bomb(40_000, 40_000), 422, '40000 x 40000 pixels'),
    (bomb(2000, 1000), 422, '2000 x 1000 pixels, and at most 100000'),
    (bomb(10, 10)[:20], 422, 'header cannot be read'), (b'x' * (2**20 + 1), 413, 'at most 1 MB'),
])  # fmt: skip
def test_uploads_are_refused_in_a_sentence(page: Page, content: bytes, status: int, words: str) -> None:
    before = {*page.jobs.store.folder.iterdir()}
    answer = page.upload(content)
    assert answer.status_code == status and words in answer.json()['error'] and answer.json()['error'].endswith('.')
    assert {*page.jobs.store.folder.iterdir()} == before


def test_what_is_beyond_the_limit_is_not_read(page: Page) -> None:
    """The body comes in chunks that tell no length; the answer is there long before its end would be."""
    chunk, pending, sent, answer = b'10000\r\n' + b'x' * 2**16 + b'\r\n', b'', 0, b''
    with connect(page) as connection:
        connection.sendall(b'POST /api/images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n')
        connection.setblocking(False)
        while not answer:
            assert sent < 25e6, 'the server reads on'
            readable, writable, _ = select.select([connection], [connection], [], 60)
            assert readable or writable, 'the server does not answer'
            if readable:
                answer = connection.recv(2000)
                assert answer, 'the server has hung up'
            else:
                pending = pending or chunk
                with contextlib.suppress(ConnectionError):  # closed just now: the answer is there
                    count = connection.send(pending)
                    pending, sent = pending[count:], sent + count
    assert b'413' in answer.split(b'\r\n')[0]


def test_failures_of_a_restoration_are_sentences(page: Page, picture: Path, tmp_path: Path) -> None:
    (tmp_path / 'cut.png').write_bytes(picture.read_bytes()[:400])
    for path, options, words in (
        (tmp_path / 'cut.png', {}, 'cannot be restored: it is broken'),
        (picture, dict(model='lightglean_twemoji_5x'), "model 'lightglean_twemoji_5x' is not here"),
        (picture, dict(model='/etc/passwd'), UNKNOWN),
        (picture, dict(model='lightglean_twemoji_color', consistent=True), 'Colorization keeps the lightness'),
    ):
        job = page.outcome(page.call(page.image(path), **options))
        assert job['state'] == 'failed' and words in job['error'] and job['result'] is None, (options, job)


def test_the_first_frame_of_an_animation_is_restored_which_is_said(page: Page, tmp_path: Path) -> None:
    frames = [Image.new('L', (4, 4), level) for level in (0, 200)]
    for name in ('moving.gif', 'moving.webp', 'moving.png'):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        job = page.outcome(page.call(page.image(tmp_path / name)))
        assert job['state'] == 'done' and job['result']['before'] == [4, 4], job
        assert job['result']['notes'] == [f'{FIRST_FRAME[:1].upper()}{FIRST_FRAME[1:]}.']


def test_wrong_options_are_refused_in_a_sentence(page: Page, picture: Path) -> None:
    key = page.image(picture)
    for options, words in (
        (dict(fidelity=3), 'fidelity: input should be less than or equal to 1.'),
        (dict(fidelity='nan'), 'fidelity: input should be'),
        (dict(fidelity='much'), 'fidelity: input should be a valid number'),
        (dict(seed=-1), 'seed: input should be greater than or equal to 0.'),
        (dict(seed=3_000_000_000), 'seed: input should be less than or equal to 2147483647.'),
        (dict(mode='wild'), "mode: input should be 'best', 'direct', 'tiles' or 'fit'."),
        (dict(speed='exact'), 'speed: extra inputs are not permitted.'),
        (dict(consistent=True, fidelity=0.9), 'give one of them'),
        (dict(faces=True, report=True), 'leave the report or the faces out'),
        (dict(faces=True, mode='tiles'), "leave the mode at 'best'"),
    ):
        refused = page.call(key, **options)
        assert refused.status_code == 422 and words in refused.json()['error'], (options, refused.text)
    for missing in ('', '../etc', 'x' * 22):
        refused = page.call(missing)
        assert refused.status_code == 404 and 'one stays 30 minutes' in refused.json()['error']
    job = page.restore(picture)
    assert page.call(job['id']).status_code == 404  # the key of a result
    assert page.client.get(f'/api/jobs/{key}').status_code == 404  # and of an image
    refused = page.client.post('/api/jobs')
    assert refused.status_code == 422 and refused.json()['error'] == 'image: field required.'


def test_memory_and_surprises_are_sentences(caplog: pytest.LogCaptureFixture) -> None:
    assert sentence(MemoryError()) == MEMORY
    assert sentence(RuntimeError('DefaultCPUAllocator: not enough memory: you tried to allocate memory')) == MEMORY
    assert sentence(RestoreError('it is broken: no end')) == 'This image cannot be restored: it is broken: no end.'
    for error in (RestoreError('/home/me/a.json holds no bounds'), KeyError('x'), RestoreError("see '/a/b'"),
                  RestoreError('in C:\\models\\a.pth')):  # fmt: skip
        assert sentence(error) == UNKNOWN
    assert 'holds no bounds' in caplog.text


# What nobody gets


CLOSED = [
    '/file=/etc/passwd', '/assets/../../../../../etc/passwd', '/assets/..%2f..%2f..%2f..%2fetc/passwd',
    '/assets//etc/passwd', '/assets/%2e%2e/%2e%2e/api.py', '/assets/..%2fapi.py', '/assets/..\\..\\api.py', '/assets',
    '/assets/page.html', '/assets/api.py', '/api', '/api/jobs/../../etc/passwd', '/api/jobs/%2e%2e/%2e%2e/etc/passwd',
    '/api/jobs/x/..%2f..%2fupload', '/api/images', '/api/jobs/KEY/upload', '/api/jobs/KEY/..%2fupload',
    '/api/jobs/KEY/leak.png', '/api/jobs/KEY/link.png', '/api/jobs/KEY/before.png%00', '/api/jobs/KEY/result.png',
    '/api/images/KEY/upload', '/docs', '/redoc', '/openapi.yaml', '/login', '/manifest.json', '/..', '/nothing',
]  # fmt: skip


def raw(page: Page, method: str, path: str, body: bytes = b'', **headers: str) -> tuple[int, bytes]:
    """As it is typed: a client would tidy the path."""
    lines = {'Host': page.address.removeprefix('http://'), 'Connection': 'close', 'Content-Length': str(len(body))}
    lines |= {name.replace('_', '-'): value for name, value in headers.items()}
    with connect(page) as connection:
        head = ''.join(f'{name}: {value}\r\n' for name, value in lines.items())
        connection.sendall(f'{method} {path} HTTP/1.1\r\n{head}\r\n'.encode() + body)
        answer = b''.join(iter(lambda: connection.recv(2**16), b''))
    return int(answer.split(b' ', 2)[1]), answer


def has_path(page: Page, answer: bytes) -> bool:
    """Whether an answer tells where something is on the server."""
    places = {str(ROOT), str(page.jobs.store.folder), sys.prefix, str(Path(httpx.__file__).parents[1])}
    places |= {os.path.expanduser('~'), 'site-packages', 'root:x:0', 'Traceback'}
    places |= {str(Path(given).parent) for given in page.settings.models}
    return any(place.encode() in answer for place in places if place != '/')


def test_nothing_of_the_server_is_read(page: Page, picture: Path) -> None:
    key = page.image(picture)
    folder = page.jobs.store.folder / key
    (folder / 'leak.png').write_bytes(b'secret')
    (folder / 'link.png').symlink_to('/etc/passwd')
    for path in CLOSED:
        for method in ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'):
            if (method, path) == ('POST', '/api/images'):
                continue
            status, answer = raw(page, method, path.replace('KEY', key))
            assert status in (400, 404, 405) and b'secret' not in answer, (method, path)
            assert not has_path(page, answer) and is_guarded(answer), (method, path)
    assert (folder / 'upload').is_file()


def is_guarded(answer: bytes) -> bool:
    """Whether it has the headers of security, once each."""
    head = answer.partition(b'\r\n\r\n')[0].decode().lower().split('\r\n')
    return all(head.count(f'{name}: {value}'.lower()) == 1 for name, value in HEADERS.items())


def test_no_answer_names_a_place_on_the_server(page: Page, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [page.client.get(path) for path in ('/', '/api/info', '/openapi.json', '/assets/page.js')]
    assert all(answer.status_code == 200 for answer in answers)
    called = page.call(page.image(picture), report=True)
    answers += [called, page.client.get(f'/api/jobs/{page.outcome(called)["id"]}'), page.upload(b'x', '/etc/passwd')]
    for method in ('GET', 'POST', 'DELETE'):
        answers += [page.client.request(method, f'/api/jobs/{name}') for name in ('x', "'; drop", '%00')]
    monkeypatch.setattr('glean_plus.web.api.look', lambda *_: (_ for _ in ()).throw(OSError(f'no {ROOT}')))
    answers.append(page.upload(picture.read_bytes()))
    for answer in answers:
        assert not has_path(page, answer.content + str(answer.headers).encode()), answer.text[:300]
        if answer.status_code >= 400:
            assert answer.json()['error'].endswith('.')
    assert answers[-1].status_code == 500 and answers[-1].json()['error'] == UNKNOWN
    assert {200, 202, 404, 405, 422, 500} == {answer.status_code for answer in answers}


def test_other_pages_and_names_are_sent_away(page: Page, picture: Path) -> None:
    """A page elsewhere can neither post to this one, nor reach it by a name of its own that leads here."""
    content, host = picture.read_bytes(), page.address.removeprefix('http://')
    assert raw(page, 'POST', '/api/images', content, Origin=page.address)[0] == 201
    for origin in ('https://evil.example', 'null', 'http://localhost:1', '', ' ', 'http://', 'http://[', 'x' * 5000,
                   f'{page.address}/', f'{page.address}@evil.example', f'{page.address}, https://evil.example',
                   page.address.replace('http', 'file')):  # fmt: skip
        status, answer = raw(page, 'POST', '/api/images', content, Origin=origin)
        assert status == 403 and is_guarded(answer) and b'"error":' in answer, origin
    for name in ('evil.example', '127.0.0.1.evil.example', 'localhost.evil:1', '[::2]'):
        status, answer = raw(page, 'GET', '/', Host=name)
        assert status == 421 and is_guarded(answer), name
    for name in ('', ' ', '[', '[::1', ']:', '::1', 'a b', 'localhost:', 'localhost:x', 'localhost:999999', '\xff',
                 'user@localhost', 'localhost/x', f'{host}, {host}', '\x00', 'localhost\x0b'):  # fmt: skip
        status, answer = raw(page, 'GET', '/', Host=name)
        assert status == 400 and is_guarded(answer) and b'"error":' in answer, name
    assert raw(page, 'GET', '/', Host=host.replace('127.0.0.1', 'localhost'))[0] == 200
    assert raw(page, 'GET', '/', Host='[::1]:80')[0] == 200
    upgrade = dict(Connection='Upgrade, close', Upgrade='websocket', Sec_WebSocket_Key='eHg=')
    assert raw(page, 'GET', '/api/stream', **upgrade)[0] == 404


@pytest.mark.parametrize('request_', [
    b'GET / HTTP/1.1\r\n\r\n', b'GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n', b'nonsense\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: localhost\r\nBad header\r\n\r\n', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
    b'GET / HTTP/1.0\r\n\r\n',
    b'POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n',
    b'POST /api/images HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
], ids=['no host', 'two hosts', 'no HTTP', 'no header', 'TLS', 'HTTP 1.0', 'length', 'chunk'])  # fmt: skip
def test_what_is_no_http_is_refused_with_all_headers(page: Page, request_: bytes) -> None:
    with connect(page) as connection:
        connection.sendall(request_)
        answer = b''.join(iter(lambda: connection.recv(2**16), b''))
    assert answer.startswith(b'HTTP/1.1 400 ') and is_guarded(answer) and b'{"error":' in answer


def test_the_page_asks_nobody_elsewhere(page: Page) -> None:
    for path in ('/', '/assets/page.css', '/assets/page.js', '/assets/icon.svg'):
        text = page.client.get(path).text.replace('xmlns="http://www.w3.org/2000/svg"', '')
        assert not re.findall(r'(?:https?:)?//[\w-]+\.\w+', text), path
    text = page.client.get('/').text
    assert not re.findall(r'<script(?![^>]* src="assets/)|<style|\son\w+=|\sstyle=|javascript:', text)
    policy = dict(each.strip().split(' ', 1) for each in HEADERS['content-security-policy'].split(';'))
    assert policy['default-src'] == "'none'" and policy['script-src'] == policy['style-src'] == "'self'"


def test_api_is_described(page: Page, model: Path) -> None:
    schema = page.client.get('/openapi.json').json()
    assert {path: {*methods} for path, methods in schema['paths'].items()} == {
        '/api/info': {'get'}, '/api/images': {'post'}, '/api/images/{key}': {'delete'}, '/api/jobs': {'post'},
        '/api/jobs/{key}': {'get', 'delete'}, '/api/jobs/{key}/{name}': {'get'},
    }  # fmt: skip
    assert 'image/*' in schema['paths']['/api/images']['post']['requestBody']['content']
    options = {each['name'] for each in schema['paths']['/api/jobs']['post']['parameters']}
    assert options == {'image', 'model', 'mode', 'fidelity', 'consistent', 'seed', 'faces', 'report'}
    info = page.client.get('/api/info').json()
    assert info['models'][0] == dict(name='light', about='added by the operator')
    assert (info['max_upload'], info['max_pixels'], info['keep']) == (2**20, 100_000, 1800)


def test_a_proxy_shows_it_elsewhere(page: Page, picture: Path) -> None:
    for root_path, host in (('https://example.org/restore', 'example.org'), ('/restore', '127.0.0.1')):
        app = build(Settings(root_path=root_path, **SMALL), page.jobs)
        with TestClient(app, base_url=f'https://{host}') as client:
            for prefix in ('', '/restore'):  # as the proxy hands it on
                assert '<base href="/restore/">' in client.get(f'{prefix}/').text
                assert client.get(f'{prefix}/assets/page.js').status_code == 200
                answer = client.post(f'{prefix}/api/images', content=picture.read_bytes(),
                                     headers={'Origin': f'https://{host}'})  # fmt: skip
                assert answer.status_code == 201
                job = client.post(f'{prefix}/api/jobs', params=dict(image=answer.json()['id'])).json()
                assert client.get(f'{prefix}/api/jobs/{job["id"]}?wait=20').json()['state'] == 'done'
                assert client.get(f'{prefix}/api/jobs/{job["id"]}/result.png').status_code == 200
            assert client.get('/openapi.json').json()['servers'][0]['url'] == '/restore'


# Several users


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Restorations wait at their first step; gives how many do. They go on at the end."""
    go_on, running, restore = threading.Event(), [], web_jobs.restore

    def slow(*arguments: Any) -> Any:
        running.append(1)
        assert go_on.wait(30)
        try:
            return restore(*arguments)
        finally:
            running.pop()

    monkeypatch.setattr(web_jobs, 'restore', slow)
    try:
        yield running
    finally:
        go_on.set()


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_users_wait_their_turn_and_get_their_own(
    page: Page, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are restored at a time, three wait, and one more is sent away."""
    paths = []
    for i in range(5):
        paths.append(tmp_path / f'{i}.png')
        Image.fromarray(photo('coffee', 20, 20 + 2 * (i % 2), 10 * i)).save(paths[-1])
    with held(monkeypatch) as running:
        calls = [page.call(page.image(path)) for path in paths[:2]]
        until(lambda: len(running) == 2)
        calls += [page.call(page.image(path)) for path in paths[2:]]
        full = page.call(page.image(paths[0]))
        assert full.status_code == 503 and 'Too many images are waiting' in full.json()['error']
        states = [page.client.get(f'/api/jobs/{called.json()["id"]}').json() for called in calls]
        assert [state['state'] for state in states] == ['running'] * 2 + ['waiting'] * 3 and len(running) == 2
        assert [state['ahead'] for state in states] == [0, 0, 2, 3, 4]
    jobs = [page.outcome(called) for called in calls]
    assert len({job['id'] for job in jobs}) == 5
    restorer = Restorer(model, device='cpu')
    for path, job in zip(paths, jobs):
        np.testing.assert_array_equal(levels(page.file(job), tmp_path), np.asarray(restorer(path)))


# Clients that leave, or never end


@pytest.mark.parametrize('leaves', ['silent', 'delete', 'mid-wait'])
def test_a_restoration_stops_when_its_client_has_left(
    page: Page, picture: Path, leaves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = endless(monkeypatch)
    key = page.call(page.image(picture)).json()['id']
    place, entry = f'/api/jobs/{key}', page.jobs.store._entries[key]
    assert begun.wait(60)
    if leaves == 'silent':
        assert page.client.get(place).json()['state'] == 'running'
    else:
        asked = time.monotonic()
        with connect(page) as connection:
            connection.sendall(f'GET {place}?wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
            until(lambda: entry.users == 2)  # the job and the request
            for _ in range(3):  # a client that waits is seen again and again
                until(lambda seen=entry.job.seen: entry.job.seen > seen)
            if leaves == 'delete':
                assert not ended.is_set()
                assert page.client.delete(place).status_code == 204
                assert page.client.get(place).status_code == 404
        until(lambda: entry.users <= 1)
        assert entry.job.seen < asked + 20  # the request has ended before its time
    if leaves != 'delete':
        assert not ended.is_set()
        entry.job.seen -= web_jobs.LEFT
    assert ended.wait(60)
    if leaves != 'delete':
        until(lambda: entry.job.ended)
        job = page.client.get(place).json()
        assert job['state'] == 'stopped' and 'restore the image again' in job['error']


def test_jobs_of_clients_that_have_left_wait_for_nothing(
    page: Page, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = page.image(picture)
    with held(monkeypatch) as running:
        calls = [page.call(image) for _ in range(2)]
        until(lambda: len(running) == 2)
        waiting = [page.call(image).json()['id'] for _ in range(3)]
        assert page.call(image).status_code == 503
        assert page.client.delete(f'/api/jobs/{waiting[0]}').status_code == 204
        calls.append(page.call(image))
        assert calls[-1].status_code == 202 and page.call(image).status_code == 503
        page.jobs.store._entries[waiting[1]].job.seen -= 60
        calls.append(page.call(image))
        assert calls[-1].status_code == 202
        assert page.client.get(f'/api/jobs/{waiting[1]}').json()['state'] == 'stopped'
    assert [page.outcome(called)['state'] for called in calls] == ['done'] * 4


class Upload:
    """An upload that stays open."""

    def __init__(self, page: Page, length: int | None) -> None:
        body = 'Transfer-Encoding: chunked' if length is None else f'Content-Length: {length}'
        self.connection = connect(page)
        self.connection.sendall(
            f'POST /api/images HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{body}\r\n\r\n'.encode()
        )

    def answer(self) -> bytes:
        with self.connection:
            return b''.join(iter(lambda: self.connection.recv(2**16), b''))


def test_open_uploads_count_and_are_few(model: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_api, 'GRACE', 600)  # none is cut off
    settings = Settings(models=(str(model),), device='cpu', max_upload=2**20, max_store=5 * 2**20, queue=8)
    with served(settings) as page:
        store = page.jobs.store
        large = [Upload(page, length) for length in (None, 2**20, None, 2**20)]
        until(lambda: store.size() >= 4 * 2**20)
        assert Upload(page, None).answer().startswith(b'HTTP/1.1 507 ')  # no room is left for a megabyte
        few = [Upload(page, 10) for _ in range(4)]
        until(lambda: store.size() > 4 * 2**20 + 8 * web_store.LEAST)
        refused = page.upload(picture.read_bytes())
        assert refused.status_code == 503 and 'Too many uploads are open' in refused.json()['error']
        for upload in large + few:
            upload.connection.close()
        until(lambda: store.size() == 0)
        assert page.upload(picture.read_bytes()).status_code == 201


def test_slow_uploads_are_cut_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_api, 'GRACE', 0.5)
    monkeypatch.setattr(web_api, 'SLOWEST', 2**40)
    with served(Settings(models=(str(model),), **SMALL)) as page:
        for upload in [Upload(page, length) for length in (None, 2**20, 10)]:
            answer = upload.answer()
            assert answer.startswith(b'HTTP/1.1 408 ') and is_guarded(answer) and b'too slow' in answer
        assert page.jobs.store.size() == 0


def test_results_have_room_before_they_are_written(page: Page, picture: Path, tmp_path: Path) -> None:
    store, limit = page.jobs.store, page.jobs.store.limit
    key = page.image(picture)
    try:
        store.limit = store.size() + web_store.LEAST + 20_000  # its result has 60 x 48 pixels, of 3 bytes
        job = page.outcome(page.call(key))
        assert job['state'] == 'failed' and 'The server holds as many images as it may' in job['error']
        assert not [*(store.folder / job['id']).iterdir()]
    finally:
        store.limit = limit
    job = page.restore(picture)
    entry = store._entries[job['id']]
    assert entry.room == web_store.LEAST + sum(file.stat().st_size for file in entry.folder.iterdir())


# Temporary files


def test_files_go_after_their_time(picture: Path) -> None:
    store = Store(keep=4, limit=10**6)  # swept each second
    try:
        assert store.folder.stat().st_mode & 0o777 == 0o700
        old, used = store.new('a'), store.new('b')
        with store.using(used.key):
            with store.writing(old, 10**5):
                (old.folder / 'upload').write_bytes(picture.read_bytes())
            old.used, used.used = old.used - 4, used.used - 4
            until(lambda: not old.folder.exists())
            assert used.folder.is_dir()
            with pytest.raises(RestoreError, match='Choose it again'), store.using(old.key):
                pass
            with store.writing(used, 10**6 - web_store.LEAST):
                with pytest.raises(RestoreError, match='as many images as it may'):
                    store.new('c')
                (used.folder / 'upload').write_bytes(bytes(10**5))
            assert store.size() == web_store.LEAST + 10**5
            with pytest.raises(RestoreError, match='choose a smaller image'), store.writing(used, 10**6 + 1):
                pass
    finally:
        store.close()
    assert not store.folder.exists()


def test_results_go_with_their_time(page: Page, picture: Path) -> None:
    job = page.restore(picture)
    page.jobs.store._entries[job['id']].used -= page.jobs.store.keep
    page.jobs.store.sweep()
    for place in (f'/api/jobs/{job["id"]}', f'/api/jobs/{job["id"]}/result.png'):
        gone = page.client.get(place)
        assert gone.status_code == 404 and 'one stays 30 minutes' in gone.json()['error']


def test_images_are_removed(page: Page, picture: Path) -> None:
    key, other = page.image(picture), page.image(picture)
    assert page.client.delete(f'/api/images/{key}').status_code == 204
    assert page.call(key).status_code == 404 and not (page.jobs.store.folder / key).exists()
    assert page.outcome(page.call(other))['state'] == 'done'


def test_what_killed_servers_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    dead, alive = tmp_path / f'{web_store.PREFIX}{ended.pid}.x', tmp_path / f'{web_store.PREFIX}{os.getppid()}.x'
    other = tmp_path / f'{web_store.PREFIX}notes.x'
    for folder in (dead, alive, other):
        folder.mkdir()
    Store(60, 10**6).close()
    assert not dead.exists() and alive.exists() and other.exists()


# The command


def test_every_option_does_something(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    built = {}

    class Quiet:
        should_exit = False

        def run(self, sockets: list[socket.socket]) -> None:
            built['address'] = sockets[0].getsockname()

    def kept(settings: Settings, jobs: Jobs) -> Any:
        built.update(settings=settings, jobs=jobs, store=jobs.store, restorers=jobs.restorers)

    monkeypatch.setattr(web_server, 'build', kept)
    monkeypatch.setattr(web_server, 'server_of', lambda app: Quiet())
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main([
            'web', '--host', '0.0.0.0', '--port', '0', '--model', str(model), '--device', 'cpu', '--precision', 'bf16',
            '--speed', 'folded', '--max-upload', '3M', '--max-pixels', '50K', '--max-memory', '1G', '--max-store', '9M',
            '--concurrency', '3', '--queue', '5', '--keep', '2', '--root-path', 'https://example.org/x/',
        ]) == 0  # fmt: skip
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().err
    assert 'Warning: at 0.0.0.0 everybody' in said and f':{built["address"][1]}/' in said
    assert built['settings'] == Settings(
        '0.0.0.0', 0, 'https://example.org/x', (str(model),), 'cpu', 'bf16', 'folded', 3 * 2**20, 50_000, 2**30,
        9 * 2**20, 3, 5, 120.0,
    )  # fmt: skip
    assert built['store'].keep == 120 and built['store'].limit == 9 * 2**20 and not built['store'].folder.exists()
    assert len(built['jobs']._threads) == 3 and built['jobs'].queue == 5
    with built['restorers'].of(Choice('light')) as restorer:
        facts = restorer.run_facts()
        about = restorer.about_facts()
    assert (facts['precision'], facts['speed'], facts['max_memory']) == ('bfloat16', 'folded', 2**30)
    assert about['device'] == 'cpu' and about['checkpoint'] == str(model)


@pytest.mark.parametrize('arguments, words', [
    (('--model', 'nowhere.pth'), 'there is no file nowhere.pth'), (('--max-pixels', 'many'), '--max-pixels is a'),
    (('--max-upload', 'much'), '--max-upload is a number'), (('--max-store', '30M'), '--max-store holds two uploads'),
    (('--concurrency', '0'), '1 or more'), (('--queue', '0'), '1 or more'), (('--keep', '0'), 'more than 0 minutes'),
    (('--port', '70000'), '--port is 0 to 65535'), (('--host', '203.0.113.1'), 'choose another --host'),
    (('--root-path', 'javascript:x'), '--root-path is a path'), (('--device', 'cuda:77'), 'cannot be used'),
    (('--model', 'BROKEN'), 'no PyTorch file'),
])  # fmt: skip
def test_wrong_calls_are_sentences(
    arguments: tuple[str, ...], words: str, capsys: Any, tmp_path: Path
) -> None:
    (tmp_path / 'broken.pth').write_bytes(b'no checkpoint')
    before = signal.getsignal(signal.SIGTERM)
    try:
        given = [str(tmp_path / 'broken.pth') if each == 'BROKEN' else each for each in arguments]
        assert main(['web', '--port', '0', *given]) == command.WRONG
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().err
    assert words in said and 'Traceback' not in said


def test_a_port_that_is_taken(page: Page, capsys: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(['web', '--port', page.address.rpartition(':')[2]]) == command.WRONG
    finally:
        signal.signal(signal.SIGTERM, before)
    assert 'choose another --host or --port' in capsys.readouterr().err


def test_models_are_those_that_are_here(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path / 'cache'))
    names = [*offers((str(model),))]
    shipped = {path.stem for path in (CONFIGS / 'weights').glob('*glean*.safetensors')}
    assert names[:2] == ['light', DEFAULT_MODEL] and {*names[1:]} == shipped and len(names) == len(shipped) + 1
    with pytest.raises(RestoreError, match='Two models are named light'):
        offers((str(model), str(shutil.copy(model, tmp_path))))
    own = Path(shutil.copy(model, tmp_path / 'own.pth'))
    restorers = Restorers(Settings(models=(str(own),), device='cpu'))
    own.unlink()
    with pytest.raises(RestoreError, match="'own' is not here"), restorers.of(Choice('own', seed=1)):
        pass


def test_header_is_believed_before_anything_is_decoded(tmp_path: Path) -> None:
    for name, kind in (('a.png', 'PNG'), ('a.jpg', 'JPEG'), ('a.webp', 'WEBP'), ('a.tif', 'TIFF'), ('a.bmp', 'BMP')):
        Image.new('RGB', (30, 20)).save(tmp_path / name, kind)
        assert look(tmp_path / name, 600) == (30, 20)
        with pytest.raises(RestoreError, match='30 x 20 pixels, and at most 599'):
            look(tmp_path / name, 599)


def test_size_of_what_is_damaged_beside_the_pixels(tmp_path: Path) -> None:
    Image.new('RGB', (30, 20)).save(tmp_path / 'x.png', dpi=(72, 72))
    data = bytearray((tmp_path / 'x.png').read_bytes())
    data[data.index(b'pHYs') + 13] ^= 0xFF
    opacity = tiff(np.random.default_rng(0), 1, 16, (2,))  # which PIL does not know
    for content, size in ((data, (30, 20)), (opacity, (9, 6))):
        (tmp_path / 'x').write_bytes(content)
        assert look(tmp_path / 'x', 600) == size
    for content in (data[:20], b'II*\0', b'\xff\xd8\xff'):
        (tmp_path / 'x').write_bytes(content)
        with pytest.raises(RestoreError, match='The image (cannot be read|is broken)'):
            look(tmp_path / 'x', 600)


def test_what_is_shown_and_downloaded_has_the_profile(page: Page, tmp_path: Path) -> None:
    Image.fromarray(photo('astronaut', 24, 30)).save(tmp_path / 'in.jpg', icc_profile=SRGB)
    job = page.restore(tmp_path / 'in.jpg')
    assert len(job['result']['files']) == 4 and job['result']['notes'] == []
    for name in job['result']['files']:
        assert Image.open(io.BytesIO(page.file(job, name))).info['icc_profile'] == SRGB, name
    Image.fromarray(photo('astronaut', 24, 30)).save(tmp_path / 'in.jpg', icc_profile=b'none')
    (note,) = page.restore(tmp_path / 'in.jpg')['result']['notes']
    assert note.startswith('Its colour profile is broken')


def test_a_server_that_is_ended_leaves_nothing(
    model: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """SIGTERM, while somebody waits for an image to be restored, which would take for ever."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    busy, stopped = endless(monkeypatch)
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    seen = []

    def visit() -> None:
        address = f'http://127.0.0.1:{port}'
        for _ in range(200):
            try:
                answer = httpx.post(f'{address}/api/images', content=picture.read_bytes(), timeout=20)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        (folder,) = tmp_path.glob(f'{web_store.PREFIX}*')
        key = answer.json()['id']
        seen.append((folder / key / 'upload').is_file())
        job = httpx.post(f'{address}/api/jobs', params=dict(image=key), timeout=20).raise_for_status().json()
        seen.append(busy.wait(20))
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        seen.append(time.monotonic())
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f'{address}/api/jobs/{job["id"]}', params=dict(wait=20), timeout=30)

    before, visitor = signal.getsignal(signal.SIGTERM), threading.Thread(target=visit)
    try:
        visitor.start()
        with pytest.raises(SystemExit) as ended:
            main(['web', '--port', str(port), '--model', str(model), '--device', 'cpu'])
        took = time.monotonic() - seen.pop()
    finally:
        visitor.join()
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == web_server.TERMINATED and seen == [True, True] and stopped.is_set()
    assert took < 15  # and not the 20 seconds that the visitor waits
    assert f'http://127.0.0.1:{port}/' in capsys.readouterr().err and not [*tmp_path.glob(f'{web_store.PREFIX}*')]
