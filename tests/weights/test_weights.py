"""Weight files: safe, strict, and clear about what is wrong."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from glean_plus.models import StyleGAN2Bank, StyleGAN2BankDiscriminator
from glean_plus.models.banks import base
from glean_plus.weights import CATALOGUE, Card, WeightsError, draws_bgr, read_state_dict, strict, write_safetensors
from glean_plus.weights.integrity import damage

SMALL = {4: 12, 8: 10, 16: 8}


def whole_bank() -> StyleGAN2Bank:
    return StyleGAN2Bank(16, style_channels=8, num_mlps=2, channels=SMALL)


def light_bank(path: Path, prefix: str = 'generator_ema') -> StyleGAN2Bank:
    return StyleGAN2Bank(
        16, start_res=8, style_channels=8, num_mlps=2, channels=SMALL, mapping=False, rgb=False,
        pretrained=dict(checkpoint=str(path), prefix=prefix),
    )  # fmt: skip


def save(path: Path, state: dict) -> Path:
    torch.save(dict(state_dict={f'generator_ema.{key}': value for key, value in state.items()}, meta={}), path)
    return path


def test_every_tensor_of_the_bank_is_the_checkpoint_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    for module in (strict, base):
        monkeypatch.setattr(module, 'print_log', lambda text, **kwargs: lines.append(text))
    state = whole_bank().state_dict()
    for bank in (light_bank(save(tmp_path / 'a.pth', state)), whole_bank()):
        bank.pretrained = dict(checkpoint=str(tmp_path / 'a.pth'), prefix='generator_ema')
        bank.init_weights()
        for key, value in bank.state_dict().items():
            assert torch.equal(value, state[key]), key
    out = '\n'.join(lines)
    assert 'all 26 tensors loaded' in out and 'all 51 tensors loaded' in out
    assert 'mapping network (codes do not come from noise)' in out


def remove(state: dict) -> None:
    del state['convs.1.conv.weight_orig']


def add(state: dict) -> None:
    state['convs.9.conv.weight_orig'] = torch.zeros(1)


def transpose(state: dict) -> None:
    state['convs.2.conv.weight_orig'] = state['convs.2.conv.weight_orig'].transpose(1, 2)


def lose_the_mapping(state: dict) -> None:
    del state['style_mapping.1.bias']


@pytest.mark.parametrize(
    ('damage', 'named'),
    [
        (remove, r'Missing from the file: convs\.1\.conv\.weight_orig'),
        (add, r'Not in the model: convs\.9\.conv\.weight_orig'),
        (transpose, r'Other shape: convs\.2\.conv\.weight_orig is \(1, 10, 8, 3, 3\).*\(1, 8, 10, 3, 3\)'),
        (lose_the_mapping, r'Missing from the file: style_mapping\.1\.bias'),  # a key that the light bank does not keep
    ],
)
def test_damaged_checkpoint_is_refused_by_key(damage: object, named: str, tmp_path: Path) -> None:
    state = whole_bank().state_dict()
    damage(state)
    bank = light_bank(save(tmp_path / 'a.pth', state))
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    with pytest.raises(WeightsError, match=named):
        bank.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in bank.state_dict().items()), 'half loaded'


def test_wrong_prefix_is_refused_and_the_right_ones_named(tmp_path: Path) -> None:
    bank = light_bank(save(tmp_path / 'a.pth', whole_bank().state_dict()), prefix='generator')
    with pytest.raises(WeightsError, match=r'no key that starts with "generator\.".*generator_ema \('):
        bank.init_weights()


def test_bank_of_other_channels_is_refused(tmp_path: Path) -> None:
    other = StyleGAN2Bank(16, style_channels=8, num_mlps=2, channels={4: 12, 8: 10, 16: 9})
    with pytest.raises(WeightsError, match=r'Other shape: convs\.2'):
        light_bank(save(tmp_path / 'a.pth', other.state_dict())).init_weights()


def test_unknown_key_in_pretrained_is_named(tmp_path: Path) -> None:
    bank = whole_bank()
    bank.pretrained = dict(checkpoint='a.pth', prefx='generator')
    with pytest.raises(WeightsError, match='prefx'):
        bank.init_weights()


def test_discriminator_is_loaded_strictly_too(tmp_path: Path) -> None:
    source = StyleGAN2BankDiscriminator(16, channels=SMALL)
    path = tmp_path / 'd.safetensors'
    write_safetensors({f'discriminator.{key}': value for key, value in source.state_dict().items()}, path)
    pretrained = dict(checkpoint=str(path), prefix='discriminator')
    loaded = StyleGAN2BankDiscriminator(16, channels=SMALL, pretrained=pretrained)
    loaded.init_weights()
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in loaded.state_dict().items())
    with pytest.raises(WeightsError, match='Other shape'):
        StyleGAN2BankDiscriminator(16, channels=SMALL | {4: 13}, pretrained=pretrained).init_weights()


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
@pytest.mark.parametrize('content', [b'', b'<!doctype html><title>404</title>', random.Random(0).randbytes(5000)],
                         ids=['empty', 'web page', 'noise'])  # fmt: skip
def test_files_that_are_no_weights_say_so(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match='no (PyTorch|readable safetensors) file') as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)


def test_truncated_file_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / 'a.pth', whole_bank().state_dict())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match='no PyTorch file'):
        read_state_dict(path)


def test_missing_file_and_file_without_tensors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match='There is no weight file'):
        read_state_dict(tmp_path / 'none.pth')
    torch.save(dict(meta={'iter': 1}), tmp_path / 'empty.pth')
    with pytest.raises(WeightsError, match='holds no tensors'):
        read_state_dict(tmp_path / 'empty.pth')


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f'touch {self.marker}',)


def test_pickle_that_calls_the_system_is_refused_before_anything_runs(tmp_path: Path) -> None:
    torch.save(dict(state_dict=Evil(tmp_path / 'ran')), tmp_path / 'evil.pth')
    with pytest.raises(WeightsError, match='cannot|no PyTorch file'):
        read_state_dict(tmp_path / 'evil.pth')
    assert not (tmp_path / 'ran').exists()


def test_written_files_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    write_safetensors({'x': torch.tensor([1.0, 2.0]), 'n': torch.tensor([3])}, path, dtype=torch.float16)
    loaded = load_file(path)
    assert loaded['x'].dtype == torch.float16 and loaded['n'].dtype == torch.int64
    with pytest.raises(TypeError):
        write_safetensors({'x': torch.ones(1)}, path, metadata={'a': object()})
    assert torch.equal(load_file(path)['x'], loaded['x']), 'the old file must survive a failed write'
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.safetensors']


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.lstrip('/'))
            self.send_response(200 if content is not None else 404)
            self.send_header('Content-Length', str(len(content or b'')))
            self.end_headers()
            self.wfile.write(content or b'')

        def log_message(self, *args: object) -> None:
            pass

    http = HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{http.server_port}', files
    http.shutdown()
    http.server_close()


def test_download_is_cached_and_checked(server: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, files = server
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    content = save(tmp_path / 'a.pth', whole_bank().state_dict()).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    files[name := f'bank-{digest[:8]}.pth'] = content
    assert len(read_state_dict(f'{url}/{name}', 'generator_ema')) == len(whole_bank().state_dict())
    del files[name]
    assert read_state_dict(f'{url}/{name}', 'generator_ema'), 'the second time it comes from the cache'

    cached = tmp_path / 'hub' / 'checkpoints' / name
    cached.write_bytes(content + b' ')
    with pytest.raises(WeightsError, match='Delete it'):
        read_state_dict(f'{url}/{name}')
    cached.write_bytes(content)

    files['bank-00000000.pth'] = content
    with pytest.raises(WeightsError, match='invalid hash'):
        read_state_dict(f'{url}/bank-00000000.pth')
    assert sorted(path.name for path in (tmp_path / 'hub' / 'checkpoints').iterdir()) == [name]

    with pytest.raises(WeightsError, match=r'Cannot download .*other-12345678\.pth.*starts with 12345678.*put it at'):
        read_state_dict(f'{url}/other-12345678.pth')


def test_loading_a_pickled_function_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'f.pth'
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(WeightsError):
        read_state_dict(path)


def test_openmmlab_s_banks_draw_bgr() -> None:
    for name, expected in dict(stylegan2_cat_256=True, biggan_deep_imagenet_256=False, glean_cat_16x=False).items():
        assert draws_bgr(CATALOGUE[name].url) is expected
    assert not draws_bgr('mine.pth')


def test_counters_that_old_files_lack_are_filled_in() -> None:
    """Batch norms of PyTorch 0.4 have none; those of the file stay."""
    norms = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(3))
    state = {key: torch.full_like(value, 7) for key, value in norms.state_dict().items()}
    del state['0.num_batches_tracked']
    strict.load_strict(norms, strict.with_batch_counts(norms, state), 'old.pth', 'norms')
    assert [int(norm.num_batches_tracked) for norm in norms] == [0, 7]
    assert all(torch.equal(value, norms.state_dict()[key]) for key, value in state.items())


def test_a_card_s_range_is_one() -> None:
    known = dict(name='x', kind='bank', data='x', licence='x', colour_order='rgb')
    low, high = Card(**known).value_range
    assert (type(low), low, high) == (int, -1, 1)
    for wrong in ((1, 1), (1, -1), (0, 1, 2)):
        with pytest.raises(WeightsError, match='value_range'):
            Card(**known, value_range=wrong)


@pytest.mark.parametrize(('times', 'refused'), [(15, False), (24, True)])
@pytest.mark.parametrize('repeated', [False, True])
def test_values_that_are_shared_count_each_time(repeated: bool, times: int, refused: bool, tmp_path: Path) -> None:
    """A file of 1 MB, one tensor of which has so many names, or a number of which a stride of 0 makes as many."""
    path, values = tmp_path / 'a.pth', torch.zeros(2**18)
    shared = {'a': values[:1].expand(times * 2**18)} if repeated else {str(index): values for index in range(times)}
    torch.save({'whole': values} | shared, path)
    if refused:
        with pytest.raises(WeightsError, match='which it is too small for'):
            read_state_dict(path)
    else:
        assert read_state_dict(path).keys() == {'whole', *shared}


def test_a_large_file_is_no_damaged_one(tmp_path: Path) -> None:
    """Its archive holds more than the leeway that a small one has."""
    torch.save({'a': torch.zeros(5 << 20)}, tmp_path / 'x.pth')
    assert damage(tmp_path / 'x.pth') is None
    assert read_state_dict(tmp_path / 'x.pth')['a'].shape == (5 << 20,)
