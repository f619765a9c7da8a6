"""Weight files of strangers: what is read of them, and what a refusal says."""

from __future__ import annotations

import argparse
import collections
import importlib
import io
import json
import os
import pathlib
import pickle
import sys
import tarfile
import types
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from glean_plus import Restorer, weights
from glean_plus.cli.main import main
from glean_plus.export import ExportError, export
from glean_plus.inference import RestoreError
from glean_plus.inference.source import find
from glean_plus.prepare.images import save
from glean_plus.training import newest_whole
from glean_plus.training.hooks.checkpoints import WholeFiles
from glean_plus.utils.files import read_names
from glean_plus.weights import Card, WeightsError, import_weights, read_card, read_state_dict, write_safetensors
from glean_plus.weights.containers import read_content
from glean_plus.weights.fetch import cached_path, fetch
from glean_plus.weights.torch_files import load_plain

from conftest import ROOT
from small_restorers import generator_config

DATA = ROOT / 'tests' / 'data' / 'formats'
ADA = DATA / 'nvlabs_stylegan2_torch.pkl'


# ---- pickles of each protocol


class Persistent:
    """What NVlabs' ``persistent_class`` writes."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules['torch_utils.persistence']._reconstruct_persistent_obj, (self.meta,)


class EasyDict(dict):
    """NVlabs' settings."""


@pytest.fixture
def nvlabs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The stored pickle, loaded as NVlabs' own code would, such that it can be written again."""
    modules = {name: ModuleType(name) for name in ('torch_utils', 'torch_utils.persistence', 'dnnlib', 'dnnlib.util')}
    rebuild = types.FunctionType((lambda meta: Persistent(meta)).__code__, globals(), '_reconstruct_persistent_obj')
    rebuild.__module__, rebuild.__qualname__ = 'torch_utils.persistence', '_reconstruct_persistent_obj'
    modules['torch_utils.persistence']._reconstruct_persistent_obj = rebuild
    monkeypatch.setattr(EasyDict, '__module__', 'dnnlib.util')
    modules['dnnlib.util'].EasyDict = EasyDict
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    tree: dict[str, Any] = pickle.loads(ADA.read_bytes())
    settings = dict(resolution=16, labels=frozenset({1}), names={'a', 'b'}, raw=b'\xff\0', empty=b'')
    tree['training_set_kwargs'] = EasyDict(settings)
    return tree


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_the_same_network(protocol: int, nvlabs: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / 'network.pkl'
    path.write_bytes(pickle.dumps(nvlabs, protocol))
    stored, found = import_weights(ADA), import_weights(path)
    assert (found.format, found.kwargs, found.prefix) == (stored.format, stored.kwargs, 'G_ema')
    assert found.state.keys() == stored.state.keys()
    assert all(torch.equal(found.state[key], stored.state[key]) for key in stored.state)


def test_names_of_python_2_are_known(tmp_path: Path) -> None:
    """As Python 2 wrote a module with a set, an object of an old class, and an array's bytes as a string."""
    dtype = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    array = empty + b'(I1\n(I2\nt' + dtype + b'I00\nU\x08' + np.float32([1, -1]).tobytes() + b'tb'
    network = b'ccopy_reg\n_reconstructor\n(cdnnlib.tflib.network\nNetwork\nc__builtin__\nobject\nNtR'
    network += b'(dU\x09variables(l(U\x01a' + array + b'tasU\x04seenc__builtin__\nset\n((lI1\natRsb'
    (tmp_path / 'x.pkl').write_bytes(b'(' + 3 * network + b't.')
    assert read_state_dict(tmp_path / 'x.pkl')['Gs.a'].tolist() == [1, -1]


# ---- refusals


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ('antigravity',)


def zipped(content: Any, path: Path) -> None:
    torch.save(content, path)


def zipless(content: Any, path: Path, **options: Any) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False, **options)


def zipless_by_digits(content: Any, path: Path) -> None:
    zipless(content, path, pickle_protocol=1)


def raw(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, 4))


READERS: dict[str, Callable[[Path], Any]] = {
    'convert, inspect': import_weights,
    'losses, metrics': read_state_dict,
    'restore, export, web': find,
    'mim test, mim train --resume': lambda path: CheckpointLoader.load_checkpoint(str(path), map_location='cpu'),
}


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('write', [zipped, zipless, zipless_by_digits, raw])
@pytest.mark.parametrize(('more', 'named'), [
    (pathlib.PurePosixPath('/x'), 'pathlib.PurePosixPath'),
    (collections.defaultdict(list, a=[1]), 'collections.defaultdict'),
    (Evil(), 'importlib.import_module'),
])  # fmt: skip
def test_a_refusal_names_what_the_file_asks_for(
    more: Any, named: str, write: Callable[[Any, Path], None], reader: str, tmp_path: Path
) -> None:
    path = tmp_path / 'x.pth'
    write(dict(state_dict={'a.weight': torch.zeros(2)}, meta=dict(extra=more)), path)
    with pytest.raises(WeightsError) as caught:
        READERS[reader](path)
    text = str(caught.value)
    assert 'x.pth' in text and '\n' not in text and '\x1b' not in text
    assert not any(word in text for word in ('weights_only', 'trust', 'two options', 'file an issue'))
    assert f'asks for {named}, which is refused: save its tensors alone' in text


@pytest.mark.parametrize('write', [zipped, zipless])
def test_what_trainers_put_beside_tensors_is_data(write: Callable[[Any, Path], None], tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(3.0))
    weight.group = 'slow'  # written by a function of its own
    beside = [
        {'a', 'b'}, frozenset({1}), 1 + 2j, argparse.Namespace(lr=1e-3), ConfigDict(dict(type='Adam')),
        collections.OrderedDict(a=1), np.float32(3), np.arange(3), torch.Size([2]), torch.float16, b'bytes',
    ]  # fmt: skip
    write(dict(params_ema={'a.weight': weight}, beside=beside), tmp_path / 'x.pth')
    content = read_content(tmp_path / 'x.pth')
    assert content.tensors['params_ema.a.weight'].tolist() == [0, 1, 2]


def test_a_program_is_no_checkpoint(tmp_path: Path) -> None:
    """``torch.load`` would hand it on to ``torch.jit.load``, which runs what it brings."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / 'x.pth')
    for read in READERS.values():
        with pytest.raises(WeightsError, match=r'x\.pth .*: it is a TorchScript program'):
            read(tmp_path / 'x.pth')


def test_the_oldest_format_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / 'x.pt', 'w') as archive:
        info = tarfile.TarInfo('storages')
        info.size = 3
        archive.addfile(info, io.BytesIO(b'abc'))
    with pytest.raises(WeightsError, match=r'x\.pt .*: it is a tar archive, .* save it again'):
        read_state_dict(tmp_path / 'x.pt')


# ---- where in a file a network is


@pytest.fixture(scope='module')
def rosinality() -> dict[str, torch.Tensor]:
    return load_plain(DATA / 'rosinality_stylegan2.pt')['g_ema']


def nest(state: dict[str, Any], *names: str) -> dict[str, Any]:
    """Each name is a dict around what is there so far, or a start of every key if it ends in a dot."""
    for name in names:
        state = {name + key: value for key, value in state.items()} if name.endswith('.') else {name: state}
    return state


@pytest.mark.parametrize(('names', 'prefix'), [
    (['module.'], 'module'), (['_orig_mod.'], '_orig_mod'), (['module.', 'g_ema'], 'g_ema.module'), (['ema'], 'ema'),
    (['netG_ema'], 'netG_ema'), (['model.', 'state_dict'], 'model'), (['_orig_mod.', 'module.', 'model'],
    'model.module._orig_mod'), (['module.', 'ema_state_dict'], 'ema_state_dict.module'), (['decoder.'], 'decoder'),
    (['state_dict', 'model'], 'model.state_dict'), (['a.', 'b.', 'c', 'd'], 'd.c.b.a'),
])  # fmt: skip
def test_a_network_is_found_wherever_it_is(
    names: list[str], prefix: str, rosinality: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(nest(rosinality, *names), tmp_path / 'x.pt')
    found = import_weights(tmp_path / 'x.pt')
    assert (found.format, found.prefix) == ('rosinality StyleGAN2', prefix)
    assert found.matched + len(found.ignored) == len(rosinality)
    for given in (prefix, prefix.rpartition('.')[0]):  # below what is given, too
        assert import_weights(tmp_path / 'x.pt', prefix=given).prefix == prefix


def test_a_wrapper_within_a_network_is_left_out(rosinality: dict[str, torch.Tensor], tmp_path: Path) -> None:
    state = {key.replace('.', '._orig_mod.', 1): value for key, value in rosinality.items()}
    torch.save(nest(state, 'module.', 'g_ema'), tmp_path / 'x.pt')
    found, plain = import_weights(tmp_path / 'x.pt'), import_weights(DATA / 'rosinality_stylegan2.pt')
    assert found.prefix == 'g_ema'
    assert all(torch.equal(found.state[key], plain.state[key]) for key in plain.state)


@pytest.mark.parametrize(('names', 'taken'), [
    (['netG', 'netG_ema'], 'netG_ema'), (['modelEMA', 'model'], 'modelEMA'), (['', 'ema'], 'ema'),
    (['state_dict', 'state_dict_ema'], 'state_dict_ema'), (['G', 'Gs'], 'Gs'), (['g', 'avg.g'], 'avg.g'),
])  # fmt: skip
def test_of_several_networks_the_averaged_one_is_taken_and_logged(
    names: list[str], taken: str, rosinality: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content: dict[str, Any] = {}
    for i, name in enumerate(names):
        state = {key: value + i for key, value in rosinality.items()}
        content |= nest(state, *(name.split('.')[::-1] if name else ()))
    torch.save(content, tmp_path / 'x.pt')
    said: list[str] = []
    monkeypatch.setattr(weights.prefixes, 'print_log', lambda text, **options: said.append(text))
    found = import_weights(tmp_path / 'x.pt')
    assert found.prefix == taken
    added = names.index(taken)
    assert torch.equal(found.state['constant_input.input'], rosinality['input.input'] + added)
    assert len(said) == 1 and f"the averaged one at '{taken}' is taken" in said[0]


@pytest.mark.parametrize('names', [['g1', 'g2'], ['g_ema', 'h_ema', 'g'], ['', 'other']])
def test_between_equals_nothing_is_guessed(
    names: list[str], rosinality: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    content: dict[str, Any] = {}
    for name in names:
        content |= nest(rosinality, *([name] if name else []))
    torch.save(content, tmp_path / 'x.pt')
    with pytest.raises(WeightsError, match=rf"say which one by --prefix '{names[0]}' or --prefix '{names[1]}'"):
        import_weights(tmp_path / 'x.pt')
    for name in names:
        assert import_weights(tmp_path / 'x.pt', prefix=name).prefix == name


@pytest.mark.parametrize('change', [
    lambda key: f'module.{key}', lambda key: f'model.module.{key}', lambda key: key.replace('.', '._orig_mod.', 1),
    lambda key: f'net.{key}'.replace('generator_ema.', 'generator_ema.module.'),
])  # fmt: skip
def test_a_restorer_is_found_wherever_it_is(
    change: Callable[[str], str], light_checkpoint: Path, tmp_path: Path
) -> None:
    content = load_plain(light_checkpoint)
    state = {change(key): value for key, value in content['state_dict'].items()}
    if any('generator_ema.module.' in key for key in state):
        state['net.generator_ema.steps'] = torch.tensor(3)  # which MMEngine's averages have
    torch.save({**content, 'state_dict': state}, tmp_path / 'x.pth')
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    plain, wrapped = (Restorer(path, device='cpu')(image) for path in (light_checkpoint, tmp_path / 'x.pth'))
    assert (plain == wrapped).all()


# ---- text that cannot be encoded

HALVES = ['\ud800', 'a\udc00b', '\udcff']


def refuses(call: Callable[[], Any], *errors: type[Exception]) -> None:
    with pytest.raises(errors) as caught:
        call()
    assert not isinstance(caught.value, UnicodeError)
    if not isinstance(caught.value, OSError):
        str(caught.value).encode()


@pytest.mark.parametrize('half', HALVES)
def test_names_and_addresses_that_are_no_text_are_refused(half: str, light_checkpoint: Path, tmp_path: Path) -> None:
    place = f'{tmp_path}/{half}'
    refuses(lambda: cached_path(f'https://h/{half}.pth', tmp_path), WeightsError)
    refuses(lambda: fetch(f'https://h{half}/x.pth', tmp_path), WeightsError)
    refuses(lambda: Restorer(f'https://h/{half}.pth'), WeightsError)
    for read in (*READERS.values(), read_card):
        refuses(lambda read=read: read(Path(f'{place}.pth')), WeightsError, RestoreError, OSError)
    refuses(lambda: Restorer(light_checkpoint, device=half), RestoreError)
    refuses(lambda: Restorer(half, light_checkpoint), RestoreError)
    refuses(lambda: import_weights(light_checkpoint, prefix=half), WeightsError)
    refuses(lambda: write_safetensors({half: torch.zeros(1)}, tmp_path / 'x.safetensors'), WeightsError)
    card = dict(kind='bank', data='x', licence='x', colour_order='rgb')
    for field in ('name', 'data', 'licence', 'url', 'config'):
        refuses(lambda field=field: Card(**{'name': 'x', **card, field: half}), WeightsError)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize('half', HALVES[:2])
def test_pictures_and_results_that_no_file_can_be_are_named(
    half: str, light_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    restorer, image = Restorer(light_checkpoint, device='cpu'), np.zeros((16, 16, 3), np.uint8)
    refuses(lambda: restorer(f'{tmp_path}/{half}.png'), RestoreError)
    refuses(lambda: restorer.infer(image, f'{tmp_path}/{half}.png'), RestoreError, OSError)
    refuses(lambda: export(light_checkpoint, out=f'{tmp_path}/{half}.onnx'), ExportError, OSError)
    save(image, tmp_path / 'x.png')
    options = ['--model', str(light_checkpoint), '--device', 'cpu']
    assert main(['restore', str(tmp_path / 'x.png'), f'{tmp_path}/{half}.png', *options]) in (1, 2)
    assert main(['restore', f'{tmp_path}/{half}.png', str(tmp_path / 'y.png'), *options]) == 2
    assert main(['restore', str(tmp_path / 'x.png'), str(tmp_path / 'z.png'), *options, '--json', half]) == 1
    assert 'Traceback' not in capsys.readouterr().err


@pytest.mark.parametrize('half', HALVES)
def test_text_in_a_file_that_is_none_is_named(half: str, tmp_path: Path) -> None:
    card = dict(name='x', kind='restorer', data='x', licence='x', colour_order='rgb', config='x')
    for field in card:
        text = json.dumps(card | {field: half})
        save_file({'a': torch.zeros(1)}, tmp_path / 'x.safetensors', metadata=dict(card=text))
        (tmp_path / 'x.json').write_text(text)
        refuses(lambda: find(tmp_path / 'x.safetensors'), WeightsError, RestoreError)
        refuses(lambda: read_card(tmp_path / 'x.json'), WeightsError)
    torch.save({half: {half: torch.zeros(1)}}, tmp_path / 'x.pth')
    for read in (import_weights, find):
        refuses(lambda read=read: read(tmp_path / 'x.pth'), WeightsError, RestoreError)
    config = f'model = dict(type="GLEANRestorer", generator=dict(in_size=1, type={half!r}))'
    torch.save(dict(state_dict={'a': torch.zeros(1)}, meta=dict(cfg=config)), tmp_path / 'x.pth')
    refuses(lambda: find(tmp_path / 'x.pth'), RestoreError)


def test_a_list_names_files_of_any_bytes(tmp_path: Path) -> None:
    (tmp_path / 'list.txt').write_bytes(b'\xef\xbb\xbfa.png (4,4,3)\n\n\xff\xc3\xa9.png 3\n')
    assert read_names(tmp_path / 'list.txt') == ['a.png', os.fsdecode(b'\xff\xc3\xa9.png')]


def test_a_checkpoint_in_a_folder_of_any_bytes_is_found_again(tmp_path: Path) -> None:
    folder, runner = tmp_path / os.fsdecode(b'\xff'), tmp_path / 'work'
    folder.mkdir()
    torch.save({'a': torch.zeros(1)}, folder / 'iter_3.pth')
    WholeFiles().put(os.fsencode(folder / 'iter_3.pth'), runner / 'last_checkpoint')
    assert newest_whole(runner) == folder / 'iter_3.pth'


# ---- checkpoints of MMEngine's newer configs


def test_types_may_be_paths_of_registered_classes(light_checkpoint: Path, tmp_path: Path) -> None:
    content = load_plain(light_checkpoint)
    text = content['meta']['cfg']
    paths = {
        'GLEANRestorer': 'glean_plus.training.restorer.GLEANRestorer', 'GLEAN': 'glean_plus.models.GLEAN',
        'StyleGAN2Bank': 'glean_plus.models.banks.stylegan2.StyleGAN2Bank',
        'GLEANEncoder': 'glean_plus.models.encoder.GLEANEncoder', 'GLEANDecoder': 'glean_plus.models.GLEANDecoder',
        'DataPreprocessor': 'mmagic.models.data_preprocessors.DataPreprocessor',
    }  # fmt: skip
    for name, path in paths.items():
        assert f"type='{name}'" in text
        text = text.replace(f"type='{name}'", f"type='{path}'")
    torch.save({**content, 'meta': dict(cfg=text)}, tmp_path / 'x.pth')
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    plain, new = (Restorer(path, device='cpu')(image) for path in (light_checkpoint, tmp_path / 'x.pth'))
    assert (plain == new).all()
    for other in ('glean_plus.weights.GLEANDecoder', 'nowhere.GLEANDecoder', 'mmagic.models.GLEANStyleGANv2',
                  'glean_plus.models.decoder.nn', 'os.system'):  # fmt: skip
        changed = text.replace('glean_plus.models.GLEANDecoder', other)
        torch.save({**content, 'meta': dict(cfg=changed)}, tmp_path / 'x.pth')
        with pytest.raises(RestoreError, match=f"made of a '{other}', which is none of the networks here"):
            find(tmp_path / 'x.pth')


# ---- configs of networks that cannot be


@pytest.mark.parametrize(('changes', 'named'), [
    (dict(num_rrdbs=10**6), 'it has more than .* parts, far more than the file has tensors for'),
    (dict(num_rrdbs=10**9), 'model.generator.encoder.num_rrdbs = 1000000000, which no network has'),
    (dict(rrdb_channels=-8), 'makes no network: .*negative'),
    (dict(rrdb_channels=2**20), 'does not fit .* Other shape'), (dict(growth_channels=[4]), 'makes no network'),
])  # fmt: skip
def test_a_network_that_is_not_the_file_s_is_never_built(
    changes: dict[str, Any], named: str, light_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = load_plain(light_checkpoint)
    generator = generator_config(True)
    generator['encoder'] |= changes
    content['meta'] = dict(cfg=f"model = {dict(type='GLEANRestorer', generator=generator)!r}")
    torch.save(content, tmp_path / 'x.pth')

    def registered(module: Any, name: str, parameter: Any) -> None:
        assert parameter is None or parameter.is_meta, 'memory was taken'

    handle = torch.nn.modules.module.register_module_parameter_registration_hook(registered)
    try:
        with pytest.raises((RestoreError, WeightsError), match=rf'x\.pth .*{named}'):
            Restorer(tmp_path / 'x.pth', device='cpu')
    finally:
        handle.remove()
