"""Weight cards, and downloads from a real server on this machine by real processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.request import Request

import mmagic
import pytest
from mmengine.config import Config

from glean_plus.cli.main import main
from glean_plus.utils import locks
from glean_plus.weights import CATALOGUE, Card, WeightsError, fetch, import_weights, read_card
from glean_plus.weights.cards import hash_in_name
from glean_plus.weights.fetch import _Redirects, _url, cached_path

from conftest import CONFIGS, load_tool

CONTENT = random.Random(0).randbytes(1 << 20)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f'bank-{DIGEST[:8]}.pth'
MMAGIC = Path(mmagic.__file__).parent / '.mim' / 'configs'


class Site:
    """What the server has, how it behaves, and what it was asked."""

    def __init__(self) -> None:
        self.files = {NAME: CONTENT}
        self.ranges = True
        self.pause = 0.0  # seconds before each sixteenth of a file
        self.cut: int | None = None  # bytes after which it hangs up
        self.redirects: dict[str, str] = {}
        self.asked: list[str | None] = []
        self.root = ''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.lstrip('/'), self.headers['Range']
            if name in site.redirects:
                self.send_response(302)
                self.send_header('Location', site.redirects[name])
                self.end_headers()
                return
            site.asked.append(wanted)
            content = site.files[name]
            start = int(wanted[len('bytes='):-1]) if wanted and site.ranges else 0
            if start and start >= len(content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            if start:
                self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
            self.send_header('Content-Length', str(len(content) - start))
            self.end_headers()
            step = len(content) // 16 + 1
            for position in range(start, len(content), step):
                time.sleep(site.pause)
                block = content[position:position + step]
                if site.cut is not None:
                    block = block[:max(0, site.cut - position)]
                with suppress(ConnectionError):
                    self.wfile.write(block)

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('GLEAN_PLUS_OFFLINE', raising=False)
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    site.root = f'http://127.0.0.1:{server.server_port}'
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / 'cache'


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start(url: str) -> BaseProcess:
    process = multiprocessing.get_context('fork').Process(target=fetch.fetch, args=(url,))
    process.start()
    return process


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def has_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def test_download_is_whole_and_happens_once(site: Site, cache: Path) -> None:
    for _ in range(2):
        assert fetch.fetch(f'{site.root}/{NAME}') == cache / NAME
    assert (cache / NAME).read_bytes() == CONTENT
    assert names(cache) == [NAME] and site.asked == [None]


def test_killed_download_goes_on_where_it_stopped(site: Site, cache: Path) -> None:
    site.pause = 0.05
    process = start(f'{site.root}/{NAME}')
    part = cache / f'{NAME}.part'
    wait_for(lambda: has_bytes(part))
    process.kill()
    process.join()
    done = part.stat().st_size
    assert names(cache) == [part.name] and 0 < done < len(CONTENT)
    site.pause = 0
    fetch.fetch(f'{site.root}/{NAME}')
    assert site.asked == [None, f'bytes={done}-']
    assert (cache / NAME).read_bytes() == CONTENT and names(cache) == [NAME]


def test_of_two_processes_one_downloads(site: Site, cache: Path) -> None:
    site.pause = 0.02
    processes = [start(f'{site.root}/{NAME}') for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert site.asked == [None]
    assert (cache / NAME).read_bytes() == CONTENT and names(cache) == [NAME]


def test_a_waiting_process_takes_over_from_a_killed_one(site: Site, cache: Path) -> None:
    site.pause = 0.05
    first = start(f'{site.root}/{NAME}')
    wait_for(lambda: has_bytes(cache / f'{NAME}.part'))
    second = start(f'{site.root}/{NAME}')
    time.sleep(0.1)
    first.kill()
    first.join()
    second.join()
    assert second.exitcode == 0
    assert len(site.asked) == 2 and site.asked[1] not in (None, 'bytes=0-')
    assert (cache / NAME).read_bytes() == CONTENT and names(cache) == [NAME]


def test_server_without_ranges_starts_again(site: Site, cache: Path) -> None:
    site.ranges = False
    cache.mkdir()
    (cache / f'{NAME}.part').write_bytes(CONTENT[:1000])
    fetch.fetch(f'{site.root}/{NAME}')
    assert site.asked == ['bytes=1000-']
    assert (cache / NAME).read_bytes() == CONTENT and names(cache) == [NAME]


@pytest.mark.parametrize(('left', 'asked'), [
    (b'of another file', ['bytes=15-', None]),
    (CONTENT, [f'bytes={len(CONTENT)}-']),
    (CONTENT + b'too long', [f'bytes={len(CONTENT) + 8}-', None]),
], ids=['wrong', 'whole', 'too long'])  # fmt: skip
def test_what_was_left_is_trusted_only_as_far_as_the_hash(
    left: bytes, asked: list[str | None], site: Site, cache: Path
) -> None:
    cache.mkdir()
    (cache / f'{NAME}.part').write_bytes(left)
    fetch.fetch(f'{site.root}/{NAME}')
    assert site.asked == asked
    assert (cache / NAME).read_bytes() == CONTENT and names(cache) == [NAME]


def test_without_a_hash_nothing_is_resumed(site: Site, cache: Path) -> None:
    site.files['bank.pth'] = CONTENT
    path = fetch.cached_path(f'{site.root}/bank.pth')
    cache.mkdir()
    path.with_name(f'{path.name}.part').write_bytes(CONTENT[:1000])
    assert fetch.fetch(f'{site.root}/bank.pth') == path
    assert site.asked == [None]
    assert path.read_bytes() == CONTENT and names(cache) == [path.name]


def test_without_a_hash_files_of_one_name_are_told_apart(site: Site, cache: Path) -> None:
    site.files.update({'a/latest.pth': CONTENT, 'b/latest.pth': CONTENT[::-1]})
    first, second = (fetch.fetch(f'{site.root}/{folder}/latest.pth') for folder in 'ab')
    assert first.read_bytes() == CONTENT and second.read_bytes() == CONTENT[::-1]
    assert fetch.fetch(f'{site.root}/a/latest.pth') == first and len(site.asked) == 2


def test_a_date_in_a_name_is_no_hash(site: Site, cache: Path) -> None:
    site.files['model-20240131.pth'] = CONTENT
    assert fetch.fetch(f'{site.root}/model-20240131.pth').read_bytes() == CONTENT
    assert hash_in_name('glean_cat_16x_20210527-68912543.pth') == '68912543'


def test_a_server_that_lies_leaves_nothing_behind(site: Site, cache: Path) -> None:
    site.files['bank-00000000.pth'] = CONTENT
    with pytest.raises(WeightsError, match=f'invalid hash.* starts with {DIGEST[:8]}, not 00000000'):
        fetch.fetch(f'{site.root}/bank-00000000.pth')
    assert names(cache) == []


def test_all_digits_of_a_card_count(site: Site, cache: Path) -> None:
    card = Card('b', 'bank', 'x', 'y', 'rgb', url=f'{site.root}/{NAME}', sha256=DIGEST)
    with pytest.raises(WeightsError, match='invalid hash'):
        fetch.fetch(dataclasses.replace(card, sha256=DIGEST[:-1] + '0123'[DIGEST[-1] == '0']))
    assert fetch.fetch(card) == cache / NAME
    (cache / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match='Delete it'):
        fetch.fetch(card)


@pytest.mark.parametrize(('name', 'left'), [(NAME, [f'{NAME}.part']), ('bank.pth', [])])
def test_broken_connection_is_an_error(name: str, left: list[str], site: Site, cache: Path) -> None:
    site.files['bank.pth'] = CONTENT
    site.cut = 300_000
    with pytest.raises(WeightsError, match=r'broke off after 300,000 of 1,048,576 bytes\. Without a network, fetch'):
        fetch.fetch(f'{site.root}/{name}')
    assert names(cache) == left
    site.cut = None
    assert fetch.fetch(f'{site.root}/{name}').read_bytes() == CONTENT


@pytest.mark.parametrize('name', [NAME, 'bank.pth'])
@pytest.mark.parametrize(('content', 'message'), [
    (b'\n<!DOCTYPE html><title>Sign in</title>', 'a web page, not a weight file'),
    (b'', 'the answer is empty'),
])  # fmt: skip
def test_answers_that_are_no_weights(name: str, content: bytes, message: str, site: Site, cache: Path) -> None:
    site.files[name] = content
    with pytest.raises(WeightsError, match=message):
        fetch.fetch(f'{site.root}/{name}')
    assert names(cache) == []


def test_a_page_instead_of_the_rest_does_not_cost_the_half(site: Site, cache: Path) -> None:
    site.files[NAME], site.ranges = b'<html>Sign in', False
    cache.mkdir()
    (cache / f'{NAME}.part').write_bytes(CONTENT[:1000])
    with pytest.raises(WeightsError, match='a web page'):
        fetch.fetch(f'{site.root}/{NAME}')
    assert (cache / f'{NAME}.part').read_bytes() == CONTENT[:1000]


def test_silent_server_is_given_up(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, 'TIMEOUT', 0.2)
    site.pause = 1
    with pytest.raises(WeightsError, match='timed out'):
        fetch.fetch(f'{site.root}/{NAME}')
    assert names(cache) == []


def test_files_that_cannot_be_locked_are_fetched_too(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, 'fcntl', None)
    assert fetch.fetch(f'{site.root}/{NAME}').read_bytes() == CONTENT
    site.files['other-00000000.pth'] = CONTENT
    with pytest.raises(WeightsError, match='invalid hash'):
        fetch.fetch(f'{site.root}/other-00000000.pth')
    assert names(cache) == [NAME]


def test_offline_names_the_file_its_hash_and_its_place(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GLEAN_PLUS_OFFLINE', '1')
    by_hand = f'{NAME} (its SHA-256 starts with {DIGEST[:8]}) elsewhere and put it at {cache / NAME}.'
    with pytest.raises(WeightsError, match=f'GLEAN_PLUS_OFFLINE.*{re.escape(by_hand)}'):
        fetch.fetch(f'{site.root}/{NAME}')
    assert site.asked == []
    cache.mkdir()
    (cache / NAME).write_bytes(CONTENT)
    assert fetch.fetch(f'{site.root}/{NAME}') == cache / NAME
    monkeypatch.setenv('GLEAN_PLUS_OFFLINE', '0')
    (cache / NAME).unlink()
    assert fetch.fetch(f'{site.root}/{NAME}') == cache / NAME


def test_cache_folder_is_ours_or_torch_hub_s(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path / 'a'))
    assert fetch.fetch(f'{site.root}/{NAME}') == tmp_path / 'a' / NAME
    assert fetch.fetch(f'{site.root}/{NAME}', tmp_path / 'b') == tmp_path / 'b' / NAME
    monkeypatch.delenv('GLEAN_PLUS_CACHE')
    monkeypatch.setattr('torch.hub._hub_dir', None)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    assert fetch.fetch(f'{site.root}/{NAME}') == tmp_path / 'torch' / 'hub' / 'checkpoints' / NAME
    assert len(site.asked) == 3


@pytest.mark.parametrize(('old', 'new'), [
    ('https://a.org/x.pth', 'http://a.org/x.pth'),
    ('https://a.org/x.pth', 'http://127.0.0.1/x.pth'),
    ('http://127.0.0.1/x.pth', 'http://a.org/x.pth'),
    ('https://a.org/x.pth', 'ftp://a.org/x.pth'),
])  # fmt: skip
def test_redirect_that_gives_up_encryption_is_refused(old: str, new: str) -> None:
    with pytest.raises(WeightsError, match=f'redirects to {new}, which is not https'):
        _Redirects().redirect_request(Request(old), None, 302, 'Found', {}, new)
    assert _Redirects().redirect_request(Request(old), None, 302, 'Found', {}, 'https://b.org/x.pth')


def test_redirects_are_followed_or_refused(site: Site, cache: Path) -> None:
    site.redirects = {f'moved/{NAME}': f'{site.root}/{NAME}', 'out/x.pth': 'http://a.invalid/x.pth'}
    cache.mkdir()
    (cache / f'{NAME}.part').write_bytes(CONTENT[:1000])
    assert fetch.fetch(f'{site.root}/moved/{NAME}').read_bytes() == CONTENT
    assert site.asked == ['bytes=1000-']
    with pytest.raises(WeightsError, match='not https'):
        fetch.fetch(f'{site.root}/out/x.pth')


def test_network_is_asked_over_https_only() -> None:
    assert _url('http://download.openmmlab.com/x.pth') == 'https://download.openmmlab.com/x.pth'
    assert _url('http://localhost:80/x.pth') == 'http://localhost:80/x.pth'
    for url in ('ftp://a.org/x.pth', 'file:///x.pth', 'https://a.org/'):
        with pytest.raises(WeightsError, match='no URL of a file'):
            _url(url)


# ---- cards


def test_catalogue_is_well_formed() -> None:
    assert {card.kind for card in CATALOGUE.values()} == {'bank', 'restorer'}
    for name, card in CATALOGUE.items():
        assert name == card.name and card.url.startswith('https://') and card.licence and card.data and card.source
        assert card.url.rsplit('-', 1)[1] == f'{card.sha256}.pth' and len(card.sha256) == 8
        assert bool(card.config) == (card.kind == 'restorer')
        assert not card.config or (CONFIGS / f'{card.config}.py').is_file()
    assert len({cached_path(card) for card in CATALOGUE.values()}) == len(CATALOGUE)


def test_urls_are_those_in_mmagic() -> None:
    """Two are in its READMEs alone, which are not installed; one of these is in our configs."""
    theirs = '\n'.join(path.read_text() for path in MMAGIC.glob('*/metafile.yml'))
    glean = Config.fromfile(MMAGIC / 'glean' / 'glean_x16_2xb8_ffhq.py').model.generator.init_cfg.checkpoint
    theirs += glean.replace('http://', 'https://')
    absent = {name for name, card in CATALOGUE.items() if card.url not in theirs}
    assert absent == {'stylegan2_car_512', 'biggan_imagenet_128_best_fid'}
    for what, name in (('face', 'ffhq_1024'), ('cat', 'cat_256'), ('car', 'car_512')):
        bank = Config.fromfile(CONFIGS / f'glean_{what}_16x.py').model.generator.bank
        assert bank.pretrained.checkpoint == CATALOGUE[f'stylegan2_{name}'].url


def test_colour_orders_are_those_of_mmagic_s_configs() -> None:
    """A converted BigGAN is flipped to MMagic's BGR, so it is RGB itself; the others are BGR as they are."""
    models = {
        'stylegan2_ffhq_1024': 'styleganv2/stylegan2_c2_8xb4_ffhq-1024x1024',
        'stylegan2_cat_256': 'styleganv2/stylegan2_c2_8xb4-800kiters_lsun-cat-256x256',
        'stylegan1_ffhq_256': 'styleganv1/styleganv1_ffhq-256x256_8xb4-25Mimgs',
        'biggan_imagenet_128': 'biggan/biggan_cvt-BigGAN-PyTorch-rgb_imagenet1k-128x128',
        'biggan_imagenet_128_best_fid': 'biggan/biggan_ajbrock-sn_8xb32-1500kiters_imagenet1k-128x128',
        'biggan_deep_imagenet_512': 'biggan/biggan-deep_cvt-hugging-face_rgb_imagenet1k-512x512',
    }
    for name, config in models.items():
        generator = Config.fromfile(MMAGIC / f'{config}.py').model.generator
        assert CATALOGUE[name].colour_order == ('rgb' if generator.get('rgb2bgr') else 'bgr'), name


def test_shipped_cards_are_read_and_nothing_is_lost() -> None:
    paths = sorted((CONFIGS / 'weights').glob('*.safetensors'))
    assert paths
    for path in paths:
        card = read_card(path)
        assert read_card(path.with_suffix('.json')) == card
        assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and card.size == path.stat().st_size
        assert (card.colour_order, card.value_range, card.url) == ('rgb', (-1, 1), None)
        written = json.loads(path.with_suffix('.json').read_text())
        fields = {field.name for field in dataclasses.fields(Card)}
        assert card.extra == {key: value for key, value in written.items() if key not in fields}
        assert card.extra['command'] and hash(card)
        with pytest.raises(WeightsError, match='has no URL'):
            fetch.fetch(card)


GOOD = dict(name='a', kind='bank', data='b', licence='c', colour_order='RGB')


@pytest.mark.parametrize(('content', 'message'), [
    ('{', 'no readable card'),
    ('[]', 'holds a list'),
    (json.dumps({key: value for key, value in GOOD.items() if key != 'licence'}), 'lacks licence'),
    (json.dumps(GOOD | dict(colour_order='hsv')), r"colour_order of a must be one of \('rgb', 'bgr'\), but is 'hsv'"),
    (json.dumps(GOOD | dict(kind='vae')), 'kind of a'),
    (json.dumps(GOOD | dict(sha256='12')), 'sha256 of a'),
    (json.dumps(GOOD | dict(value_range=[1])), 'value_range of a'),
])  # fmt: skip
def test_bad_cards_say_what_is_wrong(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(GOOD))
    assert read_card(tmp_path / 'a.safetensors') == Card('a', 'bank', 'b', 'c', 'rgb')
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(WeightsError, match=message):
        read_card(tmp_path / 'a.json')
    with pytest.raises(WeightsError, match='no readable card'):
        read_card(tmp_path / 'b.json')


def test_tool_lists_and_fetches(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tool = load_tool('fetch_weights')
    card = dataclasses.replace(CATALOGUE['glean_cat_8x'], url=f'{site.root}/{NAME}', sha256=DIGEST)
    monkeypatch.setitem(CATALOGUE, card.name, card)

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', ['fetch_weights.py', *map(str, arguments)])
        tool.main()
        return capsys.readouterr().out

    def row(out: str, name: str) -> str:
        return next(line for line in out.splitlines() if line.split()[0] == name)

    cache = tmp_path / 'weights'
    before = run('--cache', cache)
    assert len(before.splitlines()) == 1 + len(CATALOGUE) + len(list((CONFIGS / 'weights').glob('*.json')))
    assert ' cached ' not in before and ' shipped ' in row(before, 'stylegan2_twemoji_64px')
    assert 'Nvidia Source Code License-NC' in row(before, 'stylegan2_cat_256')
    assert f'mim test glean_plus glean_cat_8x.py --checkpoint {cache / NAME}' in run(card.name, '--cache', cache)
    assert (cache / NAME).read_bytes() == CONTENT
    assert ' cached ' in row(run('--list', '--cache', cache), card.name)
    with pytest.raises(SystemExit):
        run('glean_cat_9x')
    assert 'did you mean glean_cat_8x' in capsys.readouterr().err
    site.files = {NAME: b''}
    with pytest.raises(SystemExit, match='the answer is empty'):
        run(card.name, '--cache', tmp_path / 'other')


# ---- no network


def ways_to_ask() -> dict[str, Callable[[], object]]:
    """Each restorer and bank that has a name, and each network that a loss, metric or detector takes."""
    from glean_plus.inference.faces.detectors import choose_detector
    from glean_plus.inference.source import find
    from glean_plus.pretrained.features import vgg_features
    from glean_plus.pretrained.identity import arcface
    from glean_plus.pretrained.inception import inception
    from glean_plus.pretrained.perceptual import lpips

    ways: dict[str, Callable[[], object]] = {}
    for name, card in CATALOGUE.items():
        ways[name] = partial(find, name) if card.kind == 'restorer' else partial(import_weights, card)
    ways['retinaface'] = partial(choose_detector, 'retinaface')
    ways['arcface'] = lambda: arcface().on('cpu')
    ways['lpips'] = lambda: lpips().on('cpu')
    ways['vgg'] = lambda: vgg_features('vgg19', ['2']).on('cpu')
    ways['inception'] = lambda: inception().on('cpu')
    return ways


def test_models_are_listed_and_every_missing_file_is_the_same_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(-2, 'Name or service not known')

    monkeypatch.setattr(socket, 'getaddrinfo', unknown)
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    assert main(['models']) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name, card in CATALOGUE.items() if card.kind == 'restorer')
    sentence = re.compile(
        r'.*Cannot download (https://\S+): .*Name or service not known.*Without a network, fetch (\S+) '
        r'\(its SHA-256 starts with \w{8,}\) elsewhere and put it at (\S+)\..*'
    )
    for name, ask in ways_to_ask().items():
        with pytest.raises(WeightsError) as caught:
            ask()
        said = sentence.fullmatch(str(caught.value))
        assert said is not None, (name, str(caught.value))
        assert said[1].endswith(said[2]) and Path(said[3]) == tmp_path / said[2], name
    assert not [path for path in tmp_path.iterdir() if path.suffix not in ('.lock', '.part')]
