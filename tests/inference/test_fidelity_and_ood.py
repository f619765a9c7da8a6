"""The fidelity knob and the report of likely failure, on the shipped models and real images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.evaluation.metrics.psnr import psnr
from mmagic.registry import MODELS
from PIL import Image
from test_folded import needs_compiler

from glean_plus import Restorer
from glean_plus.analysis.calibration import area, calibrate, images_of, others, write_bounds
from glean_plus.cli import main as command
from glean_plus.cli.main import main
from glean_plus.inference import RestoreError
from glean_plus.inference.codes import code_statistics
from glean_plus.inference.image import Picture
from glean_plus.inference.ood import Assessor, assess
from glean_plus.inference.thresholds import Bound, bounds_path, judged
from glean_plus.metrics import LRConsistency
from glean_plus.prepare import twemoji
from glean_plus.utils.imresize import matlab_resize
from glean_plus.weights import fetch

from conftest import BANK_FILE, CONFIGS
from small_restorers import generator_config, photo, write_checkpoint

pytestmark = pytest.mark.usefixtures('exact_speed')

GLEAN, LIGHT, COLOR = 'glean_twemoji_multiclass_4x', 'lightglean_twemoji_4x', 'lightglean_twemoji_color'


@pytest.fixture(scope='module')
def emoji() -> list[tuple[np.ndarray, np.ndarray]]:
    """Held-out people, inputs of 16 px and ground truths of 64."""
    names = [name for name, _, group, side in twemoji.read_split() if side == 'test' and group in twemoji.PEOPLE][::16]
    pairs = []
    for name in names:
        truth = twemoji.draw(name, 64)
        small = matlab_resize(torch.from_numpy(truth.copy()).permute(2, 0, 1).float(), (16, 16))
        pairs.append((small.round().clamp(0, 255).byte().permute(1, 2, 0).numpy(), truth))
    return pairs


# ---- fidelity

@pytest.mark.parametrize('name', [GLEAN, LIGHT])
def test_fidelity_moves_from_the_bank_to_the_input(name: str, emoji: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """LR-PSNR rises at each step and for each image above the middle; PSNR to the ground truth on the whole."""
    lr, truth = [], []
    for value in (0, 0.25, 0.5, 0.75, 1):
        restorer = Restorer(name, device='cpu', fidelity=value)
        results = [restorer(lq) for lq, _ in emoji]
        lr.append([LRConsistency().process_image(lq.transpose(2, 0, 1), result.transpose(2, 0, 1), None)
                   for (lq, _), result in zip(emoji, results)])  # fmt: skip
        truth.append(np.mean([psnr(gt, result) for (_, gt), result in zip(emoji, results)]))
    steps = np.diff(np.mean(lr, axis=1))
    assert (steps > 1).all(), steps
    assert (np.diff(lr[2:], axis=0) > 0).all() and (np.diff(truth) > 0.05).all(), truth


def test_without_fidelity_it_is_the_model_s_own_bit_for_bit(emoji: list[tuple[np.ndarray, np.ndarray]]) -> None:
    image = (emoji[0][0] / 255).astype(np.float32)
    own = Restorer(LIGHT, device='cpu')
    expected = own.network(torch.from_numpy(image).permute(2, 0, 1)[None])[0].clamp(0, 1).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(own(image), expected)
    np.testing.assert_array_equal(Restorer(LIGHT, device='cpu', fidelity=0.5)(image), expected)
    assert np.abs(Restorer(LIGHT, device='cpu', fidelity=0.4)(image) - expected).max() > 0.01


def test_fidelity_0_hands_the_decoder_larger_features_of_the_bank() -> None:
    """By hand: the features are multiplied, not the weights."""
    model, x = Restorer(GLEAN, device='cpu').network.network, torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        lq = 2 * x - 1
        features, codes = model.encode(lq)
        larger = {res: 1.5 * g for res, g in model.retrieve(features, codes).items()}
        expected = (model.decode(lq, features, larger) + 1) / 2
    torch.testing.assert_close(Restorer(GLEAN, device='cpu', fidelity=0).network(x), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize('name, mode', [(LIGHT, 'direct'), (LIGHT, 'tiles'), (GLEAN, 'tiles'), (GLEAN, 'fit')])
@pytest.mark.parametrize('value', [0, 1])
def test_fidelity_in_every_mode_and_folded(name: str, mode: str, value: float) -> None:
    image = photo('chelsea', 20, 24)
    own, exact, folded = (
        Restorer(name, device='cpu', mode=mode, **options)(image).astype(int)
        for options in ({}, dict(fidelity=value), dict(fidelity=value, speed='folded'))
    )
    assert np.abs(exact - own).mean() > 0.5
    assert np.abs(exact - folded).mean() < 0.5


@pytest.mark.parametrize('speed', ['exact', 'folded', pytest.param('compiled', marks=needs_compiler)])
@pytest.mark.parametrize('name, mode', [(LIGHT, 'direct'), (LIGHT, 'tiles'), (GLEAN, 'tiles'), (GLEAN, 'fit')])
def test_the_input_is_met_the_better_the_higher_the_fidelity(name: str, mode: str, speed: str) -> None:
    picture, scores = Picture(photo('chelsea', 20, 24)), []
    for value in (0, None, 1):
        made = Restorer(name, device='cpu', mode=mode, speed=speed, fidelity=value).restoration([picture])
        for _ in made:
            pass
        scores += made.scores
    assert scores[0] < scores[1] < scores[2]


def test_fidelity_1_is_consistent_and_below_the_middle_both_go_together() -> None:
    image = photo('astronaut', 16, 16)
    restored = {
        options: Restorer(LIGHT, device='cpu', **dict(options))(image).astype(int)
        for options in [(('fidelity', 1),), (('consistent', 5),), (('fidelity', 0), ('consistent', 5))]
    }
    one, consistent, both = restored.values()
    np.testing.assert_array_equal(one, consistent)
    assert np.abs(both - one).mean() > 0.5


@pytest.mark.parametrize('model, options, words', [
    (LIGHT, dict(fidelity=1.5), 'fidelity is 0 .the bank. to 1'), (LIGHT, dict(fidelity=float('nan')), 'fidelity is 0'),
    (LIGHT, dict(fidelity=0.7, consistent=2), 'give one of them'), (COLOR, dict(fidelity=0.3), "leave `fidelity` out"),
])  # fmt: skip
def test_fidelity_that_cannot_be_is_refused(model: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(RestoreError, match=words):
        Restorer(model, device='cpu', **options)


# ---- report

def test_code_distance_is_in_units_of_the_bank_s_own_spread() -> None:
    """Of codes that the mapping network makes, layer by layer the same, against their mean and deviation by hand."""
    bank = dict(type='StyleGAN2Bank', out_size=64, style_channels=128, num_mlps=4,
                channels={4: 128, 8: 128, 16: 128, 32: 64, 64: 32},
                pretrained=dict(checkpoint=str(BANK_FILE), prefix='generator_ema'))  # fmt: skip
    statistics = code_statistics(dict(bank=dict(bank, mapping=False, rgb=False)))
    built = MODELS.build(bank)
    built.init_weights()
    with torch.no_grad():
        drawn = built.style_mapping(torch.randn(2000, 128))
        by_hand = ((drawn - drawn.mean(dim=0)) / drawn.std(dim=0)).square().mean(dim=1).sqrt()
    distance = statistics.distance([drawn] * 10)
    torch.testing.assert_close(distance, by_hand, atol=0.1, rtol=0)
    assert float(distance.square().mean()) == pytest.approx(1, abs=0.05)
    assert float(statistics.distance([drawn.mean(dim=0)[None]] * 10)) < 0.1

    missing = code_statistics(dict(bank=dict(bank, pretrained=dict(checkpoint='nowhere.pth'))))
    assert isinstance(missing, str) and 'nowhere.pth' in missing


def test_noise_spread_is_that_of_the_draws(emoji: list[tuple[np.ndarray, np.ndarray]], tmp_path: Path) -> None:
    """Against images of the same seeds, and its map is bright where they differ."""
    image = emoji[3][0]
    failure = Assessor(Restorer(LIGHT, device='cpu'), draws=4)(Picture(image), 30, 1, heat_map=tmp_path / 'heat.png')
    drawn = np.stack([Restorer(LIGHT, device='cpu', seed=seed)(image) for seed in range(4)]).astype(float)
    expected = drawn.std(axis=0, ddof=1).mean(axis=2)
    assert failure.figures['noise_spread'] == pytest.approx(expected.mean(), rel=0.05)
    heat = np.asarray(Image.open(tmp_path / 'heat.png')).astype(float).sum(axis=2)
    assert heat.shape == (64, 64) and np.corrcoef(heat.ravel(), expected.ravel())[0, 1] > 0.9
    assert 'same for all images' in failure.missing['code_distance']
    assert 'no noise maps' in Assessor(Restorer(GLEAN, device='cpu'))(Picture(image), 30, 1).missing['noise_spread']


@pytest.mark.parametrize('name', [GLEAN, LIGHT])
def test_report_tells_photographs_and_noise_from_emoji(name: str, emoji: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """With the shipped bounds, in a few draws."""
    restorer = Restorer(name, device='cpu')
    assessor = Assessor(restorer, draws=3)
    known = [Picture(lq) for lq, _ in emoji]
    sets = others(known, 16, 12)
    unlike = {
        kind: np.mean([assess(restorer, picture, assessor).unlike for picture in some])
        for kind, some in dict(sets, known=known).items()
    }
    assert unlike['photographs'] > 0.8 and unlike['noise'] > 0.9 and unlike['known'] < 0.4, unlike


def test_lr_figures_are_of_the_result_before_any_projection() -> None:
    image = photo('coffee', 20, 24)
    plain, projected = (
        assess(Restorer(LIGHT, device='cpu', consistent=steps), Picture(image), None).figures for steps in (0, 5)
    )
    assert projected['lr_psnr'] == pytest.approx(plain['lr_psnr'])
    assert assess(Restorer(LIGHT, device='cpu'), Image.fromarray(image)).figures == plain
    result, enlarged = Restorer(LIGHT, device='cpu')(image), matlab_resize(
        torch.from_numpy(image).permute(2, 0, 1).float(), (80, 96)).clamp(0, 255).round().numpy()  # fmt: skip
    of_result, of_enlarged = (
        LRConsistency().process_image(image.transpose(2, 0, 1), each, None)
        for each in (result.transpose(2, 0, 1), enlarged)
    )
    assert plain['lr_psnr'] == pytest.approx(of_result, abs=0.01)
    assert plain['lr_gain'] == pytest.approx(of_result - of_enlarged, abs=0.02)


def test_report_of_a_folder(tmp_path: Path, capsys: Any) -> None:
    """A file and a heat map for each, the same in --json; again after one is lost, and none without the flag."""
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    for i in range(2):
        Image.fromarray(photo('rocket', 16, 16, 60 * i)).save(source / f'{i}.png')
    model = ['--model', 'lightglean_twemoji_4x', '--device', 'cpu']
    call = ['restore', str(source), str(out), *model, '--report', '--json', str(tmp_path / 'all.json')]
    assert main(call) == 0
    assert {path.name for path in (out / 'report').iterdir()} == {'0.json', '0.png', '1.json', '1.png'}
    one = json.loads((out / 'report' / '1.json').read_text())
    assert json.loads((tmp_path / 'all.json').read_text())['pictures'][1]['failure'] == one
    assert one['unlike'] is True and 'lr_gain' in one['verdict'] and one['noise_spread'] > 0
    (out / 'report' / '1.json').unlink()
    assert main(call) == 0 and '1 restored' in capsys.readouterr().err and (out / 'report' / '1.json').is_file()
    assert main(['restore', str(source / '0.png'), str(tmp_path / 'plain.png'), *model]) == 0
    assert not (tmp_path / 'plain.report.json').exists()
    call = ['restore', str(source / '0.png'), str(tmp_path / 'c.png'), '--device', 'cpu', '--model', COLOR, '--report']
    assert main(call) == command.WRONG and 'says nothing of the colours' in capsys.readouterr().err


# ---- bounds

def test_verdicts() -> None:
    bounds = dict(lr_gain=Bound('low', 0.5), noise_spread=Bound('high', 2.0), lr_psnr=Bound('low', 30, used=False))
    assert judged(dict(lr_gain=1.0, noise_spread=1.0, lr_psnr=1.0), bounds)[0] is False
    unlike, words = judged(dict(lr_gain=0.1, noise_spread=2.5, lr_psnr=1.0), bounds)
    assert unlike and 'lr_gain 0.1, below 0.5; noise_spread 2.5, above 2' in words and 'lr_psnr' not in words
    assert judged(dict(lr_psnr=1.0), bounds)[0] is None and 'calibrate' in judged({}, {})[1]


def test_area_under_the_curve_is_scipy_s() -> None:
    from scipy.stats import mannwhitneyu

    random = np.random.default_rng(0)
    known, other = random.normal(size=40).round(1), random.normal(0.7, size=30).round(1)
    expected = mannwhitneyu(other, known).statistic / (len(known) * len(other))
    assert area(known, other, 'high') == pytest.approx(expected)
    assert area(known, other, 'low') == pytest.approx(1 - expected)


def test_calibration_of_a_model_of_one_s_own(
    tmp_path: Path, emoji: list[tuple[np.ndarray, np.ndarray]], capsys: Any
) -> None:
    """Bounds are those of half of the images, are found beside the checkpoint, and not taken for other weights."""
    path = write_checkpoint(tmp_path / 'mine.pth', generator_config(True))
    for i in range(40):
        Image.fromarray(emoji[i % len(emoji)][0]).save(tmp_path / f'{i:02d}.png')
    known, restorer = images_of(tmp_path), Restorer(path, device='cpu')
    content = calibrate(restorer, known, {'noise': others(known, 16, 6)['noise']}, draws=2)
    figures = [assess(restorer, picture, Assessor(restorer, 2)).figures['lr_psnr'] for picture in known]
    half = [each for i, each in enumerate(figures) if i // 10 % 2 == 0]
    found = content['figures']['lr_psnr']
    assert found['bound'] == pytest.approx(np.quantile(half, 0.05 if found['side'] == 'low' else 0.95))
    assert found['auc']['noise'] > 0.9 and content['unlike']['noise'] == 1
    assert 'no bounds are known' in assess(restorer, known[0]).verdict
    write_bounds(content, path)
    assert assess(Restorer(path, device='cpu'), known[0]).unlike is not None
    large = assess(Restorer(path, device='cpu'), photo('coffee', 40, 50))
    assert 'its bounds are of images of 16 px, and this has 50' in large.verdict
    # More of the bank is another result: its bounds do not hold.
    assert assess(Restorer(path, device='cpu', fidelity=0), known[0]).unlike is None

    write_checkpoint(path, generator_config(True, fuse=None) | dict(encoder=dict(
        type='GLEANEncoder', num_rrdbs=2, rrdb_channels=8, growth_channels=4)))  # fmt: skip
    with pytest.raises(RestoreError, match='other weights'):
        Assessor(Restorer(path, device='cpu'))
    bounds_path(path).write_text('{}')
    with pytest.raises(RestoreError, match='holds no bounds'):
        Assessor(Restorer(path, device='cpu'))


def test_report_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config in a checkpoint may be a stranger's, and its bank anywhere."""
    url = 'https://127.0.0.1:9/bank.pth'
    generator = generator_config(False)
    generator['bank']['pretrained'] = dict(checkpoint=url)
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(fetch, '_download', lambda *arguments: pytest.fail('it was asked for'))
    missing = code_statistics(generator)
    assert isinstance(missing, str) and url in missing and str(tmp_path / 'cache') in missing


def test_shipped_bounds_are_of_the_shipped_weights() -> None:
    from glean_plus.weights import read_card

    files = sorted((CONFIGS / 'weights' / 'bounds').glob('*.json'))
    assert {path.stem for path in files} >= {GLEAN, LIGHT}
    for path in files:
        content = json.loads(path.read_text())
        assert content['weights'] == read_card(path.parents[1] / f'{path.stem}.json').sha256
        assert content['unlike']['photographs'] > 0.9 and content['unlike']['known'] < 0.2


@pytest.fixture
def few(tmp_path: Path, emoji: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    for folder in ('lq', 'gt'):
        (tmp_path / folder).mkdir()
    for i in range(40):
        lq, gt = emoji[i % len(emoji)]
        Image.fromarray(lq).save(tmp_path / 'lq' / f'{i:02d}.png')
        Image.fromarray(gt).save(tmp_path / 'gt' / f'{i:02d}.png')
    return tmp_path


def test_tools(few: Path, capsys: Any) -> None:
    shutil.copy(CONFIGS / 'weights' / f'{LIGHT}.safetensors', few / 'copy.safetensors')
    run: Callable[..., int] = lambda *arguments: main([*map(str, arguments), '--device', 'cpu'])  # noqa: E731
    (few / 'names.txt').write_text(''.join(f'{i:02d}.png (16,16,3)\n' for i in range(40)))
    Image.fromarray(photo('coffee', 9, 9)).save(few / 'lq' / 'not_listed.png')
    options = ('--checkpoint', few / 'copy.safetensors', '--count', 4, '--draws', 2, '--others', few / 'lq')
    assert run('calibrate', CONFIGS / f'{LIGHT}.py', few / 'lq', '--names', few / 'names.txt', *options) == 0
    said = capsys.readouterr().out
    assert '| lr_gain |' in said and '| lq |' in said 
    content = json.loads((few / 'bounds' / 'copy.json').read_text())
    assert content['draws'] == 2 and content['side'] == 16
    assert content['pictures'] == {'known': 40, 'photographs': 4, 'noise': 4, 'upside down': 4, 'lq': 41}
    again = ('calibrate', CONFIGS / f'{LIGHT}.py', few / 'lq', '--names', few / 'names.txt', *options[:2],
             '--count', 1, '--draws', 3)  # fmt: skip
    assert run(*again) == 0 and '--overwrite replaces them' in capsys.readouterr().err
    assert json.loads((few / 'bounds' / 'copy.json').read_text()) == content
    assert run(*again, '--overwrite') == 0 and 'stay' not in capsys.readouterr().err
    assert json.loads((few / 'bounds' / 'copy.json').read_text())['draws'] == 3
    assert run('calibrate', LIGHT, few / 'nowhere') == 2 and 'There is no folder' in capsys.readouterr().err
    values = ('--names', few / 'names.txt', '--every', 20, '--values', 0.5, 1)
    assert run('fidelity', LIGHT, few / 'lq', few / 'gt', *values) == 0
    rows = [line.split('|')[1:6] for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    assert run('fidelity', LIGHT, few / 'lq', few / 'gt', *values[:4], '--values', 0, '--consistent', 5) == 0
    rows += [line.split('|')[1:6] for line in capsys.readouterr().out.splitlines() if line.startswith('| 0 ')]
    numbers = np.array(rows[2:], float)
    assert numbers[:, 0].tolist() == [0.5, 1, 0] and (numbers[1:, 2] > numbers[0, 2] + 3).all()
    assert (numbers[:, 3] > 0).all()
