"""Published formats: each stored file gives the image that its own project made of it, or is refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.models.editors.biggan import BigGANGenerator
from safetensors.torch import load_file
from torch import Tensor, nn

from glean_plus.models import BigGANBankDiscriminator, StyleGAN1Bank, StyleGAN2Bank, StyleGAN2BankDiscriminator
from glean_plus.weights import Imported, WeightsError, import_weights, write_safetensors
from glean_plus.weights.containers import read_content
from glean_plus.weights.formats import importer
from glean_plus.weights.formats.layout import published_networks
from glean_plus.weights.formats.rules import log2

from conftest import ROOT, load_tool, relative_error, shake

DATA = ROOT / 'tests' / 'data' / 'formats'
TOLERANCE = 3e-5  # of the picture's range, which single precision takes over sixteen normalised layers
SMALL = {4: 12, 8: 10, 16: 6}


# File, format, architecture, where in the file.
GENERATORS = [
    ('nvlabs_stylegan2_torch.pkl', 'NVlabs StyleGAN2 (PyTorch)', 'StyleGAN2', 'G_ema'),
    ('nvlabs_stylegan2_tensorflow.pkl', 'NVlabs StyleGAN2 (TensorFlow)', 'StyleGAN2', 'Gs'),
    ('nvlabs_stylegan_tensorflow.pkl', 'NVlabs StyleGAN (TensorFlow)', 'StyleGAN1', 'Gs'),
    ('rosinality_stylegan2.pt', 'rosinality StyleGAN2', 'StyleGAN2', 'g_ema'),
    ('basicsr_stylegan2.pth', 'BasicSR StyleGAN2', 'StyleGAN2', 'params_ema'),
    ('genforce_stylegan2.pth', 'GenForce StyleGAN2', 'StyleGAN2', 'generator_smooth'),
    ('genforce_stylegan.pth', 'GenForce StyleGAN', 'StyleGAN1', 'generator_smooth'),
    ('ajbrock_biggan.pth', 'ajbrock BigGAN', 'BigGAN', ''),
    ('ajbrock_biggan_deep.pth', 'ajbrock BigGAN-deep', 'BigGAN-deep', ''),
    ('huggingface_biggan_deep.bin', 'huggingface BigGAN-deep', 'BigGAN-deep', ''),
]
NAMES = [row[0] for row in GENERATORS]
STYLEGAN2 = [row[0] for row in GENERATORS if row[2] == 'StyleGAN2']
DISCRIMINATORS = [
    ('nvlabs_stylegan2_torch.pkl', 'D'),
    ('nvlabs_stylegan2_tensorflow.pkl', 'D'),
    ('rosinality_stylegan2.pt', 'd'),
    ('basicsr_stylegan2_discriminator.pth', 'params'),
    ('ajbrock_biggan_discriminator.pth', ''),
]
SCORERS = {'StyleGAN2 discriminator': StyleGAN2BankDiscriminator, 'BigGAN discriminator': BigGANBankDiscriminator}


def expected(name: str) -> dict[str, Tensor]:
    return load_file(DATA / f'{Path(name).stem}.expected.safetensors')


@torch.no_grad()
def picture(found: Imported, inputs: dict[str, Tensor], size: int) -> Tensor:
    net = published_networks()[found.architecture](**found.kwargs).eval()
    net.load_state_dict(found.state, strict=True)
    if 'label' in inputs:
        image = net(inputs['z'], inputs['label'])
    else:
        image = net(inputs['z'], randomize_noise=False)
    step = image.shape[-1] // size
    return image[..., ::step, ::step]


def error(found: Imported, name: str, key: str = 'image') -> float:
    stored = expected(name)
    return relative_error(stored[key], picture(found, stored, stored[key].shape[-1]))


@pytest.mark.parametrize(('name', 'format', 'architecture', 'prefix'), GENERATORS, ids=NAMES)
def test_stored_file_gives_its_own_project_s_picture(name: str, format: str, architecture: str, prefix: str) -> None:
    found = import_weights(DATA / name)
    assert (found.format, found.architecture, found.prefix) == (format, architecture, prefix)
    assert found.missing == [] and all(found.ignored.values()) and all(found.filled.values())
    assert found.matched + len(found.ignored) == len(read_content(DATA / name).below(prefix).tensors)
    assert error(found, name) < TOLERANCE


@pytest.mark.parametrize(('name', 'prefix'), DISCRIMINATORS)
@torch.no_grad()
def test_stored_discriminator_gives_its_own_project_s_scores(name: str, prefix: str) -> None:
    found = import_weights(DATA / name, discriminator=True)
    assert found.prefix == prefix and found.missing == [] and found.foreign
    net = SCORERS[found.architecture](**found.kwargs).eval()
    net.load_state_dict(found.state, strict=True)
    stored = expected(name)
    score = net(stored['x'], *([stored['y']] if 'y' in stored else []))
    torch.testing.assert_close(score, stored['score'], rtol=1e-5, atol=1e-5)


def test_batch_statistics_are_those_of_the_truncation_asked_for() -> None:
    name = 'huggingface_biggan_deep.bin'
    assert error(import_weights(DATA / name, truncation=0.35), name, 'image_035') < TOLERANCE
    assert error(import_weights(DATA / name), name, 'image_035') > 1e-2
    with pytest.raises(WeightsError, match='at most 1, but is 1.5'):
        import_weights(DATA / name, truncation=1.5)


@pytest.mark.parametrize('turn', [lambda kernel: kernel.flip(-2, -1), lambda kernel: kernel.transpose(-2, -1)],
                         ids=['by 180 degrees', 'transposed'])  # fmt: skip
@pytest.mark.parametrize('name', NAMES)
def test_one_turned_kernel_fails_the_parity(name: str, turn: Callable[[Tensor], Tensor]) -> None:
    found = import_weights(DATA / name)
    last = {'StyleGAN2': 'convs.2.conv.weight_orig', 'StyleGAN1': 'convs.5.conv1.0.conv.weight_orig'}
    key = last.get(found.architecture, 'output_layer.conv.weight' + '_orig' * ('hugging' in name))
    found.state[key] = turn(found.state[key])
    assert error(found, name) > 1e-3


# ------------------------------------------------------------------------------------------- damaged layouts


def resaved(name: str, tmp_path: Path, damage: Callable[[dict[str, Tensor]], None]) -> Path:
    """The network of a stored file, damaged, in a file of its own."""
    content = importer.read_content(DATA / name).below(next(row[3] for row in GENERATORS if row[0] == name))
    state = dict(content.tensors)
    damage(state)
    torch.save(state, tmp_path / 'damaged.pth')
    return tmp_path / 'damaged.pth'


def widest(state: dict[str, Tensor]) -> str:
    """A kernel or matrix that is not square and no anchor of a format."""
    return next(
        key for key, value in reversed(state.items())
        if value.ndim >= 2 and len(set(value.shape)) > 1 and value.shape[-1] != value.shape[-2] and value.numel() > 30
    )  # fmt: skip


def rename(state: dict[str, Tensor]) -> None:
    key = widest(state)
    state[key.replace('weight', 'wieght')] = state.pop(key)


def grow(state: dict[str, Tensor]) -> None:
    key = widest(state)
    state[key] = torch.cat([state[key], state[key][:1]])


def transpose(state: dict[str, Tensor]) -> None:
    key = widest(state)
    state[key] = state[key].transpose(-1, -2)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('damage', 'named'), [
    (rename, 'which has no such keys: .*wieght'),
    (grow, r'is \(.*\), (and|but)|is not:'),
    (transpose, r'is \(.*\), (and|but)|is not:'),
])  # fmt: skip
def test_layout_changed_in_one_key_or_shape_is_refused(
    damage: Callable, named: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=named):
        import_weights(resaved(name, tmp_path, damage))


def test_missing_tensor_is_listed_and_refused_by_a_bank(tmp_path: Path) -> None:
    path = resaved('rosinality_stylegan2.pt', tmp_path, lambda state: state.pop('to_rgbs.1.bias'))
    found = import_weights(path)
    assert found.missing == ['to_rgbs.1.bias']
    bank = StyleGAN2Bank(**found.kwargs, pretrained=dict(checkpoint=str(path)))
    with pytest.raises(WeightsError, match=r'Missing from the file: to_rgbs\.1\.bias'):
        bank.init_weights()


def test_file_without_fixed_noise_gets_the_same_noise_each_time(tmp_path: Path) -> None:
    def silence(state: dict[str, Tensor]) -> None:
        for key in [key for key in state if key.startswith('noises')]:
            del state[key]

    path = resaved('rosinality_stylegan2.pt', tmp_path, silence)
    first, second = import_weights(path), import_weights(path)
    assert first.missing == [] and len(first.filled) == 5
    assert all(torch.equal(first.state[key], second.state[key]) for key in first.filled)


@pytest.mark.parametrize(('key', 'reason'), [
    ('mapping.embed.weight', 'conditioned on classes'),
    ('synthesis.b8.skip.weight', 'resnet'),
])  # fmt: skip
def test_network_that_no_bank_can_be_says_why(key: str, reason: str, tmp_path: Path) -> None:
    def add(state: dict[str, Tensor]) -> None:
        state[key] = torch.zeros(1)

    with pytest.raises(WeightsError, match=f'cannot become a bank: .*{reason}'):
        import_weights(resaved('nvlabs_stylegan2_torch.pkl', tmp_path, add))


def test_settings_that_compute_something_else_are_refused(tmp_path: Path) -> None:
    def setting(key: str, value: Any) -> Path:
        content = importer.read_content(DATA / 'nvlabs_stylegan2_tensorflow.pkl').below('Gs')
        torch.save(content.tensors | {'static_kwargs': {key: value}}, tmp_path / 'a.pth')
        return tmp_path / 'a.pth'

    with pytest.raises(WeightsError, match=r"nonlinearity is 'relu'; a bank knows 'lrelu'"):
        import_weights(setting('nonlinearity', 'relu'))
    with pytest.raises(WeightsError, match=r'resample_kernel is \[1, 1\]'):
        import_weights(setting('resample_kernel', [1, 1]))
    assert import_weights(setting('mapping_lrmul', 0.1)).kwargs['lr_mlp'] == 0.1
    # How TensorFlow computes it, which NVlabs' files say either way.
    assert import_weights(setting('fused_modconv', True)).missing == []
    first = importer.read_content(DATA / 'nvlabs_stylegan_tensorflow.pkl').below('Gs').tensors
    torch.save(first | {'static_kwargs': {'blur_filter': [1, 2, 1]}}, tmp_path / 'a.pth')
    assert import_weights(tmp_path / 'a.pth').missing == []
    torch.save(first | {'static_kwargs': {'blur_filter': [1, 3, 3, 1]}}, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match=r'blur_filter is \[1, 3, 3, 1\]'):
        import_weights(tmp_path / 'a.pth')
    assert import_weights(setting('fused_modconv', False)).missing == []


@pytest.mark.parametrize(
    ('network', 'key', 'value', 'reason'),
    [
        ('G_ema', 'synthesis.b8.architecture', 'resnet', "architecture is 'resnet'; a bank knows 'skip'"),
        ('G_ema', 'synthesis.b8.conv1.activation', 'relu', "activation is 'relu'; a bank knows 'lrelu' or 'linear'"),
        ('G_ema', 'synthesis.b8.conv1.use_noise', False, 'use_noise is False; a bank knows True'),
        ('D', 'b8.architecture', 'skip', "architecture is 'skip'; a bank knows 'resnet'"),
        ('D', 'b4.mbstd.num_channels', 2, 'num_channels is 2; a bank knows 1'),
    ],
)
def test_settings_of_nvlabs_modules_are_looked_at(
    network: str, key: str, value: Any, reason: str, tmp_path: Path
) -> None:
    content = importer.read_content(DATA / 'nvlabs_stylegan2_torch.pkl').below(network)
    assert key in content.settings
    options = dict(discriminator=network == 'D')
    torch.save(content.tensors | content.settings, tmp_path / 'a.pth')
    assert import_weights(tmp_path / 'a.pth', **options).missing == []
    torch.save(content.tensors | content.settings | {key: value}, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match=reason):
        import_weights(tmp_path / 'a.pth', **options)


def test_unknown_file_names_what_it_has_and_what_is_known(tmp_path: Path) -> None:
    torch.save({key: torch.ones(1) for key in ('conv.weight', 'conv.bias', 'fc.weight')}, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match=r'keys start with: conv \(2\), fc \(1\)\. Known: .*rosinality StyleGAN2'):
        import_weights(tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='is MMagic StyleGAN2 discriminator, where a generator is wanted'):
        torch.save(StyleGAN2BankDiscriminator(8, channels=SMALL).state_dict(), tmp_path / 'd.pth')
        import_weights(tmp_path / 'd.pth', prefix='')


# ------------------------------------------------------------------------------------------------- safety


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def persistent(meta: dict) -> None:
    """Stands for NVlabs' function of that name, which runs ``module_src``."""


@pytest.fixture
def nvlabs_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType('torch_utils.persistence')
    persistent.__module__, persistent.__qualname__ = module.__name__, '_reconstruct_persistent_obj'
    module._reconstruct_persistent_obj = persistent
    monkeypatch.setitem(sys.modules, 'torch_utils', ModuleType('torch_utils'))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize(('call', 'named'), [
    (lambda marker: Calls(os.system, f'touch {marker}'), r'posix\.system'),
    (lambda marker: Calls(eval, f'open({str(marker)!r}, "w")'), r'builtins\.eval'),
    (lambda marker: Calls(getattr, os, 'system'), r'builtins\.getattr'),
    (lambda marker: [np.ones(3), Calls(os.mkdir, str(marker))], r'posix\.mkdir'),
])  # fmt: skip
@pytest.mark.parametrize('suffix', ['pkl', 'pth'])
def test_hostile_pickle_is_refused_by_name_before_anything_runs(
    call: Callable, named: str, suffix: str, tmp_path: Path
) -> None:
    path, marker = tmp_path / f'evil.{suffix}', tmp_path / 'ran'
    path.write_bytes(pickle.dumps(dict(G_ema=call(marker))) if 'getattr' not in named else
                     b'\x80\x02cbuiltins\ngetattr\n.')
    with pytest.raises(WeightsError, match=f'asks for {named}, which is refused'):
        import_weights(path)
    assert not marker.exists()


def test_embedded_source_is_never_run(nvlabs_module: ModuleType, tmp_path: Path) -> None:
    marker = tmp_path / 'ran'
    state = dict(_parameters={'weight': torch.ones(2)}, _buffers={}, _modules={})
    meta = dict(type='class', version=6, module_src=f'open({str(marker)!r}, "w")', class_name='Evil', state=state)
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(G_ema=Calls(persistent, meta))))
    content = importer.read_content(tmp_path / 'a.pkl')
    assert list(content.tensors) == ['G_ema.weight'] and not marker.exists()
    assert not any('open(' in str(value) for value in content.settings.values())


def test_hostile_storage_inside_a_pickle_is_refused(tmp_path: Path) -> None:
    inner, marker = io.BytesIO(), tmp_path / 'ran'
    torch.save(Calls(os.system, f'touch {marker}'), inner, _use_new_zipfile_serialization=False)
    call = Calls(torch.storage._load_from_bytes, inner.getvalue())
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(G_ema=call)))
    with pytest.raises(WeightsError, match='cannot|safely'):
        import_weights(tmp_path / 'a.pkl')
    assert not marker.exists()


def test_safetensors_whose_length_starts_like_a_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    for spaces in range(40):
        write_safetensors({'a': torch.ones(1)}, path, metadata={'note': 'x' * (spaces * 8)})
        if path.read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail('no header has that length')
    assert importer.read_content(path).tensors['a'] == 1


def test_dict_that_shares_itself_many_times_is_bounded(tmp_path: Path) -> None:
    bomb: Any = {'x': 1}
    for _ in range(30):
        bomb = {str(i): bomb for i in range(10)}
    torch.save(bomb, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='unfolds to more than'):
        import_weights(tmp_path / 'a.pth')


@pytest.mark.parametrize('name', ['nvlabs_stylegan2_torch.pkl', 'nvlabs_stylegan_tensorflow.pkl',
                                  'rosinality_stylegan2.pt', 'ajbrock_biggan.pth'])  # fmt: skip
@pytest.mark.parametrize(('content', 'named'), [
    (lambda data: data[:len(data) // 2], 'no PyTorch file'),
    (lambda data: b'', 'it is empty'),
    (lambda data: b'\n<!DOCTYPE html><title>404</title>', 'a web page'),
])  # fmt: skip
def test_broken_file_says_what_it_is(content: Callable, named: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content((DATA / name).read_bytes()))
    with pytest.raises(WeightsError, match=named) as caught:
        import_weights(path)
    assert str(path) in str(caught.value)


# ------------------------------------------------------------------------------------------ banks and tools


def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(importer, 'print_log', lambda text, **kwargs: lines.append(text))
    return lines


@pytest.mark.parametrize('name', NAMES)
def test_bank_takes_any_format_as_pretrained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = logged(monkeypatch)
    found = import_weights(DATA / name)
    for options in (dict(), dict(start_res=8, rgb=False)):
        options['pretrained'] = dict(checkpoint=str(DATA / name))
        bank = published_networks()[found.architecture](**found.kwargs, **options)
        bank.init_weights()
        assert all(torch.equal(value, found.state[key]) for key, value in bank.state_dict().items())
    assert len(lines) == 2 and f'{found.format}: {found.matched} tensors converted' in lines[0]


def test_what_does_not_fit_a_bank_is_named() -> None:
    def bank(checkpoint: str, **changes: Any) -> StyleGAN2Bank:
        sizes = dict(out_size=16, style_channels=16, num_mlps=2, channels=SMALL) | changes
        return StyleGAN2Bank(**sizes, pretrained=dict(checkpoint=str(DATA / checkpoint)))

    with pytest.raises(WeightsError, match=r'is a BigGAN \(ajbrock BigGAN\), but StyleGAN2Bank is a StyleGAN2'):
        bank('ajbrock_biggan.pth').init_weights()
    with pytest.raises(WeightsError, match='out_size is 16 in the file and 8 in the config; channels is '):
        bank('rosinality_stylegan2.pt', out_size=8).init_weights()
    with pytest.raises(WeightsError, match='num_mlps is 2 in the file and 3 in the config'):
        bank('rosinality_stylegan2.pt', num_mlps=3).init_weights()
    with pytest.raises(WeightsError, match=r'lr_mlp is 0\.01 in the file and 1\.0 in the config'):
        bank('nvlabs_stylegan2_torch.pkl', lr_mlp=1.0, channels={4: 12, 8: 12, 16: 6}).init_weights()


def test_biggan_whose_noise_does_not_reach_every_block_is_refused(tmp_path: Path) -> None:
    net = BigGANGenerator(32, noise_size=10, num_classes=5, shared_dim=8, base_channels=4, split_noise=False)
    torch.save(net.state_dict(), tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='conditioned on 8 numbers and its first layer on 10'):
        import_weights(tmp_path / 'a.pth')


def test_order_of_the_authors_stylegan_is_not_taken_for_mmagic_s() -> None:
    path = str(DATA / 'genforce_stylegan.pth')
    bank = StyleGAN1Bank(**import_weights(path).kwargs | dict(official=False), pretrained=dict(checkpoint=path))
    with pytest.raises(WeightsError, match='build StyleGAN1Bank with official=True'):
        bank.init_weights()


def test_discriminator_takes_any_format_as_pretrained() -> None:
    for name, prefix in DISCRIMINATORS:
        found = import_weights(DATA / name, discriminator=True)
        given = {key: value for key, value in found.kwargs.items() if key != 'mbstd_group'}
        for pretrained in (dict(checkpoint=str(DATA / name)), dict(checkpoint=str(DATA / name), prefix=prefix)):
            net = SCORERS[found.architecture](**given, pretrained=pretrained)
            net.init_weights()
            assert all(torch.equal(value, found.state[key]) for key, value in net.state_dict().items())
    with pytest.raises(WeightsError, match='in_size is 16 in the file and 8 in the config'):
        StyleGAN2BankDiscriminator(8, channels=SMALL, pretrained=dict(checkpoint=str(DATA / DISCRIMINATORS[0][0]))
                                   ).init_weights()
    pretrained = dict(checkpoint=str(DATA / 'ajbrock_biggan_discriminator.pth'))
    with pytest.raises(WeightsError, match=r'num_classes is 5 in the file and 9 in the config; attention is \(8,\)'):
        BigGANBankDiscriminator(64, 9, base_channels=2, attention=(), pretrained=pretrained).init_weights()
    with pytest.raises(WeightsError, match='is a BigGAN discriminator .*, but StyleGAN2BankDiscriminator is a'):
        StyleGAN2BankDiscriminator(8, channels=SMALL, pretrained=pretrained).init_weights()


def test_discriminator_whose_blocks_do_not_all_halve_is_refused(tmp_path: Path) -> None:
    """As ajbrock's for 32 px, which stays at 8 px for two blocks."""
    state = dict(torch.load(DATA / 'ajbrock_biggan_discriminator.pth'))
    for key in [key for key in state if key.startswith('blocks.2.0.conv_sc')]:
        del state[key]
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='block 2 does not halve the size'):
        import_weights(tmp_path / 'a.pth', discriminator=True)


@cache
def mmagic_networks() -> dict[str, nn.Module]:
    biggan = dict(out_size=16, channels={4: 16, 8: 16, 16: 8}, attention=(8,), num_classes=5, shared_dim=8)
    return {
        'StyleGAN2': StyleGAN2Bank(16, style_channels=8, num_mlps=3, channels=SMALL),
        'StyleGAN1': StyleGAN1Bank(16, style_channels=8, num_mlps=3, channels=SMALL),
        'BigGAN': published_networks()['BigGAN'](**biggan, noise_size=15),
        'BigGAN-deep': published_networks()['BigGAN-deep'](**biggan, noise_size=6, sn_style='torch'),
    }


def test_mmagic_s_own_files_come_back_with_the_arguments_that_rebuild_them(tmp_path: Path) -> None:
    for architecture, net in mmagic_networks().items():
        shake(net)
        for prefix in ('generator_ema', 'generator_ema.module', ''):
            state = {f'{prefix}.{key}'.lstrip('.'): value for key, value in net.state_dict().items()}
            torch.save(dict(state_dict=state, meta=dict(mmgen_version='0.7')), tmp_path / 'a.pth')
            found = import_weights(tmp_path / 'a.pth')
            assert (found.architecture, found.prefix, found.foreign) == (architecture, prefix, False)
            assert found.missing == [] and found.matched == len(state)
        again = published_networks()[architecture](**found.kwargs)
        again.load_state_dict(found.state, strict=True)


def test_layouts_are_the_models_own() -> None:
    nets = mmagic_networks() | {
        'StyleGAN2 discriminator': StyleGAN2BankDiscriminator(16, channels=SMALL),
        'BigGAN discriminator': BigGANBankDiscriminator(32, 3, widths=[8, 16, 16, 16], attention=[8, 16]),
    }
    for name, net in nets.items():
        state = net.state_dict()
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        assert type(net).shapes(type(net).hyperparameters(state)) == shapes, name


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    tool = load_tool('convert_bank')

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, 'argv', ['convert_bank.py', *map(str, arguments)])
        tool.main()

    return run


@pytest.mark.parametrize('name', NAMES)
def test_tool_writes_a_file_that_a_bank_loads(name: str, convert: Callable, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / 'bank.safetensors'
    convert(DATA / name, out)
    text = capsys.readouterr().out
    found = import_weights(DATA / name)
    again = import_weights(out, prefix='generator_ema')
    assert again.architecture == found.architecture and not again.foreign
    assert error(again, name) < TOLERANCE
    card = json.loads(out.with_suffix('.json').read_text())
    assert card['format'] == found.format and card['size'] == out.stat().st_size
    for line in (f'format: {found.format}', f'matched: {found.matched} tensors', 'ignored: ', 'missing: 0'):
        assert line in text
    assert all(reason in text for reason in found.ignored.values())


def test_tool_converts_a_discriminator_and_a_type(convert: Callable, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / 'd.safetensors'
    convert(DATA / 'rosinality_stylegan2.pt', out, '--discriminator', '--dtype', 'fp16')
    assert {value.dtype for value in load_file(out).values()} == {torch.float16}
    assert all(key.startswith('discriminator.') for key in load_file(out))
    convert(DATA / 'ajbrock_biggan_discriminator.pth', out, '--discriminator')
    assert 'channels: 32: 2, 16: 4, 8: 8, 4: 16, 4: 32' in capsys.readouterr().out
    net = BigGANBankDiscriminator(64, 5, base_channels=2, attention=(8,), pretrained=dict(checkpoint=str(out)))
    net.init_weights()
    assert torch.equal(net.decision.bias, torch.load(DATA / 'ajbrock_biggan_discriminator.pth')['linear.bias'])


def test_tool_refuses_and_writes_nothing(convert: Callable, tmp_path: Path) -> None:
    folder = tmp_path / 'out'
    folder.mkdir()
    lacking = resaved('rosinality_stylegan2.pt', tmp_path, lambda state: state.pop('to_rgb1.bias'))
    write_safetensors({'a': torch.ones(1)}, tmp_path / 'other.safetensors')
    for source, named in ((tmp_path / 'none.pkl', 'There is no weight file'), (lacking, 'lacks'),
                          (tmp_path / 'other.safetensors', 'no generator of a known format')):  # fmt: skip
        with pytest.raises(SystemExit, match=named):
            convert(source, folder / 'a.safetensors')
    assert list(folder.iterdir()) == []


def test_sizes_are_powers_of_two() -> None:
    assert [log2(number) for number in (1, 2, 64, 1024)] == [0, 1, 6, 10]
    for number in (0, -4, 3, 96):
        with pytest.raises(WeightsError, match=f'{number} is no power of two'):
            log2(number)
