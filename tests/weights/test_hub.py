"""Weights from the Hugging Face hub: out of its cache and from a server that answers alike; folders to upload."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import numpy as np
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from PIL import Image

from glean_plus import Restorer
from glean_plus.cli.main import main
from glean_plus.models.loading import MissingBankError, load_bank
from glean_plus.weights import Card, WeightsError, read_state_dict
from glean_plus.weights.fetch import cached_path, fetch
from glean_plus.weights.hub import HubFile

from conftest import BANK_FILE, CONFIGS

COMMIT = 'a' * 40
MODEL = 'lightglean_twemoji_4x'
WEIGHTS = CONFIGS / 'weights' / f'{MODEL}.safetensors'
ADDRESS = f'hf://someone/emoji/{WEIGHTS.name}'


def put(cache: Path, file: str, content: bytes, repo: str = 'someone/emoji', revision: str = 'main') -> Path:
    """A file in a cache, as huggingface_hub lays it out: a blob by its hash, and a link to it in a snapshot."""
    folder = cache / f'models--{repo.replace("/", "--")}'
    blob = folder / 'blobs' / hashlib.sha256(content).hexdigest()
    link, ref = folder / 'snapshots' / COMMIT / file, folder / 'refs' / revision
    for path in (blob, link, ref):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(os.path.relpath(blob, link.parent))
    ref.write_text(COMMIT)
    return link


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache; there is no network."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.delenv('GLEAN_PLUS_OFFLINE', raising=False)
    return tmp_path / 'hub'


@pytest.mark.parametrize(('address', 'repo', 'file', 'revision'), [
    ('hf://a/b/c.pth', 'a/b', 'c.pth', 'main'), ('hf://a-1/b_2.x/d/e f.pth@v1.0', 'a-1/b_2.x', 'd/e f.pth', 'v1.0'),
    (f'hf://a/b/c@{COMMIT}', 'a/b', 'c', COMMIT), ('hf://a/b/c@refs/pr/1', 'a/b', 'c', 'refs/pr/1'),
])  # fmt: skip
def test_addresses(address: str, repo: str, file: str, revision: str) -> None:
    assert HubFile.parse(address) == HubFile(address, repo, file, revision)


@pytest.mark.parametrize('address', [
    'hf://', 'hf://a', 'hf://a/b', 'hf://a/b/', 'hf://a/b/../c', 'hf://a/b/c/', 'hf://a//c.pth', 'hf://a/b@main/c.pth',
    'hf://a/b/c@', 'hf://a/b/c@d@e', 'hf://a/b/c\\d', 'hf://a/b/c\n', 'hf://a/b/./c', 'hf://a/b/c@/d', 'hf://a/b/\ud800',
    'hf://../b/c', 'hf://a--b/c/d', 'hf://a/b-/c', 'hf://-a/b/c', 'hf://\u00e4/b/c',
])  # fmt: skip
def test_what_is_no_address_is_said(address: str, capsys: Any) -> None:
    with pytest.raises(WeightsError, match='is no address of a file on the hub: hf://OWNER/REPO/FILE@REVISION'):
        fetch(address)
    assert main(['fetch', address]) == 2
    assert 'is no address of a file on the hub' in capsys.readouterr().err


def test_weights_out_of_the_cache(cache: Path) -> None:
    """By branch and by commit, as model, as weights of a config, as bank, and for the runner."""
    put(cache, WEIGHTS.name, WEIGHTS.read_bytes())
    put(cache, 'bank/x.safetensors', BANK_FILE.read_bytes())
    image = np.random.default_rng(0).random((16, 16, 3), np.float32)
    wanted = Restorer(MODEL, device='cpu')(image)
    for given in ((ADDRESS,), (f'{ADDRESS}@{COMMIT}',), (MODEL, f'{ADDRESS}@main')):
        assert (Restorer(*given, device='cpu')(image) == wanted).all()
    state = CheckpointLoader.load_checkpoint(f'{ADDRESS}@main')['state_dict']
    assert state.keys() == read_state_dict(WEIGHTS).keys()
    address = 'hf://someone/emoji/bank/x.safetensors'
    assert load_bank(dict(pretrained=dict(checkpoint=address, prefix='generator_ema'))).out_size == 64
    assert cached_path(ADDRESS).samefile(fetch(ADDRESS))


def test_the_hash_of_the_card_counts(cache: Path) -> None:
    """Of the card beside the file, of a card in the code, and the one in the name."""
    link = put(cache, WEIGHTS.name, WEIGHTS.read_bytes())
    put(cache, WEIGHTS.with_suffix('.json').name, WEIGHTS.with_suffix('.json').read_bytes())
    put(cache, 'bank-00000000.pth', b'bank')
    assert fetch(ADDRESS) == link
    right = json.loads(WEIGHTS.with_suffix('.json').read_text())['sha256']
    card = Card('x', 'restorer', 'y', 'z', 'rgb', url=ADDRESS, sha256=right)
    assert fetch(card) == link
    with pytest.raises(WeightsError, match=r'bank-00000000\.pth: its SHA-256 starts with \w{8}, not 00000000\. Delete'):
        fetch('hf://someone/emoji/bank-00000000.pth')
    blob = link.resolve()
    blob.write_bytes(blob.read_bytes()[:-1])
    for source in (ADDRESS, card):
        with pytest.raises(WeightsError, match=rf'{blob} is not {ADDRESS}: its SHA-256 .* not {right[:8]}\. Delete it'):
            fetch(source)
    put(cache, 'y.safetensors', b'weights')
    put(cache, 'y.json', b'{"sha256": "zz"}')
    with pytest.raises(WeightsError, match=r"sha256 in hf://someone/emoji/y\.json@main must be 8 to 64 digits"):
        fetch('hf://someone/emoji/y.safetensors')


def test_a_name_that_the_hub_refuses_is_a_sentence(cache: Path) -> None:
    for function in (fetch, cached_path):
        with pytest.raises(WeightsError, match=r'Repo id|repo_id|Repo'):
            function('hf://a/b.git/c.pth')


@pytest.mark.parametrize('variable', [None, '1'])
def test_without_a_network(variable: str | None, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    if variable:
        monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', False)
        monkeypatch.setenv('GLEAN_PLUS_OFFLINE', variable)
    with pytest.raises(WeightsError, match=rf'{ADDRESS} is not in the cache of the hub, and the environment forbids'):
        fetch(ADDRESS)
    assert not cached_path(ADDRESS).exists()
    assert main(['fetch', ADDRESS]) == 2
    assert f'by `glean-plus fetch {ADDRESS}`' in ' '.join(capsys.readouterr().err.split())
    config = dict(type='StyleGAN2Bank', out_size=32, pretrained=dict(checkpoint=ADDRESS, prefix='generator_ema'))
    with pytest.raises(MissingBankError, match=f'not here: `glean-plus fetch {ADDRESS}`'):
        load_bank(config, download=False)


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    for function in (fetch, cached_path):
        with pytest.raises(WeightsError, match=r"needs the package huggingface-hub: pip install 'glean_plus\[hub\]'"):
            function(ADDRESS)


# ---- a server


@pytest.fixture
def hub() -> Iterator[str]:
    """A server that answers as the hub does: the files of one repository, and its error codes."""
    files = {WEIGHTS.name: WEIGHTS.read_bytes(), 'x.safetensors': b'no weights', 'x.json': b'{"sha256": "00000000"}'}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            owner, repo, resolve, revision, *file = self.path.lstrip('/').split('/')
            name = '/'.join(file)
            assert resolve == 'resolve'
            code = (
                'GatedRepo' if repo == 'gated' else 'RepoNotFound' if (owner, repo) != ('someone', 'emoji')
                else 'RevisionNotFound' if revision not in ('main', COMMIT)
                else 'EntryNotFound' if name not in files else None
            )  # fmt: skip
            content = b'' if code else files[name]
            self.send_response((403 if code == 'GatedRepo' else 404) if code else 200)
            self.send_header('X-Repo-Commit', COMMIT)
            self.send_header('Content-Length', str(len(content)))
            if code:
                self.send_header('X-Error-Code', code)
            self.send_header('ETag', f'"{hashlib.sha256(content).hexdigest()}"')
            self.end_headers()
            if self.command == 'GET':
                self.wfile.write(content)

        do_GET = do_HEAD

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_weights_from_a_server(hub: str, tmp_path: Path) -> None:
    """What is there, and each way in which something is not. The hub's address is read when a process starts."""
    cases = [ADDRESS, f'{ADDRESS}@{COMMIT}', f'{ADDRESS}@v2', 'hf://someone/emoji/y.pth', 'hf://someone/else/y.pth',
             'hf://someone/gated/y.pth', 'hf://someone/emoji/x.safetensors']  # fmt: skip
    program = f'''
import sys
from glean_plus.cli.main import main
for case in {cases!r}:
    print(main(['fetch', case]), flush=True)
    print('--', file=sys.stderr, flush=True)
'''
    environment = {key: value for key, value in os.environ.items() if not key.endswith('_proxy')}
    environment |= dict(HF_ENDPOINT=hub, HF_HUB_CACHE=str(tmp_path / 'hub'), HF_HUB_DISABLE_PROGRESS_BARS='1',
                        HF_HUB_OFFLINE='0', GLEAN_PLUS_OFFLINE='0')  # fmt: skip
    command = [sys.executable, '-W', 'ignore', '-c', program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.isdigit()] == ['0', '0', *'22222']
    assert lines[0] == lines[2] and Path(lines[0]).read_bytes() == WEIGHTS.read_bytes()
    said = [' '.join(part.split()) for part in done.stderr.split('--\n')]
    for part, words in zip(said[2:], (
        'someone/emoji has no revision v2.', 'someone/emoji has no file y.pth at the revision main.',
        'there is no repository someone/else, or it is private.', 'someone/gated asks to accept its terms.',
        'x.safetensors: its SHA-256 starts with',
    )):  # fmt: skip
        assert words in part and 'Traceback' not in part, part


# ---- a folder to upload


def test_publish_writes_a_folder_ready_to_upload(
    light_checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hub's own reader finds licence, task and metrics in the card; what is uploaded restores, without a config."""
    monkeypatch.chdir(tmp_path)
    metrics = {'PSNR': 27.5, 'ST-LPIPS-vgg': 0.25, 'bicubic/PSNR': 26.0}
    Path('metrics.json').write_text(json.dumps(metrics))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    image.save('a.png')
    assert main([
        'publish', 'restorer', str(light_checkpoint), 'mine', '--command', 'mim train a|b', '--images-per-iter', '4',
        '--metrics', 'metrics.json', '--samples', 'a.png', '--licence', 'mit', '--repo', 'someone/mine', '--trained-on',
        'my photographs', '--test-set', 'My test photographs',
    ]) == 0  # fmt: skip
    folder = tmp_path / 'mine'
    names = {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}
    assert names == {'mine.safetensors', 'mine.json', 'mine.py', 'README.md', 'samples/a.png', 'samples/a_input.png'}

    text = (folder / 'README.md').read_text()
    card = huggingface_hub.ModelCard.load(folder / 'README.md')
    header = card.data.to_dict()
    assert (header['license'], header['library_name']) == ('mit', 'glean_plus')
    assert header['pipeline_tag'] == 'image-to-image'
    assert card.data.model_name == 'mine'
    assert {(each.metric_name, each.metric_value, each.dataset_name) for each in card.data.eval_results} == {
        ('PSNR', 27.5, 'My test photographs'), ('ST-LPIPS-vgg', 0.25, 'My test photographs')}  # fmt: skip
    assert all(each.task_type == 'image-to-image' and each.dataset_type == 'my-test-photographs'
               for each in card.data.eval_results)  # fmt: skip
    for words in ('bicubic/PSNR | 26.0000', 'my photographs', r'`mim train a\|b`', 'hf://someone/mine/mine.safetensors'):
        assert words in text
    for shown in ('samples/a.png', 'samples/a_input.png'):
        assert f']({shown})' in text

    for name in ('mine.safetensors', 'mine.json'):
        put(cache, name, (folder / name).read_bytes(), 'someone/mine')
    (program,) = [part.split('```')[0] for part in text.split('```python\n')[1:]]
    exec(program.replace("'photo.png'", "'a.png'"))
    result = np.asarray(Image.open('restored.png')).astype(int)
    assert result.shape == (32, 32, 3) and (result == np.asarray(Image.open(folder / 'samples' / 'a.png'))).all()
    wanted = np.asarray(Restorer(light_checkpoint, device='cpu')(image)).astype(int)
    assert np.abs(result - wanted).max() <= 1, 'the weights are float16'


def test_publish_writes_a_folder_of_a_bank(tmp_path: Path) -> None:
    state = {key.replace('generator_ema.', 'generator_ema.module.'): each
             for key, each in read_state_dict(BANK_FILE).items()}  # fmt: skip
    torch.save(dict(state_dict=state, meta=dict(iter=7)), tmp_path / 'bank.pth')
    folder = tmp_path / 'emoji'
    arguments = ['bank', str(tmp_path / 'bank.pth'), str(folder), '--command', 'x', '--images-per-iter', '2']
    assert main(['publish', *arguments]) == 0
    assert {path.name for path in folder.iterdir()} == {'emoji.safetensors', 'emoji.json', 'README.md', 'samples'}
    header = huggingface_hub.ModelCard.load(folder / 'README.md').data.to_dict()
    assert header['pipeline_tag'] == 'unconditional-image-generation' and header['license'] == 'apache-2.0'
    assert 'model-index' not in header
    assert Image.open(folder / 'samples' / 'samples.png').size == (12 * 64, 4 * 64)
