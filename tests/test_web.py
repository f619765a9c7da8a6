"""`glean-plus web`: its limits, its temporary files, what it answers, and what nobody gets out of it."""

from __future__ import annotations

import io
import os
import re
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from web_pages import DEFAULTS, Page, served

from glean_plus import Restorer
from glean_plus.cli import main as command
from glean_plus.cli.main import main
from glean_plus.inference import RestoreError
from glean_plus.inference.faces import FaceRestorer, detectors
from glean_plus.inference.read import read
from glean_plus.utils.choices import DEFAULT_MODEL
from glean_plus.web import page as web_page
from glean_plus.web import server as web_server
from glean_plus.web import store as web_store
from glean_plus.web.accept import look
from glean_plus.web.errors import MEMORY, UNKNOWN, sentence
from glean_plus.web.restorers import Choice, Restorers, offers
from glean_plus.web.server import build
from glean_plus.web.settings import Settings
from glean_plus.web.store import Store

from conftest import ROOT
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


# What is restored


@pytest.mark.parametrize('options', [
    dict(), dict(mode='tiles'), dict(mode='fit'), dict(fidelity=0.2), dict(fidelity=0.8), dict(consistent=True),
    dict(seed='7'),
])  # fmt: skip
def test_results_are_the_restorer_s(
    page: Page, model: Path, picture: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    got = levels(page.file(page.restore(picture, **options)), tmp_path)
    same = options | {key: int(options[key]) for key in {'seed'} & {*options}}
    expected = Restorer(model, device='cpu', **(same | dict(consistent=5 * options.get('consistent', False))))
    np.testing.assert_array_equal(got, np.asarray(expected(picture)))
    if options:
        assert (got != np.asarray(Restorer(model, device='cpu')(picture))).any()


def test_no_visitor_makes_it_download_a_detector(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restorers = Restorers(Settings(models=(str(model),), **SMALL))
    monkeypatch.setattr(detectors, 'is_here', lambda: False)
    with pytest.raises(RestoreError, match='No detector of faces is here'), restorers.of(Choice('light', faces=True)):
        pass


def test_faces_are_restored_alone(page: Page, model: Path, tmp_path: Path) -> None:
    Image.fromarray(photo('astronaut', 200, 200, 0, 120)).save(tmp_path / 'face.png')
    facts = page.restore(tmp_path / 'face.png', faces=True)
    assert facts['faces'] == 1
    expected = np.asarray(FaceRestorer(Restorer(model, device='cpu'))(tmp_path / 'face.png'))
    np.testing.assert_array_equal(levels(page.file(facts), tmp_path), expected)


def test_report_and_what_is_said(page: Page, picture: Path) -> None:
    html, facts = page.outcome(page.call(page.picture(picture), report=True))
    assert facts['report']['noise_spread'] > 0 and 'no bounds are known' in facts['report']['verdict']
    assert facts['before'] == [24, 30] and facts['after'] == [48, 60] and facts['lr_psnr'] > 0
    assert '30 x 24 &rarr; 60 x 48 pixels' in html and 'LR-PSNR' in html and 'noise_spread' in html
    heat = page.client.get(f'/pictures/{facts["key"]}/heat.png')
    assert Image.open(io.BytesIO(heat.content)).size == (60, 48)
    before = page.client.get(f'/pictures/{facts["key"]}/before.png')
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(before.content))), np.asarray(Image.open(picture)))


def test_sixteen_bits_and_transparency_are_downloaded(page: Page, model: Path, tmp_path: Path) -> None:
    import cv2

    deep = (photo('coffee', 20, 20).astype(np.uint16) * 257)[..., ::-1]
    opacity = np.full((20, 20, 1), 30000, np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), np.concatenate([deep, opacity], axis=2))
    facts = page.restore(tmp_path / 'deep.png')
    got = levels(page.file(facts), tmp_path)
    assert got.dtype == np.uint16 and got.shape == (40, 40, 4)
    np.testing.assert_array_equal(got, Restorer(model, device='cpu')(tmp_path / 'deep.png'))
    assert [*facts['files']] == ['png'] and facts['lost'] == ['JPEG has no 16 bits.', 'WEBP has no 16 bits.']

    Image.fromarray(photo('coffee', 20, 20)).convert('RGBA').save(tmp_path / 'clear.png')
    facts = page.restore(tmp_path / 'clear.png')
    assert [*facts['files']] == ['png', 'webp'] and facts['lost'] == ['JPEG has no transparency.']
    assert Image.open(io.BytesIO(page.file(facts, 'webp'))).format == 'WEBP'
    refused = page.client.get(f'/pictures/{facts["key"]}/result.jpg')
    assert refused.status_code == 404 and 'no transparency' in refused.json()['error']


def test_downloads_have_the_format_and_name(page: Page, picture: Path) -> None:
    key = page.upload(picture.read_bytes(), '../../Großer "Kuchen"\n.png').json()['picture']
    _, facts = page.outcome(page.call(key))
    result = np.asarray(Image.open(io.BytesIO(page.file(facts))))
    for ending, kind in (('png', 'PNG'), ('jpg', 'JPEG'), ('webp', 'WEBP')):
        answer = page.client.get(facts['files'][ending] + '?save=true')
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
    (b'', 422, 'The file is empty.'), (b'no picture', 422, 'no picture in a known format'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 422, 'no picture in a known format'),
    (bomb(40_000, 40_000), 422, '40000 x 40000 pixels'),
    (bomb(2000, 1000), 422, '2000 x 1000 pixels, and at most 100000'),
    (bomb(10, 10)[:20], 422, 'header cannot be read'), (b'x' * (2**20 + 1), 413, 'at most 1 MB'),
])  # fmt: skip
def test_uploads_are_refused_in_a_sentence(page: Page, content: bytes, status: int, words: str) -> None:
    before = {*page.store.folder.iterdir()}
    answer = page.upload(content)
    assert answer.status_code == status and words in answer.json()['error'] and answer.json()['error'].endswith('.')
    assert {*page.store.folder.iterdir()} == before


def test_what_is_beyond_the_limit_is_not_read(page: Page) -> None:
    """The body comes in chunks that tell no length; the answer is there long before its end would be."""
    host, _, port = page.address.removeprefix('http://').partition(':')
    chunk, sent = b'10000\r\n' + b'x' * 2**16 + b'\r\n', 0
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(0.2)
        connection.sendall(f'POST /pictures HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n'.encode())
        answer = b''
        while not answer:
            assert sent < 400, 'the server reads on'  # 25 MB
            try:
                connection.sendall(chunk)
                sent += 1
                time.sleep(0.002)
                connection.setblocking(False)
                answer = connection.recv(2000)
            except (BlockingIOError, TimeoutError):
                pass
            finally:
                connection.settimeout(0.2)
    assert b'413' in answer.split(b'\r\n')[0]


def test_failures_of_a_restoration_are_sentences(page: Page, picture: Path, tmp_path: Path) -> None:
    frames = [Image.new('L', (4, 4), level) for level in (0, 200)]
    frames[0].save(tmp_path / 'moving.gif', save_all=True, append_images=frames[1:])
    (tmp_path / 'cut.png').write_bytes(picture.read_bytes()[:400])
    for path, options, words in (
        (tmp_path / 'moving.gif', {}, 'This picture cannot be restored: it has 2 frames, an animation'),
        (tmp_path / 'cut.png', {}, 'cannot be restored: it is broken'),
        (picture, dict(model='lightglean_twemoji_5x'), "model 'lightglean_twemoji_5x' is not here"),
        (picture, dict(model='/etc/passwd'), UNKNOWN),
        (picture, dict(fidelity=3), 'Fidelity is 0 (the bank) to 1'),
        (picture, dict(fidelity='much'), 'a number from 0 to 1'),
        (picture, dict(seed='-1'), 'The seed is a whole number'),
        (picture, dict(seed='3000000000'), 'from 0 to 2147483647'),
        (picture, dict(mode='wild'), 'The mode is one of best'),
        (picture, dict(consistent=True, fidelity=0.9), 'give one of them'),
        (picture, dict(faces=True, report=True), 'leave the report or the faces out'),
        (picture, dict(faces=True, mode='tiles'), "leave the mode at 'best'"),
        (picture, dict(model='lightglean_twemoji_color', consistent=True), 'Colorization keeps the lightness'),
    ):
        html, facts = page.outcome(page.call(page.picture(path), **options))
        assert words in facts['error'] and 'role="alert"' in html, (options, facts)
    for key, words in (('', 'Choose a picture first'), ('../etc', 'is not here'), ('x' * 22, 'one stays 30 minutes')):
        assert words in page.outcome(page.call(key))[1]['error']


def test_memory_and_surprises_are_sentences(caplog: pytest.LogCaptureFixture) -> None:
    assert sentence(MemoryError()) == MEMORY
    assert sentence(RuntimeError('DefaultCPUAllocator: not enough memory: you tried to allocate memory')) == MEMORY
    assert sentence(RestoreError('it is broken: no end')) == 'This picture cannot be restored: it is broken: no end.'
    for error in (RestoreError('/home/me/a.json holds no bounds'), KeyError('x'), RestoreError("see '/a/b'"),
                  RestoreError('in C:\\models\\a.pth')):  # fmt: skip
        assert sentence(error) == UNKNOWN
    assert 'holds no bounds' in caplog.text


# What nobody gets


CLOSED = [
    '/gradio_api/file=/etc/passwd', '/gradio_api/file=../../../../etc/passwd', '/file=/etc/passwd',
    '/gradio_api/file/etc/passwd', '/gradio_api/file=%2Fetc%2Fpasswd', '/gradio_api/file%3D/etc/passwd',
    '/gradio_api/file=https://example.org/', '/gradio_api/file=file:///etc/passwd', '/gradio_api/proxy=http://x/',
    '/assets/../../../../../etc/passwd', '/assets/..%2f..%2f..%2f..%2fetc/passwd', '/assets//etc/passwd',
    '/static/%2e%2e/%2e%2e/routes.py', '/static/fonts', '/svelte/..%2froutes.py', '/assets/..\\..\\routes.py',
    '/pictures/../../etc/passwd', '/pictures/%2e%2e/%2e%2e/etc/passwd', '/pictures/x/..%2f..%2fupload', '/pictures',
    '/pictures/KEY/upload', '/pictures/KEY/..%2fupload', '/pictures/KEY/leak.png', '/pictures/KEY/link.png',
    '/docs', '/redoc', '/openapi.json', '/gradio_api/startup-events', '/gradio_api/upload_progress?upload_id=1',
    '/gradio_api/monitoring', '/gradio_api/app_id', '/custom_component/x/client/y/z', '/gradio_api/stream/x',
    '/gradio_api/dev/reload', '/gradio_api/token', '/login', '/manifest.json', '/..', '/nothing',
]  # fmt: skip


def raw(page: Page, method: str, path: str, body: bytes = b'', **headers: str) -> tuple[int, bytes]:
    """As it is typed: a client would tidy the path."""
    host, _, port = page.address.removeprefix('http://').partition(':')
    lines = {'Host': f'{host}:{port}', 'Connection': 'close', 'Content-Length': str(len(body))}
    lines |= {name.replace('_', '-'): value for name, value in headers.items()}
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = ''.join(f'{name}: {value}\r\n' for name, value in lines.items())
        connection.sendall(f'{method} {path} HTTP/1.1\r\n{head}\r\n'.encode() + body)
        answer = b''.join(iter(lambda: connection.recv(2**16), b''))
    return int(answer.split(b' ', 2)[1]), answer


def has_path(page: Page, answer: bytes) -> bool:
    """Whether an answer tells where something is on the server."""
    places = {str(ROOT), str(page.store.folder), sys.prefix, str(Path(httpx.__file__).parents[1])}
    places |= {os.path.expanduser('~'), 'site-packages', 'root:x:0', 'Traceback'}
    places |= {str(Path(given).parent) for given in page.settings.models}
    return any(place.encode() in answer for place in places if place != '/')


def test_nothing_of_the_server_is_read(page: Page, picture: Path) -> None:
    key = page.picture(picture)
    folder = page.store.folder / key
    (folder / 'leak.png').write_bytes(b'secret')
    (folder / 'link.png').symlink_to('/etc/passwd')
    for path in CLOSED:
        for method in ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'):
            if (method, path) == ('POST', '/pictures'):
                continue
            status, answer = raw(page, method, path.replace('KEY', key))
            assert status in (400, 404) and b'secret' not in answer and not has_path(page, answer), (method, path)
    upload = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx\r\n--x--\r\n'
    status, answer = raw(page, 'POST', '/gradio_api/upload', upload, Content_Type='multipart/form-data; boundary=x')
    assert status == 404 and not has_path(page, answer)


def test_no_answer_names_a_place_on_the_server(page: Page, picture: Path) -> None:
    answers = [page.client.get(path) for path in ('/', '/config', '/gradio_api/info', '/theme.css')]
    assert all(answer.status_code == 200 for answer in answers)
    called = page.call(page.picture(picture), report=True)
    event = called.json()['event_id']
    answers += [called, page.client.get(f'/gradio_api/call/restore/{event}'), page.upload(b'x', '/etc/passwd')]
    long = [0] * 9000
    for body in (b'{', b'[]', b'{"data": 1}', b'{"data": []}', b'{"data": [1, 2, 3, 4, 5, 6, 7, 8]}',
                 b'{"data": [], "fn_index": 99, "session_hash": "x"}', b'{"data": [], "fn_index": 0}',
                 b'{"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]}',
                 f'{{"data": {long}}}'.encode()):  # fmt: skip
        for path in ('/gradio_api/queue/join', '/gradio_api/call/restore', '/gradio_api/call/nothing'):
            answers.append(page.client.post(path, content=body, headers={'Content-Type': 'application/json'}))
    for name in ('x', "'; drop"):
        answers.append(page.client.get('/gradio_api/call/restore/' + name))
    for answer in answers:
        assert not has_path(page, answer.content + str(answer.headers).encode()), answer.text[:300]
        if answer.status_code >= 400:
            assert answer.json()['error'].endswith('.')
    statuses = [answer.status_code for answer in answers]
    assert 413 in statuses and 404 in statuses and 400 in statuses


def test_other_pages_and_names_are_sent_away(page: Page, picture: Path) -> None:
    """A page elsewhere can neither post to this one, nor reach it by a name of its own that leads here."""
    content, host = picture.read_bytes(), page.address.removeprefix('http://')
    assert raw(page, 'POST', '/pictures', content, Origin=page.address)[0] == 200
    for origin in ('https://evil.example', 'null', 'http://localhost:1'):
        assert raw(page, 'POST', '/pictures', content, Origin=origin)[0] == 403
    assert raw(page, 'GET', '/', Host='evil.example')[0] == 421
    assert raw(page, 'GET', '/', Host=host.replace('127.0.0.1', 'localhost'))[0] == 200
    upgrade = dict(Connection='Upgrade, close', Upgrade='websocket', Sec_WebSocket_Key='eHg=')
    assert raw(page, 'GET', '/gradio_api/stream/x', **upgrade)[0] in (400, 403, 404)


def test_the_page_asks_nobody_elsewhere(page: Page) -> None:
    answer = page.client.get('/')
    hosts = {*re.findall(r'(?:https?:)?//([\w.-]+\.\w+)', answer.text)}
    assert hosts <= {'127.0.0.1'}, hosts
    assert "default-src 'self'" in answer.headers['content-security-policy']
    assert not re.findall(r'url\([\'"]?(?:https?:)?//', page.client.get('/theme.css').text)


def test_a_proxy_shows_it_elsewhere(page: Page, picture: Path) -> None:
    for root_path, host in (('https://example.org/restore', 'example.org'), ('/restore', '127.0.0.1')):
        app = build(Settings(root_path=root_path, **SMALL), page.store, page.restorers)
        with TestClient(app, base_url=f'https://{host}') as client:
            for prefix in ('', '/restore'):  # as the proxy hands it on
                text = client.get(f'{prefix}/').text
                assert f'"root":"https://{host}/restore"' in text and 'data-to=\\"/restore/pictures\\"' in text
                answer = client.post(f'{prefix}/pictures', content=picture.read_bytes(),
                                     headers={'Origin': f'https://{host}'})  # fmt: skip
                assert answer.status_code == 200
            called = client.post('/gradio_api/call/restore', json=dict(data=[
                answer.json()['picture'], next(iter(page.restorers.offers)), 'best', 0.5, False, '', False, False,
            ]))  # fmt: skip
            said = client.get(f'/gradio_api/call/restore/{called.json()["event_id"]}').text
            (place,) = {*re.findall(r'src=\\"(/restore/pictures/[\w-]+/result.png)', said)}
            assert client.get(place).status_code == 200


# Several users


def test_users_wait_their_turn_and_get_their_own(
    page: Page, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are restored at a time, three wait, and one more is sent away."""
    go_on, lock, running, most = threading.Event(), threading.Lock(), [], []
    restore = web_page.restore

    def slow(*arguments: Any) -> Any:
        with lock:
            running.append(1)
            most.append(len(running))
        assert go_on.wait(30)
        try:
            return restore(*arguments)
        finally:
            with lock:
                running.pop()

    monkeypatch.setattr(web_page, 'restore', slow)
    paths = []
    for i in range(5):
        paths.append(tmp_path / f'{i}.png')
        Image.fromarray(photo('coffee', 20, 20 + 2 * (i % 2), 10 * i)).save(paths[-1])
    calls = []
    for i, path in enumerate(paths):
        calls.append(page.call(page.picture(path)))
        end = time.monotonic() + 10
        while len(running) < min(i + 1, 2) and time.monotonic() < end:
            time.sleep(0.02)
    assert len(running) == 2
    full = page.call(page.picture(paths[0]))
    assert full.status_code == 503 and 'Too many pictures are waiting' in full.json()['error']
    with ThreadPoolExecutor(5) as pool:
        outcomes = pool.map(page.outcome, calls)
        go_on.set()
        results = [facts for _, facts in outcomes]
    assert max(most) == 2 and len({facts['key'] for facts in results}) == 5
    restorer = Restorer(model, device='cpu')
    for path, facts in zip(paths, results):
        np.testing.assert_array_equal(levels(page.file(facts), tmp_path), np.asarray(restorer(path)))


def test_gradio_s_own_client_is_served(page: Page, picture: Path) -> None:
    from gradio_client import Client

    client = Client(page.address, verbose=False, download_files=False)
    assert [*client.view_api(return_format='dict')['named_endpoints']] == ['/restore']
    html, facts = client.predict(page.picture(picture), 'light', api_name='/restore')
    assert facts['after'] == [48, 60] and 'gp-compare' in html


# Temporary files


def test_files_go_after_their_time(picture: Path) -> None:
    store = Store(keep=0.4, limit=10**6)
    try:
        assert store.folder.stat().st_mode & 0o777 == 0o700
        old, used = store.new('a'), store.new('b')
        (old.folder / 'upload').write_bytes(picture.read_bytes())
        with store.using(used.key):
            end = time.monotonic() + 5
            while old.folder.exists() and time.monotonic() < end:
                time.sleep(0.05)
            assert not old.folder.exists() and used.folder.is_dir()
        with pytest.raises(RestoreError, match='Choose it again'), store.using(old.key):
            pass
        (used.folder / 'upload').write_bytes(bytes(10**6 + 1))
        with pytest.raises(RestoreError, match='as many pictures as it may'):
            store.new('c')
    finally:
        store.close()
    assert not store.folder.exists()


def test_results_go_with_their_time(page: Page, picture: Path) -> None:
    facts = page.restore(picture)
    page.store._entries[facts['key']].used -= page.store.keep
    page.store.sweep()
    gone = page.client.get(facts['files']['png'])
    assert gone.status_code == 404 and 'one stays 30 minutes' in gone.json()['error']


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

    def kept(settings: Settings, store: Store, restorers: Restorers) -> Any:
        built.update(settings=settings, store=store, restorers=restorers)

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
    assert names[:2] == ['light', DEFAULT_MODEL] and 'glean_cat_16x' not in names and len(names) == 8
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
        with pytest.raises(RestoreError, match='The picture (cannot be read|is broken)'):
            look(tmp_path / 'x', 600)


def test_what_is_shown_and_downloaded_has_the_profile(page: Page, tmp_path: Path) -> None:
    Image.fromarray(photo('astronaut', 24, 30)).save(tmp_path / 'in.jpg', icc_profile=SRGB)
    facts = page.restore(tmp_path / 'in.jpg')
    before = facts['files']['png'].replace('result.png', 'before.png')
    for path in (before, *facts['files'].values()):
        assert Image.open(io.BytesIO(page.client.get(path).content)).info['icc_profile'] == SRGB, path
    assert facts['notes'] == []
    Image.fromarray(photo('astronaut', 24, 30)).save(tmp_path / 'in.jpg', icc_profile=b'none')
    html, facts = page.outcome(page.call(page.picture(tmp_path / 'in.jpg')))
    assert 'Its colour profile is broken' in html and 'profile is broken' in facts['notes'][0]


def test_a_server_that_is_ended_leaves_nothing(
    model: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """SIGTERM, while somebody has the page open and a picture is restored, which would take a minute more."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    busy, layer = threading.Event(), torch.nn.Identity()

    def slow(*_: Any) -> None:
        busy.set()
        for _ in range(600):
            layer(torch.zeros(1))
            time.sleep(0.1)

    monkeypatch.setattr(web_page, 'restore', slow)
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    seen = []

    def visit() -> None:
        address = f'http://127.0.0.1:{port}'
        for _ in range(200):
            try:
                answer = httpx.post(f'{address}/pictures', content=picture.read_bytes(), timeout=20)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        (folder,) = tmp_path.glob(f'{web_store.PREFIX}*')
        seen.append((folder / answer.json()['picture'] / 'upload').is_file())
        data = [answer.json()['picture'], 'light', *DEFAULTS.values()]
        httpx.post(f'{address}/gradio_api/call/restore', json=dict(data=data), timeout=20).raise_for_status()
        seen.append(busy.wait(20))
        with httpx.stream('GET', f'{address}/gradio_api/heartbeat/abc', timeout=20):
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(time.monotonic())

    before, visitor = signal.getsignal(signal.SIGTERM), threading.Thread(target=visit)
    try:
        visitor.start()
        with pytest.raises(SystemExit) as ended:
            main(['web', '--port', str(port), '--model', str(model), '--device', 'cpu'])
        took = time.monotonic() - seen.pop()
    finally:
        visitor.join()
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == web_server.TERMINATED and seen == [True, True] and took < web_server.PATIENCE + 3
    assert f'http://127.0.0.1:{port}/' in capsys.readouterr().err and not [*tmp_path.glob(f'{web_store.PREFIX}*')]
