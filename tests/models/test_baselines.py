"""ESRGAN+ and the GLEAN without a bank: the networks, their training, and what they cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmagic.models.editors.esrgan import RRDBNet
from mmagic.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

from glean_plus.analysis.complexity import PUBLISHED, complexity, misses, published_column
from glean_plus.models import BankFreeGLEAN, ESRGANPlus, GLEANDecoder
from glean_plus.weights import WeightsError
from glean_plus.weights.torch_files import load_plain

from conftest import CONFIGS, batch, load_tool, shake

CHANNELS = {4: 12, 8: 10, 16: 8, 32: 6, 64: 4}
TRUNK = dict(num_rrdbs=1, rrdb_channels=8, growth_channels=4)
GENERATORS = dict(
    ESRGANPlus=dict(type='ESRGANPlus', in_size=8, out_size=16, mid_channels=8, num_blocks=1, growth_channels=4),
    BankFreeGLEAN=dict(type='BankFreeGLEAN', in_size=8, out_size=16, channels=CHANNELS, encoder=TRUNK),
)


def restorer(kind: str, **options: Any) -> Any:
    return MODELS.build(
        dict(
            type='GLEANRestorer', generator=GENERATORS[kind] | options,
            discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=16, channels=CHANNELS),
            pixel_loss=dict(type='MSELoss', loss_weight=1.0, reduction='mean'),
            gan_loss=dict(type='GANLoss', gan_type='vanilla', loss_weight=1e-2, real_label_val=1.0, fake_label_val=0),
            data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
            ema=dict(decay=0.9))
    )  # fmt: skip


def generator_of(name: str) -> dict[str, Any]:
    return Config.fromfile(CONFIGS / f'{name}.py').model.generator.to_dict()


# ---- the networks


def test_esrgan_plus_4x_is_mmagic_s_rrdbnet() -> None:
    """Same keys, same output, and the same start."""
    theirs = RRDBNet(3, 3, mid_channels=16, num_blocks=2, growth_channels=8).eval()
    ours = ESRGANPlus(8, 32, mid_channels=16, num_blocks=2, growth_channels=8).eval()
    for network in (theirs, ours):
        torch.manual_seed(1)
        network.init_weights()
    for key in ('conv_first', 'conv_body', 'conv_up1', 'conv_up2', 'conv_hr', 'conv_last'):
        assert torch.equal(ours.state_dict()[f'{key}.weight'], theirs.state_dict()[f'{key}.weight']), key
        assert not ours.state_dict()[f'{key}.bias'].any()
    for parameter in theirs.parameters():  # at the start the blocks hardly count
        parameter.data = torch.randn_like(parameter) * 0.2
    ours.load_state_dict(theirs.state_dict(), strict=True)
    lq = torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(ours(lq), theirs(lq), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('scale', [2, 4, 8, 16])
@pytest.mark.parametrize('kind', GENERATORS)
def test_any_power_of_two_and_any_size(kind: str, scale: int) -> None:
    network = MODELS.build(GENERATORS[kind] | dict(in_size=4, out_size=4 * scale)).eval()
    lq = torch.randn(2, 3, 6, 9)
    with torch.no_grad():
        assert network(lq).shape == (2, 3, 6 * scale, 9 * scale)
        # A doubling repeats pixels or shuffles them: a flat image stays flat away from its border.
        if kind == 'ESRGANPlus':
            inner = network(torch.full((1, 3, 40, 40), 0.3))[..., 18 * scale : 22 * scale, 18 * scale : 22 * scale]
            assert float(inner.std(dim=(2, 3)).max()) < 1e-5


@pytest.mark.parametrize('kind', GENERATORS)
@pytest.mark.parametrize(('in_size', 'out_size'), [(8, 8), (8, 24), (16, 8), (8, 12), (0, 8)])
def test_other_scales_are_refused(kind: str, in_size: int, out_size: int) -> None:
    with pytest.raises(ValueError, match=f'out_size {out_size} is not in_size {in_size}'):
        MODELS.build(GENERATORS[kind] | dict(in_size=in_size, out_size=out_size))


def test_bank_free_glean_is_eq_4_without_the_bank() -> None:
    """The trunk is tested with GLEAN; from f_0 on, here are plain convolutions and pixel shuffles."""
    network = MODELS.build(GENERATORS['BankFreeGLEAN'] | dict(out_size=32, decoder=dict(width_ratio=1.5))).eval()
    shake(network)
    state = network.state_dict()
    assert not [key for key in state if key.split('.')[0] not in ('encoder', 'decoder')]
    convolve = lambda x, key: F.conv2d(x, state[f'{key}.weight'], state[f'{key}.bias'], padding=1)  # noqa: E731
    lq = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        features = network.encoder(lq)
        assert list(features) == [8], 'no stage of the encoder whose output nobody takes'
        d = features[8]
        for stage, width in enumerate((12, 9)):  # 1.5 times the table's 8 and 6
            d = F.pixel_shuffle(convolve(d, f'decoder.stages.{stage}.upsample_conv'), 2)
            assert d.shape[1] == width
        expected = convolve(F.leaky_relu(convolve(d, 'decoder.last.0'), 0.2), 'decoder.last.2')
        torch.testing.assert_close(network(lq), expected)


def test_decoder_takes_the_bank_s_features_where_it_is_told() -> None:
    decoder = GLEANDecoder(8, 32, CHANNELS, bank_resolutions=(32,))
    assert decoder.resolutions == [32]
    f_0, g = torch.randn(1, 10, 8, 8), torch.randn(1, 6, 32, 32)
    first, second = decoder.stages
    expected = decoder.last(torch.cat([second(first(f_0)), g], dim=1))
    torch.testing.assert_close(decoder(f_0, {32: g}), expected)
    every = GLEANDecoder(8, 32, CHANNELS)
    assert every.resolutions == [16, 32] and every.stages[1].upsample_conv.in_channels == 2 * 8


def test_errors_name_the_way_out() -> None:
    with pytest.raises(ValueError, match=r'bank_resolutions has \[8\], .* resolutions \[16, 32\]'):
        GLEANDecoder(8, 32, CHANNELS, bank_resolutions=(8, 16))
    with pytest.raises(ValueError, match=r'has no bank, but its decoder takes bank features at \[16\]'):
        BankFreeGLEAN(8, 16, TRUNK, decoder=dict(bank_resolutions=[16]), channels=CHANNELS)
    with pytest.raises(ValueError, match=r'lacks the resolutions \[128\]'):
        BankFreeGLEAN(64, 128, TRUNK, channels=CHANNELS)


# ---- training


@pytest.mark.parametrize('kind', GENERATORS)
def test_a_step_trains_every_weight_and_the_average_follows(kind: str) -> None:
    model = restorer(kind)
    model.init_weights()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for key, value in model.generator.state_dict().items():
        assert torch.equal(before[f'generator_ema.{key}'], value), key
    adam = OptimWrapperDict(**{
        part: OptimWrapper(torch.optim.Adam(getattr(model, part).parameters(), 1e-3))
        for part in ('generator', 'discriminator')
    })  # fmt: skip
    log = model.train_step(batch(2, 8, 16), adam)
    assert set(log) == {'loss_pix', 'loss_gan', 'loss_d_real', 'loss_d_fake'}
    assert all(value.isfinite() for value in log.values())
    after = model.state_dict()
    assert not [key for key in after if key.startswith('generator') and torch.equal(after[key], before[key])]
    for key, value in model.generator.state_dict().items():
        torch.testing.assert_close(after[f'generator_ema.{key}'], 0.1 * before[f'generator.{key}'] + 0.9 * value)


@pytest.mark.parametrize('kind', GENERATORS)
def test_checkpoint_comes_back_and_another_is_refused(kind: str, tmp_path: Path) -> None:
    model = restorer(kind)
    shake(model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    again = restorer(kind).eval()
    load_checkpoint(again, str(tmp_path / 'a.pth'), strict=True)
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    lq = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(again.forward_tensor(lq), model.eval().generator_ema(lq))
    other = next(name for name in GENERATORS if name != kind)
    for wrong in (restorer(other), restorer(kind, out_size=32)):
        with pytest.raises(WeightsError, match="The checkpoint does not fit this config's generator"):
            load_checkpoint(wrong, str(tmp_path / 'a.pth'), strict=False)


@pytest.fixture
def train(tiny_config: Any, tmp_path: Path) -> Any:
    """Function: train a config on the tiny data, up to an iteration."""

    def run(name: str, where: str, iters: int, resume_from: Path | None = None) -> nn.Module:
        options = {'train_cfg.max_iters': iters, 'default_hooks.checkpoint.interval': 1,
                   'train_dataloader.batch_size': 2}  # fmt: skip
        if resume_from:
            options |= {'load_from': str(resume_from), 'resume': True}
        config = tiny_config(name, tmp_path / where, **options)
        config.experiment_name = f'{name}-{where}'
        runner = Runner.from_cfg(config)
        runner.train()
        return runner.model

    return run


def test_the_second_of_two_steps_is_the_same_after_a_resume(train: Any, tmp_path: Path) -> None:
    """The config runs from image to checkpoint and on."""
    expected = train('esrganplus_twemoji_4x', 'once', 2).state_dict()
    result = train('esrganplus_twemoji_4x', 'again', 2, resume_from=tmp_path / 'once' / 'iter_1.pth').state_dict()
    assert not (tmp_path / 'again' / 'iter_1.pth').exists(), 'it did not start again'
    assert expected.keys() == result.keys() and int(result['step_counter']) == 2
    assert not [key for key, value in expected.items() if not torch.equal(value, result[key])]


def test_bank_free_config_trains_without_a_bank(train: Any, tmp_path: Path) -> None:
    train('bankfree_twemoji_4x', 'run', 1)
    saved = load_plain(tmp_path / 'run' / 'iter_1.pth')['state_dict']
    parts = {key.split('.')[1] for key in saved if key.startswith('generator')}
    assert parts == {'encoder', 'decoder'}


# ---- what they cost


def test_esrgan_plus_has_the_cost_of_table_5() -> None:
    """The paper's own numbers; its parameters are those of another depth, see ESRGANPlus."""
    generator = generator_of('esrganplus_face_16x')
    published = published_column(generator)
    assert published is PUBLISHED['ESRGAN+']
    ours = complexity(generator)
    assert round(ours.paper_flops / 1e9, 1) == published.flops == 225.0
    assert misses(ours, published) == []
    # Against GLEAN's cost by the same count, 277.5 G.
    assert 0.8 < ours.paper_flops / 1e9 / PUBLISHED['GLEAN'].flops < 1
    shallower = complexity(generator | dict(num_blocks=33))
    assert round(sum(shallower.kept.values()) / 1e6, 2) == published.total == 23.97
    assert misses(shallower, published) == ['189.57 G FLOPs, not 225.0 G']


def test_multiply_adds_and_parameters_are_those_of_the_convolutions() -> None:
    """Counted by hand: 3x3 convolutions at 4, 8 and 16 px, with 8 channels and 4 of growth."""
    ours = complexity(GENERATORS['ESRGANPlus'] | dict(in_size=4))
    block = 3 * sum(9 * (8 + 4 * i) * (8 if i == 4 else 4) for i in range(5))
    low, up, last = 9 * 3 * 8 + block + 9 * 8 * 8, 9 * 8 * 8, 9 * 8 * 3
    assert ours.macs == 16 * low + (64 + 256 + 256) * up + 256 * last
    biases = 8 + 3 * (4 * 4 + 8) + 8 + 3 * 8 + 3
    assert ours.kept == ours.paper == dict(generator=low + 3 * up + last + biases)
    assert ours.trained == ours.kept['generator'] and (ours.in_size, ours.out_size) == (4, 16)


@pytest.mark.parametrize('name', ['esrganplus_twemoji_4x', 'esrganplus_twemoji_8x', 'bankfree_twemoji_4x',
                                  'bankfree_twemoji_8x', 'bankfree_cat_16x'])  # fmt: skip
def test_twins_compute_as_much_as_their_glean(name: str) -> None:
    """And hold no bank: all of it trains."""
    ours, glean = complexity(generator_of(name)), complexity(generator_of('glean' + name[name.index('_'):]))
    assert abs(ours.macs / glean.macs - 1) < 0.02
    assert ours.trained == sum(ours.kept.values())
    assert glean.trained == sum(glean.kept.values()) - glean.kept['generator']


def test_biggan_s_generator_is_counted_whole() -> None:
    """What a frozen bank leaves out: the embedding of nine classes, and the output layer with its batch norm."""
    ours = complexity(generator_of('glean_twemoji_color'))
    assert ours.paper['generator'] - ours.kept['generator'] == 9 * 32 + 2 * 32 + (32 * 9 + 1) * 3


def test_table_has_a_line_a_config(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load_tool('complexity')

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, 'argv', ['complexity.py', *arguments])
        assert tool.main() == 0
        return capsys.readouterr().out

    paths = [str(CONFIGS / f'{name}.py') for name in ('glean_twemoji_4x', 'lightglean_imagenet_color')]
    head, rule, *lines = call(*paths, '--table').splitlines()
    assert head.startswith('| config | from -> to | parameters | trained |') and rule == '|---' * 6 + '|'
    assert lines[0] == '| `glean_twemoji_4x` | 16 -> 64 | 7.28 M | 6.28 M | 1.09 G | 0.91 G |'
    assert lines[1].startswith('| `lightglean_imagenet_color` | 256 -> 256 |') and len(lines) == 2
    parts = call(str(CONFIGS / 'esrganplus_face_16x.py'))
    assert [line.split('|')[1].strip() for line in parts.splitlines()] == ['part', 'generator', 'parameters', 'FLOPs']
    assert '23.97 M' in parts and '225.00 G' in parts
    monkeypatch.setattr(sys, 'argv', ['complexity.py', str(CONFIGS / 'stylegan2_twemoji_64px.py')])
    with pytest.raises(SystemExit, match='is no restorer'):
        tool.main()
