"""Exported files against the models: in onnxruntime, and in processes that have no `glean_plus`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from documents import DOCS, block_with
from PIL import Image
from torch import Tensor

import glean_plus
from glean_plus.export import BOUND, Exported, ExportError, export, formats
from glean_plus.inference import RestoreError, Restorer
from glean_plus.weights.fetch import sha256

from conftest import CONFIGS, load_tool, run_tool
from small_restorers import CHANNELS, generator_config, photo, write_checkpoint

pytestmark = pytest.mark.usefixtures('exact_speed')

LIGHT, WHOLE = 'lightglean_twemoji_4x', 'glean_twemoji_multiclass_4x'
SIZES = [(16, 16), (24, 42), (70, 18)]
PROGRAMS = hasattr(getattr(torch.export, 'Dim', None), 'AUTO')
needs_programs = pytest.mark.skipif(not PROGRAMS, reason='a .pt2 needs PyTorch 2.6')
# Nothing of these can be imported in the process that begins so.
BLOCKED = 'import sys; sys.modules.update(dict.fromkeys({names!r}))\n'


@pytest.fixture(scope='module')
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Function: model, ending and options -> the export, made once."""
    folder, made = tmp_path_factory.mktemp('exported'), {}

    def make(model: Any, ending: str = '.onnx', **options: Any) -> Exported:
        key = (str(model), ending, *sorted(options.items()))
        if key not in made:
            made[key] = export(model, folder / f'{len(made)}{ending}', **options)
        return made[key]

    return make


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('whole') / 'whole.pth', generator_config(False))


@pytest.fixture(scope='module')
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('light') / 'light.pth', generator_config(True))


def inputs_of(height: int, width: int) -> list[np.ndarray]:
    """(H, W, 3), 0 to 1: random, and a photograph."""
    real = Image.fromarray(photo('astronaut', 200, 200)).resize((width, height), Image.BICUBIC)
    random = np.random.default_rng(1).random((height, width, 3), dtype=np.float32)
    return [random, np.asarray(real, np.float32) / 255]


def planes(pictures: list[np.ndarray]) -> np.ndarray:
    return np.stack(pictures).transpose(0, 3, 1, 2)


def in_onnxruntime(path: Path, **inputs: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, inputs)[0]


def assert_alike(given: np.ndarray, restorer: Restorer, pictures: list[np.ndarray]) -> None:
    """Results (N, 3, H, W) are those of the restorer, which is asked for each image alone."""
    assert len(given) == len(pictures)
    for result, picture in zip(given, pictures):
        wanted = restorer(picture).transpose(2, 0, 1)
        assert result.shape == wanted.shape
        assert np.abs(result - wanted).max() <= BOUND * (wanted.max() - wanted.min())
        assert wanted.std() > 0.01


@pytest.mark.parametrize(('model', 'dynamic'), [
    (LIGHT, True), (LIGHT, False), (WHOLE, False), ('lightglean_twemoji_multiclass_4x', False),
    ('lightglean_twemoji_color', False), ('lightglean_twemoji_blind', True),
])  # fmt: skip
def test_onnx_gives_what_the_model_gives(model: str, dynamic: bool, exported: Callable[..., Exported]) -> None:
    """Random and real input, three sizes and aspects where it takes any, in batches of its own choice."""
    path = exported(model, dynamic=dynamic).path
    restorer = Restorer(model, device='cpu')
    side = restorer.network.in_size
    for height, width in [(side * h // 16, side * w // 16) for h, w in SIZES] if dynamic else [(side, side)]:
        pictures = inputs_of(height, width)
        assert_alike(in_onnxruntime(path, image=planes(pictures)), restorer, pictures)
        assert_alike(in_onnxruntime(path, image=planes(pictures[:1])), restorer, pictures[:1])

    content = onnx.load(path)
    assert [(each.domain, each.version) for each in content.opset_import] == [('', 17)]
    assert {node.domain for node in content.graph.node} == {''} and not content.functions


BANKS = {
    'StyleGAN1': dict(type='StyleGAN1Bank', out_size=32, style_channels=6, channels=CHANNELS, mapping=False, rgb=False),
    'StyleGAN1 official': dict(
        type='StyleGAN1Bank', out_size=32, style_channels=6, channels=CHANNELS, mapping=False, rgb=False, official=True
    ),
    'StyleGAN2': generator_config(False)['bank'],
    'BigGAN': dict(type='BigGANBank', out_size=32, noise_size=12, num_classes=5, shared_dim=4, channels=CHANNELS,
                   attention=[8], rgb=False),
    'BigGAN-deep': dict(type='BigGANDeepBank', out_size=32, noise_size=12, num_classes=5, shared_dim=4,
                        channels=CHANNELS, attention=[8], rgb=False),
}  # fmt: skip


def tamed(path: Path, config: dict[str, Any]) -> Path:
    """A checkpoint of random weights whose images are in range: nothing normalises what a BigGAN's codes ask for."""
    write_checkpoint(path, config)
    content = torch.load(path, weights_only=True)
    weight = content['state_dict'].get('generator_ema.codes.linear.weight')
    if weight is not None and 'BigGAN' in config['bank']['type']:
        weight /= 100
        content['state_dict']['generator_ema.decoder.last.weight'] /= 20
    torch.save(content, path)
    return path


CASES = [
    *((bank, parts) for bank in BANKS for parts in ('light', 'whole')),
    *((bank, 'learned') for bank in ('StyleGAN1', 'StyleGAN2', 'BigGAN-deep')),
    *((bank, 'trained') for bank in ('BigGAN', 'BigGAN-deep')),  # whose spectral normalisation is not resolved yet
]


@pytest.mark.parametrize(('bank', 'parts'), CASES)
def test_every_bank(bank: str, parts: str, exported: Callable[..., Exported], tmp_path: Path) -> None:
    """Above 4, at any size but where a bank normalises over the whole map; whole, with predicted and with learned
    codes; and one that was trained along."""
    more: dict[str, Any] = {}
    if parts == 'learned':
        more = dict(codes=dict(type='LearnedCodes'))
    elif parts == 'trained':
        more = dict(freeze_bank=False)
    config = generator_config(False, bank=BANKS[bank] | dict(start_res=16 if parts == 'light' else 4), **more)
    model = tamed(tmp_path / 'model.pth', config)
    any_size = parts == 'light' and 'StyleGAN1' not in bank
    restorer, pictures = Restorer(model, device='cpu'), inputs_of(*((20, 26) if any_size else (16, 16)))
    if not any_size:
        with pytest.raises(ExportError, match='bound to inputs of 16x16.* or normalises over it'):
            exported(model, dynamic=True)
    path = exported(model, dynamic=any_size).path
    assert_alike(in_onnxruntime(path, image=planes(pictures)), restorer, pictures)


def test_constants_of_a_lightglean_are_in_its_convolutions(light: Path, exported: Callable[..., Exported]) -> None:
    """Nothing is left of codes, modulation and demodulation, and each layer of the bank is one convolution."""
    graph = onnx.load(exported(light).path).graph
    kinds = [node.op_type for node in graph.node]
    assert not {'MatMul', 'Gemm', 'Pow', 'Sqrt', 'ReduceSum', 'Shape', 'Range'} & {*kinds}
    network = Restorer(light, device='cpu').network.network
    convolutions = sum(isinstance(each, torch.nn.Conv2d) for each in network.modules())
    assert kinds.count('ConvTranspose') == 2, 'at 16 and at 32'
    assert kinds.count('Conv') == convolutions + 4, 'the two of each block, one of them the FIR filter'


@pytest.mark.parametrize(('bank', 'start_res'), [('BigGAN', 4), ('BigGAN-deep', 16)])
def test_class_is_an_input_or_fixed(
    bank: str, start_res: int, exported: Callable[..., Exported], tmp_path: Path
) -> None:
    """With predicted and with learned codes."""
    config = generator_config(False, bank=BANKS[bank] | dict(start_res=start_res), given_class=True)
    model, pictures = tamed(tmp_path / 'model.pth', config), inputs_of(16, 16)
    given, fixed = exported(model), exported(model, label=3)
    assert given.facts['classes'] == 5 and fixed.facts['label'] == 3
    first, third = (Restorer(model, device='cpu', label=label) for label in (1, 3))
    results = in_onnxruntime(given.path, image=planes(pictures), label=np.array([1, 3]))
    assert_alike(results[:1], first, pictures[:1])
    assert_alike(results[1:], third, pictures[1:])
    always = in_onnxruntime(fixed.path, image=planes(pictures))
    assert_alike(always, third, pictures)
    assert np.abs(results[0] - always[0]).max() > 100 * BOUND
    with pytest.raises(RestoreError, match='needs the class of the images as label, 0 to 4, not 5'):
        export(model, tmp_path / 'x.onnx', label=5)


def test_pytorch_s_files_are_served_without_the_package(
    whole: Path, light: Path, exported: Callable[..., Exported], tmp_path: Path
) -> None:
    """In one process that has neither this package nor MMagic: TorchScript and programs, fixed and of any size."""
    cases = [(whole, False, (16, 16)), (light, True, (16, 16)), (light, True, (24, 42))]
    jobs = []
    for index, (model, dynamic, size) in enumerate(cases):
        np.save(tmp_path / f'{index}.npy', planes(inputs_of(*size)))
        endings = ('.ts', '.pt2') if PROGRAMS else ('.ts',)
        jobs += [(index, str(exported(model, ending, dynamic=dynamic).path)) for ending in endings]
    program = BLOCKED.format(names=['glean_plus', 'mmagic', 'mmengine', 'kornia']) + f'''
import numpy, torch
for index, path in {jobs!r}:
    facts = {{'glean_plus.json': ''}}
    if path.endswith('.ts'):
        module = torch.jit.load(path, _extra_files=facts)
    else:
        module = torch.export.load(path, extra_files=facts).module()
    with torch.no_grad():
        result = module(torch.from_numpy(numpy.load(f'{{index}}.npy')))
    numpy.save(f'{{index}}{{path[-4:]}}.npy', result.numpy())
    print(facts['glean_plus.json'] if isinstance(facts['glean_plus.json'], str) else facts['glean_plus.json'].decode())
'''
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads(line) for line in done.stdout.splitlines()]
    for (index, path), facts in zip(jobs, said):
        model, dynamic, size = cases[index]
        assert_alike(np.load(tmp_path / f'{index}{path[-4:]}.npy'), Restorer(model, device='cpu'), inputs_of(*size))
        assert facts['size'] == ('any' if dynamic else f'{size[0]}x{size[1]}') and facts['version']


def test_the_documented_program_serves_without_the_package(exported: Callable[..., Exported], tmp_path: Path) -> None:
    """As it stands there: a photograph of any size, and a model that is bound to its size."""
    example = block_with(DOCS / 'guides' / 'export.md', 'onnxruntime')
    assert len(example.splitlines()) <= 20
    program = BLOCKED.format(names=['glean_plus', 'mmagic', 'mmengine', 'torch', 'onnx']) + example
    source = photo('chelsea', 51, 38)
    Image.fromarray(source).save(tmp_path / 'in.png')
    small = Image.fromarray(source).resize((16, 16), Image.BICUBIC)
    for model, dynamic, given in ((LIGHT, True, source), (WHOLE, False, np.asarray(small))):
        command = [sys.executable, '-c', program, str(exported(model, dynamic=dynamic).path), 'in.png', 'out.png']
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        wanted = Restorer(model, device='cpu')(given).astype(int)
        result = np.asarray(Image.open(tmp_path / 'out.png')).astype(int)
        assert result.shape == wanted.shape and np.abs(result - wanted).max() <= 1


def test_bgr_is_inside(light: Path, tmp_path: Path) -> None:
    """A file whose card says BGR: the exported one takes and gives RGB all the same."""
    from safetensors.torch import save_file

    state = torch.load(light, weights_only=True)['state_dict']
    card = dict(name='x', kind='restorer', data='', licence='of the weights', config='', colour_order='BGR')
    save_file({key: value.contiguous().clone() for key, value in state.items()}, tmp_path / 'bgr.safetensors',
              metadata=dict(card=json.dumps(card)))  # fmt: skip
    config = dict(model=dict(type='GLEANRestorer', generator=generator_config(True), ema=dict(decay=0.9),
                             pixel_loss=dict(type='MSELoss')))  # fmt: skip
    made = export(config, tmp_path / 'bgr.onnx', tmp_path / 'bgr.safetensors')
    pictures = inputs_of(16, 16)
    restorer = Restorer(config, tmp_path / 'bgr.safetensors', device='cpu')
    assert restorer.network.bgr and made.facts['licence'] == 'of the weights'
    results = in_onnxruntime(made.path, image=planes(pictures))
    assert_alike(results, restorer, pictures)
    assert np.abs(results[0].transpose(1, 2, 0) - Restorer(light, device='cpu')(pictures[0])).max() > 100 * BOUND


# ---- the command


def test_the_file_says_what_it_is(exported: Callable[..., Exported]) -> None:
    path = exported(LIGHT, dynamic=True).path
    session = onnxruntime.InferenceSession(path)
    facts = session.get_modelmeta().custom_metadata_map
    weights = CONFIGS / 'weights' / f'{LIGHT}.safetensors'
    assert (facts['scale'], facts['multiple'], facts['size']) == ('4', '2', 'any')
    assert (facts['channels'], facts['range'], facts['model']) == ('RGB', '0 to 1', LIGHT)
    assert facts['weights_sha256'] == sha256(weights) and facts['version'] == glean_plus.__version__
    assert 'CC-BY' in facts['licence']
    (image,), (restored,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ('image', ['batch', 3, 'height', 'width'])
    assert (restored.name, restored.shape) == ('restored', ['batch', 3, '4*height', '4*width'])
    assert onnx.load(path).producer_version == glean_plus.__version__


def test_every_option(light: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    out = tmp_path / 'out.onnx'

    def run(*options: str) -> Any:
        run_tool('export', [*map(str, (light, out)), '--overwrite', *options], monkeypatch)
        return onnxruntime.InferenceSession(out).get_inputs()[0].shape

    assert run('--json', str(tmp_path / 'report.json')) == ['batch', 3, 16, 16]
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['facts']['size'] == '16x16' and report['file'] == str(out)
    assert {each['picture'] for each in report['measured']} == {'random', 'smooth'}
    assert {each['batch'] for each in report['measured']} == {1, 2}
    assert all(0 <= each['difference'] <= BOUND for each in report['measured'])
    assert '| random | 16x16 | 2 |' in capsys.readouterr().out

    assert run('--dynamic', '--batch', '3', '--json', '-') == [3, 3, 'height', 'width']
    report = json.loads(capsys.readouterr().out)
    assert {(each['height'], each['width']) for each in report['measured']} == {(16, 16), (8, 28), (20, 8)}
    assert {each['batch'] for each in report['measured']} == {3}

    assert run('--size', '20x26', '--opset', '13') == ['batch', 3, 20, 26]
    assert onnx.load(out).opset_import[0].version == 13
    pictures = inputs_of(20, 26)
    assert_alike(in_onnxruntime(out, image=planes(pictures)), Restorer(light, device='cpu'), pictures)
    assert run('--size', '24') == ['batch', 3, 24, 24]

    config = tmp_path / 'config.py'
    config.write_text(f"model = dict(type='GLEANRestorer', generator={generator_config(True)!r}, ema=dict(decay=0.9), "
                      "pixel_loss=dict(type='MSELoss'))\n")  # fmt: skip
    run_tool('export', [str(config), str(tmp_path / 'same.ts'), '--checkpoint', str(light)], monkeypatch)
    same = torch.jit.load(tmp_path / 'same.ts')(torch.from_numpy(planes(pictures[:1]))[..., :16, :16])
    assert_alike(same.numpy(), Restorer(light, device='cpu'), [pictures[0][:16, :16]])


@pytest.mark.parametrize(('options', 'words'), [
    (dict(out='x.pth'), 'x.pth must end in one of .onnx, .pt2, .ts'), (dict(opset=12), 'opset is 13 to 17, not 12'),
    (dict(batch=0), 'batch is 1 or more, not 0'), (dict(dynamic=True, size=(16, 16)), 'leave size out'),
    (dict(size=(16, 17)), 'Sides must be multiples of 2, but size is 16x17'), (dict(label=1), 'takes no label'),
    (dict(model='WHOLE', dynamic=True), 'bound to inputs of 16x16'), (dict(model='WHOLE', size=(32, 32)), 'bound to'),
    (dict(model='lightglean_twemoji_color', dynamic=True), 'attends to the whole map'),
    (dict(model='lightglean_5x'), 'There is no model'), (dict(out='there.onnx'), 'there.onnx is there already'),
])  # fmt: skip
def test_refusals(options: dict[str, Any], words: str, light: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / 'there.onnx').write_text('mine')
    model = options.pop('model', light)
    with pytest.raises((ExportError, RestoreError), match=re.escape(words)):
        export(whole if model == 'WHOLE' else model, tmp_path / options.pop('out', 'out.onnx'), **options)
    assert [path.name for path in tmp_path.iterdir()] == ['there.onnx']
    assert (tmp_path / 'there.onnx').read_text() == 'mine'


def test_the_command_says_why_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, words in ((['lightglean_5x', 'x.ts'], 'export: There is no model'), ([LIGHT, 'x.pth'], 'must end')):
        monkeypatch.setattr(sys, 'argv', ['export', *arguments])
        with pytest.raises(SystemExit, match=words):
            load_tool('export').main()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(('ending', 'trouble'), [
    *(('.onnx', trouble) for trouble in ('off', 'nan', 'interrupted')), ('.ts', 'off'),
    pytest.param('.pt2', 'interrupted', marks=needs_programs),
])  # fmt: skip
def test_what_does_not_do_what_the_model_does_is_not_written(
    ending: str, trouble: str, light: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that is off by 2e-4, on some images alone, and Ctrl-C before it was looked at."""
    path = tmp_path / f'out{ending}'
    path.write_text('of before')
    good = formats.FORMATS[ending]

    def opened(content: bytes) -> formats.Run:
        run = good.open(content)

        def off(image: Tensor, label: Tensor | None) -> Tensor:
            if trouble == 'interrupted':
                raise KeyboardInterrupt
            result = run(image, label).clone()
            if len(image) == 2:
                result[1, 2, 3, 4] += 2e-4 if trouble == 'off' else float('nan')
            return result

        return off

    monkeypatch.setitem(formats.FORMATS, ending, formats.Format(good.write, opened))
    with pytest.raises(KeyboardInterrupt if trouble == 'interrupted' else ExportError) as raised:
        export(light, path, overwrite=True)
    if trouble != 'interrupted':
        assert 'differs from the model by' in str(raised.value) and 'nothing is written' in str(raised.value)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] and path.read_text() == 'of before'


def test_what_is_missing_is_named(light: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ('onnx', 'onnxruntime'):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(ExportError, match=rf"needs the package {name}: pip install 'glean_plus\[export\]'"):
                export(light, tmp_path / 'out.onnx')
    with monkeypatch.context() as patch:
        patch.setattr('glean_plus.export.formats.torch_at_least', lambda wanted: wanted != '2.6')
        with pytest.raises(ExportError, match='A .pt2 needs PyTorch 2.6 or newer'):
            export(light, tmp_path / 'out.pt2')
    assert not [*tmp_path.iterdir()]
