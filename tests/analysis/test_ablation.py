"""The inspection of a bank: each switch against the same thing done by hooks, on every bank; pages, numbers, errors."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor

from glean_plus.analysis.ablation import (
    Inspection,
    InspectionError,
    Inspector,
    Settings,
    View,
    Walk,
    config_source,
    folder_source,
    own_image_bank,
)
from glean_plus.analysis.ablation.grid import GAP, grid_size, side_of
from glean_plus.analysis.ablation.switches import MODEL
from glean_plus.models import GLEAN
from glean_plus.utils.devices import DeviceError
from glean_plus.weights import WeightsError, write_safetensors
from glean_plus.weights.formats.layout import published_networks

from conftest import CONFIGS, load_tool, run_tool, shake

CHANNELS = {4: 16, 8: 16, 16: 8, 32: 8}
STYLE = dict(out_size=32, style_channels=8, num_mlps=2, channels=CHANNELS)
CLASSES = dict(out_size=32, num_classes=3, shared_dim=6, channels=CHANNELS, attention=[16])
SMALL: dict[str, dict[str, Any]] = {
    'StyleGAN1': STYLE, 'StyleGAN2': STYLE, 'BigGAN': CLASSES | dict(noise_size=12),
    'BigGAN-deep': CLASSES | dict(noise_size=6),
}  # fmt: skip
# Start of the bank -> its switches beside the model itself, without those of the noise.
GLEANS_OWN = ['own_encoder_off', 'own_encoder_to_4', 'own']
APPLY = {
    4: ['encoder_off', 'encoder_to_4', *GLEANS_OWN, 'bank_off', 'bank_to_16', 'codes_next', 'codes_mean', 'codes_bank'],
    8: ['encoder_off', 'own_encoder_off', 'own', 'bank_off', 'bank_to_16', 'codes_bank'],
}


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-trained bank of each kind."""
    folder = tmp_path_factory.mktemp('banks')
    torch.manual_seed(1)
    for name, sizes in SMALL.items():
        bank = published_networks()[name](**sizes)
        shake(bank, 0.3)
        write_safetensors({f'generator_ema.{key}': value for key, value in bank.state_dict().items()},
                          folder / f'{name}.safetensors')  # fmt: skip
    return {name: folder / f'{name}.safetensors' for name in SMALL}


def generator(name: str, checkpoint: Path | None, start_res: int = 4, **options: Any) -> dict[str, Any]:
    pretrained = None if checkpoint is None else dict(checkpoint=str(checkpoint), prefix='generator_ema')
    kind = published_networks()[name].__name__
    bank = dict(type=kind, start_res=start_res, rgb=False, pretrained=pretrained, **SMALL[name])
    encoder = dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4)
    return dict(type='GLEAN', in_size=8, bank=bank, encoder=encoder) | options


def inspector_of(config: dict[str, Any], count: int = 4, **options: Any) -> tuple[Inspector, View]:
    """Of a model that is as good as trained: fusions and codes that differ from image to image."""
    model: GLEAN = MODELS.build(config)
    model.init_weights()
    shake(model.codes)
    model.eval()
    lq = torch.randn(2, model.encoder.in_channels, model.in_size, model.in_size)
    label = torch.tensor([0, 2]) if model.given_class else None
    with torch.no_grad():
        codes = model.encode(lq.flip(0) * 2, label)[1]
    mean = [None if code is None else code.mean(dim=0, keepdim=True) for code in codes]
    inspector = Inspector(model, own_image_bank(config), mean, count, **options)
    return inspector, inspector.view(lq, label, codes, seed=3)


def by_hooks(inspector: Inspector, view: View, key: str) -> Tensor:
    """The model's own forward pass, with what the switch does done from outside."""
    model, bank = inspector.model, inspector.model.bank
    handles, buffers = [], {}

    def fuse(part: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        g = inputs[0][:, : inputs[0].shape[1] // 2]
        if inspector.fusion_off == 'bypass':
            return g
        weight = part.weight[:, : g.shape[1]]  # zeros have no share in the sum
        return torch.nn.functional.conv2d(g, weight, part.bias, padding=1)

    if key.startswith('encoder'):
        to = int(key.rpartition('_')[2]) if key != 'encoder_off' else 0
        handles += [part.register_forward_hook(fuse) for res, part in model.fusions.items() if int(res) > to]
        if bank.start_res > 4:
            step = bank.step
            bank.step = lambda res, codes, g=None, noises=None: step(
                res, codes, g * 0 if res == bank.start_res else g, noises
            )
    elif key.startswith('bank'):
        to = int(key.rpartition('_')[2]) if key != 'bank_off' else 0

        def without(part: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            given = {res: g if res <= to else g * 0 for res, g in inputs[1].items()}
            return inputs[0], given, *inputs[2:]

        handles.append(model.decoder.register_forward_pre_hook(without))
    elif key.startswith('codes'):
        others = {'codes_next': view.next_codes, 'codes_mean': inspector._codes['mean of the images'],
                  'codes_bank': [code[None] for code in inspector.own_image.mean_codes()]}[key]  # fmt: skip
        given = model._given_dims(bank)
        others = [None if code is None else code[:, dim:] for code, dim in zip(others, given)]
        handles.append(model.codes.register_forward_hook(lambda part, inputs, output: [
            None if own is None else other.expand_as(own) for own, other in zip(output, others)]))  # fmt: skip
    elif key == 'noise':
        generator = torch.Generator().manual_seed(view.seed)
        buffers = {layer: getattr(bank, f'injected_noise_{layer}').clone() for layer in bank.layers}
        for layer in bank.layers:
            getattr(bank, f'injected_noise_{layer}').copy_(torch.randn(buffers[layer].shape, generator=generator))
    label = torch.tensor([0, 2]) if model.given_class else None
    try:
        with torch.no_grad():
            return model(view.lq, label)
    finally:
        for handle in handles:
            handle.remove()
        bank.__dict__.pop('step', None)
        for layer, noise in buffers.items():
            getattr(bank, f'injected_noise_{layer}').copy_(noise)


@pytest.mark.parametrize(('start_res', 'fusion_off'), [(4, 'bypass'), (4, 'zeros'), (8, 'bypass')])
@pytest.mark.parametrize('name', SMALL)
def test_each_switch_does_what_it_says(
    name: str, start_res: int, fusion_off: str, checkpoints: dict[str, Path]
) -> None:
    inspector, view = inspector_of(generator(name, checkpoints[name], start_res), fusion_off=fusion_off)
    pictures = inspector.images(view)
    noise = ['noise'] if 'Style' in name else []
    assert list(pictures) == [MODEL, *APPLY[start_res], *noise]
    left_out = {switch.key: switch.reason for switch in inspector.switches if not switch.applies}
    assert set(left_out) == ({'encoder_to', 'codes_next', 'codes_mean'} if start_res > 4 else set()) | (
        set() if noise else {'noise'}
    )
    assert all(left_out.values())

    with torch.no_grad():
        assert torch.equal(pictures[MODEL], inspector.model(view.lq))
    for key, picture in pictures.items():
        assert picture.shape == (2, 3, 32, 32) and picture.isfinite().all()
        if key == MODEL:
            continue
        assert (picture - pictures[MODEL]).abs().max() > 1e-5, key
        if not key.startswith('own'):
            torch.testing.assert_close(picture, by_hooks(inspector, view, key), atol=1e-5, rtol=1e-5, msg=key)


@pytest.mark.parametrize('fusion_off', ['bypass', 'zeros'])
def test_up_to_the_highest_is_all(fusion_off: str, checkpoints: dict[str, Path]) -> None:
    inspector, view = inspector_of(generator('StyleGAN2', checkpoints['StyleGAN2']), fusion_off=fusion_off)
    own = inspector.switches[0]
    inspector.switches += [
        replace(own, key='encoder_all', walk=Walk(encoder_to=8)),
        replace(own, key='bank_all', bank_to=32),
    ]
    pictures = inspector.images(view)
    for key in ('encoder_all', 'bank_all'):
        assert torch.equal(pictures[key], pictures[MODEL])
    # And each step is another.
    steps = [pictures[key] for key in ('encoder_off', 'encoder_to_4', 'encoder_all')]
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(steps, steps[1:]))


@pytest.mark.parametrize('name', ['StyleGAN1', 'StyleGAN2'])
@torch.no_grad()
def test_own_picture_without_encoder_features_is_the_gan_s(name: str, checkpoints: dict[str, Path]) -> None:
    """For these codes: what is left of GLEAN is a generator with codes (Fig. 13, first column)."""
    inspector, view = inspector_of(generator(name, checkpoints[name]), bgr=True)
    pictures = inspector.images(view)
    latent = torch.stack(list(view.codes), dim=1)
    if name == 'StyleGAN2':
        latent[:, -1] = latent[:, -2]  # the last ToRGB's, which no training reaches
    expected = inspector.own_image(latent, input_is_latent=True, randomize_noise=False)
    torch.testing.assert_close(pictures['own_encoder_off'].flip(1), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('name', ['BigGAN', 'BigGAN-deep'])
def test_own_picture_of_a_biggan(name: str, checkpoints: dict[str, Path]) -> None:
    """From noise and class, as the codes of GLEAN: the image that the bank draws."""
    inspector, view = inspector_of(generator(name, checkpoints[name]))
    bank, noise, label = inspector.own_image, torch.randn(2, SMALL[name]['noise_size']), torch.tensor([0, 2])
    # One in the last place of a weight is a thousand times more in an image of an untrained BigGAN-deep.
    inspector.model.bank.load_state_dict({key: bank.state_dict()[key] for key in inspector.model.bank.state_dict()})
    codes = bank.codes(noise, bank.class_embedding(label))
    pictures = inspector.images(replace(view, codes=codes))
    torch.testing.assert_close(pictures['own_encoder_off'], bank(noise, label), atol=1e-5, rtol=1e-5)


def test_colorization_with_given_classes(checkpoints: dict[str, Path]) -> None:
    """One bank feature reaches the head; exchanged codes take their class along."""
    config = generator(
        'BigGAN', checkpoints['BigGAN'], in_size=32, given_class=True, decoder=dict(type='ColorizationHead'),
    )  # fmt: skip
    config['encoder'] = dict(config['encoder'], in_channels=1)
    inspector, view = inspector_of(config)
    view = replace(view, lq=view.lq.clamp(-1, 1))
    view = inspector.view(view.lq, torch.tensor([0, 2]), view.next_codes)
    pictures = inspector.images(view)
    left_out = {switch.key: switch.reason for switch in inspector.switches if not switch.applies}
    assert set(left_out) == {'bank_to', 'noise'} and '32 is the only one' in left_out['bank_to']
    with torch.no_grad():
        assert torch.equal(pictures[MODEL], inspector.model(view.lq, torch.tensor([0, 2])))
    coarse = [switch.key for switch in inspector.switches if 'coarse' in switch.label and switch.decoder]
    assert coarse == ['encoder_to_8']  # a quarter of the input's side, as 16 of 64 in the paper
    torch.testing.assert_close(pictures['bank_off'], by_hooks(inspector, view, 'bank_off'))
    swapped = inspector.codes(view, Walk(codes='of the next image'))
    assert all(torch.equal(a, b) for a, b in zip(swapped, view.next_codes))
    # Learned codes are the same for every image, but not with the classes in front of them.
    config['codes'] = dict(type='LearnedCodes')
    inspector, view = inspector_of(config)
    assert 'codes_next' in inspector.images(replace(view, lq=view.lq.clamp(-1, 1)))


def test_what_a_model_has_not_is_named(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    reasons = lambda inspector: {s.key: s.reason for s in inspector.switches if not s.applies}  # noqa: E731
    config = generator('StyleGAN2', None)
    inspector, _ = inspector_of(config, count=1)
    found = reasons(inspector)
    assert 'names no file' in found['own'] and 'names no file' in found['codes_bank']
    assert 'two images' in found['codes_next'] and 'two images' in found['codes_mean']
    missing = generator('StyleGAN2', tmp_path / 'nothing.pth')
    assert 'nothing.pth' in own_image_bank(missing)
    with pytest.raises(WeightsError, match='is a StyleGAN1|does not fit'):
        own_image_bank(generator('StyleGAN2', checkpoints['StyleGAN1']))
    inspector, _ = inspector_of(generator('StyleGAN2', checkpoints['StyleGAN2'], fuse=False))
    assert 'nothing is fused' in reasons(inspector)['encoder_off']
    with pytest.raises(ValueError, match='fusion_off'):
        Inspector(inspector.model, 'no', fusion_off='maybe')


# ---- images and pages


class Parsed(HTMLParser):
    """What a page has."""

    void = {'meta', 'img', 'br'}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] or '' for name, attrs in self.tags if name == tag and attribute in attrs]


def test_command_on_the_shipped_model(
    tiny_data: Path, no_scope: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command; without the bank's features the image is worse (Fig. 14)."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / 'out'
    run_tool('inspect_bank', [
        str(CONFIGS / 'lightglean_twemoji_4x.py'), str(CONFIGS / 'weights' / 'lightglean_twemoji_4x.safetensors'),
        '--out', str(out), '--shown', '2', '--cfg-options', f'test_dataloader.dataset.data_root={tiny_data}',
    ], monkeypatch)  # fmt: skip
    text = capsys.readouterr().out
    assert 'bank features off' in text and 'encoder features up to r does not apply: ' in text

    summary = json.loads((out / 'summary.json').read_text())
    assert len(summary['pictures']) == 4
    switches = {record['key']: record for record in summary['switches']}
    distance = {key: switches[key]['ST-LPIPS-vgg'] for key in ('model', 'bank_to_32', 'bank_off')}
    assert distance['model']['mean'] < distance['bank_to_32']['mean'] < distance['bank_off']['mean']
    assert distance['bank_off']['delta'] > 2 * distance['bank_off']['error'] > 0
    assert switches['bank_off']['PSNR']['delta'] < -1 < 0.5 < switches['noise']['change'] < 5
    assert not switches['encoder_to']['applies'] and switches['encoder_to']['reason']

    rows = list(csv.DictReader(io.StringIO((out / 'numbers.csv').read_text())))
    applying = [key for key, record in switches.items() if record['applies']]
    assert [(row['picture'], row['switch']) for row in rows] == [
        (name, key) for name in summary['pictures'] for key in applying
    ]
    means = {key: np.mean([float(row['PSNR']) for row in rows if row['switch'] == key]) for key in applying}
    assert means['bank_off'] - means[MODEL] == pytest.approx(switches['bank_off']['PSNR']['delta'], abs=1e-4)

    shown = sorted((out / 'grids').iterdir())
    assert [path.stem for path in shown] == sorted(summary['pictures'][:2])
    # Groups of 3, 2, 2, 2 and 4 tiles; images of 64 px are shown twice as large.
    assert side_of(64) == 128 and grid_size([3, 2, 2, 2, 4], 64)[0] == 4 * (128 + GAP) + GAP
    page = (out / 'index.html').read_text()
    parsed = Parsed(page)
    assert not re.search(r'(?:src|href)="(?!data:)|https?://', page), 'the page needs another file'
    assert ('meta', dict(name='viewport', content='width=device-width, initial-scale=1')) in parsed.tags
    assert parsed.all('tr', 'data-switch') == list(switches)
    pictures = parsed.all('img', 'src')
    assert len(pictures) == 2 * (len(applying) + 2) and len(parsed.all('li', 'data-note')) >= 5
    for path, name in ((path, path.stem) for path in shown):
        grid = np.asarray(Image.open(path))
        assert grid.shape[1::-1] == grid_size([3, 2, 2, 2, 4], 64)
        # The ground truth is the third tile of the first row, in its place and unchanged.
        truth = np.asarray(Image.open(tiny_data / 'GT' / f'{name}.png'))
        rows_of_it = np.flatnonzero((grid[:, GAP + 2 * (128 + GAP):][:, :128] != 255).any(axis=(1, 2)))
        top = next(top for top in range(20, 60) if (
            grid[top:top + 128:2, GAP + 2 * (128 + GAP):][:, :128:2] == truth).all())
        assert rows_of_it.size and 20 <= top < 60
        encoded = [base64.b64decode(url.partition(',')[2]) for url in pictures]
        assert any(np.array_equal(np.asarray(Image.open(io.BytesIO(data))), truth) for data in encoded)


@pytest.fixture(scope='module')
def tiny_model(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A config of a GLEAN 8 -> 32 and a checkpoint of training, its average beside it."""
    init_default_scope('mmagic')
    config = Config.fromfile(CONFIGS / 'glean_twemoji_4x.py')
    config.model.generator = generator('StyleGAN2', checkpoints['StyleGAN2'])
    config.model.discriminator.update(in_size=32, channels=CHANNELS, pretrained=None)
    torch.manual_seed(2)
    restorer = MODELS.build(config.model)
    restorer.init_weights()
    with torch.no_grad():
        for parameter in restorer.generator_ema.parameters():
            parameter.mul_(1.1)
    path = tmp_path_factory.mktemp('model') / 'iter_1.pth'
    torch.save(dict(state_dict=restorer.state_dict(), meta=dict(iter=1)), path)
    return config, path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Photographs of other shapes, in folders."""
    folder = tmp_path / 'pictures' / 'more'
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape in (('a b.png', (50, 40, 3)), ('more/c.jpg', (33, 64, 3)), ('more/a b.bmp', (32, 32, 3))):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize(shape[1::-1], Image.Resampling.BICUBIC).save(tmp_path / 'pictures' / name)
    return tmp_path / 'pictures'


def run(tiny_model: tuple[Config, Path], folder: Path, out: Path, *options: object) -> dict[str, Any]:
    """The command in this process; the summary that it writes."""
    config, checkpoint = tiny_model
    out.parent.mkdir(exist_ok=True)
    path = out.parent / 'tiny.py'
    config.dump(path)
    argv = [path, checkpoint, folder, '--out', out]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['inspect_bank', *map(str, argv), *map(str, options)])
        load_tool('inspect_bank').main()
    return json.loads((out / 'summary.json').read_text())


def without_truth(config: Config) -> Config:
    """Of photographs: nothing is measured but the change, which saves most of the time."""
    bare = Config(config.to_dict())
    load = dict(type='LoadImageFromFile', key='img', color_type='color', channel_order='rgb')
    bare.test_dataloader.dataset.update(
        data_prefix=dict(img=''), pipeline=[load, dict(type='SquareResize', size=8), dict(type='PackInputs')]
    )
    return bare


def test_options_do_what_they_say(tiny_model: tuple[Config, Path], pictures: Path, tmp_path: Path) -> None:
    change = lambda summary: {s['key']: s['change'] for s in summary['switches'] if s['applies']}  # noqa: E731
    bare = without_truth(tiny_model[0]), tiny_model[1]
    plain = run(bare, pictures, tmp_path / 'plain')
    assert plain['pictures'] == ['a b', 'a b_2', 'c']
    assert all(value > 0 for key, value in change(plain).items() if key != MODEL)
    assert not any('PSNR' in each for each in plain['switches'])
    assert '>truth<' not in (tmp_path / 'plain' / 'index.html').read_text()
    for name, options, differing in (
        ('again', (), set()),
        ('seed', ('--seed', 5), {'noise'}),
        ('zeros', ('--fusion-off', 'zeros'), {key for key in change(plain) if 'encoder' in key}),
        ('bgr', ('--bgr',), {key for key in change(plain) if key.startswith('own')}),
        ('bank', ('--cfg-options', 'model.generator.bank.pretrained=None'), {'own', 'codes_bank'}),
    ):
        other = run(bare, pictures, tmp_path / name, '--shown', 1, *options)
        assert len(list((tmp_path / name / 'grids').iterdir())) == 1
        if name == 'bank':
            gone = {key for key in change(plain) if key not in change(other)}
            assert gone >= differing and {key.partition('_')[0] for key in gone} == {'own', 'codes'}
        else:
            assert {key for key, value in change(other).items() if value != change(plain)[key]} == differing, name

    with pytest.raises(SystemExit, match='is there already: choose another folder, or overwrite'):
        run(bare, pictures, tmp_path / 'plain')
    (pictures / 'more' / 'c.jpg').unlink()
    again = run(bare, pictures, tmp_path / 'plain', '--overwrite')
    assert again['pictures'] == ['a b', 'a b_2']
    assert sorted(path.stem for path in (tmp_path / 'plain' / 'grids').iterdir()) == ['a b', 'a b_2']
    one = run(tiny_model, pictures, tmp_path / 'one', '--distance', 'st-lpips-alex', '--indices', 1, '--shown', 0)
    assert one['pictures'] == ['a b_2'] and not list((tmp_path / 'one' / 'grids').iterdir())
    assert one['facts']['pictures'] == '1, of which 0 are shown'
    assert one['switches'][0]['ST-LPIPS-alex']['error'] is None
    assert {each['key'] for each in one['switches'] if 'two images' in each.get('reason', '')} == {
        'codes_next', 'codes_mean'
    }


def test_checkpoint_s_average_is_inspected(tiny_model: tuple[Config, Path]) -> None:
    config, checkpoint = tiny_model
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    model = Inspection(config.model.to_dict(), str(checkpoint), Settings()).model
    for key, value in model.state_dict().items():
        part = 'generator' if key.startswith('bank.') else 'generator_ema'  # no average of a frozen bank is kept
        assert torch.equal(value, state[f'{part}.{key}']), key


def test_pictures_come_through_the_config_s_pipeline(
    tiny_model: tuple[Config, Path], pictures: Path, tiny_data: Path, tmp_path: Path
) -> None:
    from glean_plus.prepare.fit import fit_to
    from glean_plus.prepare.images import shrink

    config = tiny_model[0].to_dict()
    source = folder_source(config, pictures, tmp_path / 'sr')
    for index, path in enumerate(('a b.png', 'more/a b.bmp', 'more/c.jpg')):
        data = source.batch(index)
        truth = fit_to(np.asarray(Image.open(pictures / path)), 32, 'crop')
        assert np.array_equal(data['data_samples'][0].gt_img.permute(1, 2, 0).numpy(), truth)
        assert np.array_equal(data['inputs'][0].permute(1, 2, 0).numpy(), shrink(truth, 4))
    taken = folder_source(config, pictures, tmp_path / 'some', indices=[2])
    assert list(taken.names) == ['c']

    for name, channels, side in (('glean_twemoji_color', 1, 64), ('glean_twemoji_blind', 3, 32)):
        data = folder_source(Config.fromfile(CONFIGS / f'{name}.py').to_dict(), pictures, tmp_path / name).batch(0)
        assert data['inputs'][0].shape == (channels, side, side) and data['data_samples'][0].gt_img.shape[-1] == 64
    real = Config.fromfile(CONFIGS / 'glean_face_blind.py').to_dict()  # photographs without ground truth
    data = folder_source(real, pictures, tmp_path / 'real').batch(0)
    assert data['inputs'][0].shape == (3, 128, 128) and 'gt_img' not in data['data_samples'][0]

    twemoji = Config.fromfile(CONFIGS / 'glean_twemoji_4x.py').to_dict()
    twemoji['test_dataloader']['dataset']['data_root'] = str(tiny_data)
    both = twemoji | dict(test_dataloader=[twemoji['test_dataloader']] * 2)
    source = config_source(both)
    assert len(source) == 8 == len({*source.names}) and source.choose(None, 2) == [0, 4]
    assert torch.equal(source.batch(5)['inputs'][0], source.batch(1)['inputs'][0])
    assert source.choose(None, 0) == list(range(8)) and source.choose([3, 1], 8) == [3, 1]


def test_errors_name_what_is_wrong(
    tiny_model: tuple[Config, Path], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, checkpoint = tiny_model
    monkeypatch.chdir(tmp_path)  # where there is no data/twemoji
    plain = config.to_dict()
    with pytest.raises(InspectionError, match='There is no folder'):
        folder_source(plain, tmp_path / 'nowhere', tmp_path / 's')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InspectionError, match='An? ESRGANPlus has no bank'):
        folder_source(Config.fromfile(CONFIGS / 'esrganplus_twemoji_4x.py').to_dict(), pictures, tmp_path / 's')
    with pytest.raises(InspectionError, match='no images in'):
        folder_source(plain, tmp_path / 'empty', tmp_path / 's')
    with pytest.raises(InspectionError, match=r'images 0 to 2, but \[7\] are asked for'):
        folder_source(plain, pictures, tmp_path / 's', indices=[7])
    with pytest.raises(InspectionError, match='once'):
        folder_source(plain, pictures, tmp_path / 's', indices=[1, 1])
    (pictures / 'broken.png').write_bytes(b'\x89PNG nothing')
    with pytest.raises(InspectionError, match=r'broken\.png cannot be read: unreadable'):
        folder_source(plain, pictures, tmp_path / 's')
    given = dict(plain, model=dict(plain['model'], generator=dict(plain['model']['generator'], given_class=True)))
    with pytest.raises(InspectionError, match='given classes'):
        folder_source(given, pictures, tmp_path / 's')
    with pytest.raises(InspectionError, match='no val_dataloader'):
        config_source(dict(plain, val_dataloader=None), 'val')
    with pytest.raises(InspectionError, match=r'data of test_dataloader cannot be read .*twemoji'):
        config_source(plain)
    with pytest.raises(InspectionError, match='but the model of the config is GLEANRestorer with MSRResNet'):
        Inspection(dict(plain['model'], generator=dict(type='MSRResNet')), str(checkpoint), Settings())
    with pytest.raises(DeviceError, match="no device 'nonsense'"):
        Inspection(plain['model'], str(checkpoint), Settings(device='nonsense'))
    with pytest.raises(WeightsError, match='There is no weight file'):
        Inspection(plain['model'], 'missing.pth', Settings())
    with pytest.raises(WeightsError, match="does not fit this config's generator"):
        Inspection(plain['model'], str(CONFIGS / 'weights' / 'lightglean_twemoji_4x.safetensors'), Settings())
    (tmp_path / 'file').write_text('')
    with pytest.raises(SystemExit, match='is a file'):
        run(tiny_model, pictures, tmp_path / 'file')
