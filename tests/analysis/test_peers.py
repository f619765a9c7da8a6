"""The comparison with trained networks of others: a toy network and a tiny model of ours through the whole tool."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from mmengine.logging import MMLogger
from PIL import Image
from scipy import ndimage

from glean_plus import Restorer
from glean_plus.analysis.errors import PeersError
from glean_plus.analysis.peers import runners
from glean_plus.analysis.peers.compare import Comparison, Measured, Process, Setting, compare
from glean_plus.analysis.peers.degradations import DEGRADATIONS, degrade
from glean_plus.analysis.peers.entries import ENTRIES, Entry, choose
from glean_plus.analysis.peers.images import ground_truths, names_of
from glean_plus.analysis.peers.install import default_folder, install, site_of
from glean_plus.analysis.peers.output import log_on_stderr
from glean_plus.analysis.peers.scores import SCORES, Scorer
from glean_plus.metrics import NIQEMetric
from glean_plus.pretrained.perceptual import STLPIPS
from glean_plus.utils.imresize import matlab_bicubic

from conftest import ROOT, load_tool, run_tool
from small_restorers import photo

TOY = """
import os
from glean_plus.analysis.errors import PeersError
from glean_plus.analysis.peers.runners import Runner

def nearest(scale, threads):
    print('a library says something')
    return Runner(lambda image: image.repeat(scale, 0).repeat(scale, 1), 1_230_000)

def refusing(scale, threads):
    raise PeersError('It wants more.')

def ending(scale, threads):
    os._exit(3)

def unscaled(scale, threads):
    return Runner(lambda image: image)
"""


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    """MATLAB's bicubic, not rounded."""
    return matlab_bicubic(torch.from_numpy(image.copy()).permute(2, 0, 1), scale).permute(1, 2, 0).numpy()


def rounded(image: np.ndarray) -> np.ndarray:
    return image.round().clip(0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three small photographs; the sides of one are no multiples of 2."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name, height, width in (('astronaut', 64, 80), ('chelsea', 73, 65), ('coffee', 64, 64)):
        Image.fromarray(photo(name, height, width)).save(folder / f'{name}.png')
    return folder


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Entry]:
    """Function of :data:`TOY` -> an entry whose package is there already, in a folder ``peers``."""
    site = tmp_path / 'peers' / 'toy-peer-1.0'
    site.mkdir(parents=True)
    (site / 'toy_peer.py').write_text(TOY)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    return lambda name: Entry('toy', f'toy_peer:{name}', (2,), ('toy-peer==1.0',), 'MIT')


def test_whole_tool(
    toy: Callable[[str], Entry], photos: Path, light_checkpoint: Path, tmp_path: Path, no_scope: None,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(ENTRIES, 'toy', toy('nearest'))
    filtered = replace(toy('nearest'), title='filter', degraded_only=True)
    monkeypatch.setitem(ENTRIES, 'bilateral', filtered)  # one process less that imports MMagic
    listed = tmp_path / 'list.txt'
    listed.write_text('chelsea.png (73,65,3)\nastronaut.png (64,80,3)\ncoffee.png (64,64,3)\n')
    table, numbers, drawn = (tmp_path / 'out' / name for name in ('x.md', 'x.json', 'x.png'))
    options = ['--gt', photos, '--meta', listed, '--limit', 2, '--scale', 2, '--peers', tmp_path / 'peers',
               '--degrade', 'clean', 'noise10', '--threads', 1, '--entries', 'bicubic', 'bilateral', 'toy',
               '--models', f'ours={light_checkpoint}', '--out', table, '--json', numbers,
               '--images', 1, '--out-images', drawn]  # fmt: skip
    run_tool('compare_peers', [*map(str, options)], monkeypatch)
    assert capsys.readouterr().out == ''

    found = json.loads(numbers.read_text())
    assert found['images'] == ['chelsea.png', 'astronaut.png'] and found['settings']['threads'] == 1
    assert found['entries']['toy'] == dict(parameters=1_230_000, packages=['toy-peer==1.0'], licence='MIT', options={})
    restorer, network = Restorer(light_checkpoint, device='cpu', speed='exact'), STLPIPS('vgg')
    model = restorer.network.network
    parameters = {id(each): each.numel() for part in (model, model.bank) for each in part.parameters()}
    assert found['entries']['ours']['parameters'] == sum(parameters.values()) > 0
    clean, noisy = (found['degradations'][name]['results'] for name in ('clean', 'noise10'))
    assert [*clean] == ['bicubic', 'toy', 'ours'] and [*noisy] == ['bicubic', 'filter', 'toy', 'ours']

    for place, (gt, lq) in enumerate(
        (gt, rounded(resized(gt, 1 / 2))) for gt in (photo('chelsea', 72, 64), photo('astronaut', 64, 80))
    ):
        nearest = lq.repeat(2, 0).repeat(2, 1)
        for title, result in (('toy', nearest), ('bicubic', rounded(resized(lq, 2))), ('ours', restorer(lq))):
            images = clean[title]['images']
            assert images['PSNR'][place] == pytest.approx(psnr(result, gt), abs=1e-4)
            assert images['LR-PSNR'][place] == pytest.approx(psnr(resized(result, 1 / 2), lq), abs=1e-3)
            pair = (torch.from_numpy(each.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for each in (result, gt))
            assert images['ST-LPIPS'][place] == pytest.approx(float(network(*pair)), abs=1e-5)
            assert images['NIQE'][place] is None and images['seconds'][place] > 0

    difference = clean['toy']['difference']['PSNR']
    pairs = np.subtract(clean['toy']['images']['PSNR'], clean['bicubic']['images']['PSNR'])
    assert difference['mean'] == pytest.approx(pairs.mean()) and clean['bicubic']['difference']['PSNR'] is None
    assert [difference['low'], difference['high']] == pytest.approx(sorted(pairs))  # of two images

    text = table.read_text()
    assert text.startswith(f'2 images of {photos}, cropped to multiples of 2, 2x, seed 0; CPU, 1 threads')
    assert '### clean: ' in text and '### noise10: Gaussian noise of sigma 10' in text
    assert 'toy: toy-peer==1.0 (MIT).' in text and 'NIQE of toy: 2 of 2 images have none' in text
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('| toy')]
    assert [len(line) for line in lines] == [10, 10] and lines[0][1] == '1.23 M'
    assert lines[0][3:5] == [
        f'{clean["toy"]["mean"]["PSNR"]:.2f}',
        f'{difference["mean"]:+.2f} [{difference["low"]:+.2f}, {difference["high"]:+.2f}]',
    ]

    image = np.asarray(Image.open(drawn))
    gt = photo('astronaut', 64, 80)
    assert image.shape == (8 + 16 + 2 * (64 + 16 + 8), 8 + 6 * (80 + 8), 3)
    for top in (40, 40 + 88):
        assert (image[top:top + 64, 8 + 5 * 88:][:, :80] == gt).all()
    lq = rounded(resized(gt, 1 / 2)).repeat(2, 0).repeat(2, 1)
    assert (image[40:104, 8:88] == lq).all() and (image[40:104, 8 + 3 * 88:][:, :80] == lq).all()
    assert (image[40:104, 8 + 2 * 88:][:, :80] == 255).all()  # no filter on clean inputs


@pytest.mark.parametrize(
    ('name', 'message'),
    [('refusing', 'toy cannot be used: It wants more'), ('ending', 'toy has ended with 3'),
     ('unscaled', r'toy has made \(32, 40, 3\) of uint8, not \(64, 80, 3\)')],
)  # fmt: skip
def test_an_entry_that_cannot_be_used_is_named(
    toy: Callable[[str], Entry], tmp_path: Path, name: str, message: str
) -> None:
    process = Process(toy(name), 2, 1, tmp_path / 'peers')
    image = photo('astronaut', 32, 40)
    np.save(tmp_path / 'image.npy', image)
    try:
        with pytest.raises(PeersError, match=message):
            process.answer()
            process.restore(tmp_path / 'image.npy', image)
    finally:
        process.close()


def test_degradations_depend_on_seed_and_name_alone() -> None:
    gt = photo('astronaut', 128, 128)
    seen = set()
    for name, what in DEGRADATIONS.items():
        first = degrade(gt, 4, what, 'a.png', 3)
        assert first.shape == (32, 32, 3) and first.dtype == np.uint8
        np.random.standard_normal(7)
        assert (degrade(gt, 4, what, 'a.png', 3) == first).all(), name
        others = [degrade(gt, 4, what, 'b.png', 3), degrade(gt, 4, what, 'a.png', 4)]
        changes = name in ('noise10', 'scan', 'screenshot', 'blind')
        assert [(other != first).any() for other in others] == [changes, changes], name
        seen.add(first.tobytes())
    assert len(seen) == len(DEGRADATIONS)
    state = np.random.get_state()[1].copy()
    degrade(gt, 4, DEGRADATIONS['blind'], 'a.png')
    assert (np.random.get_state()[1] == state).all()


def test_degradations_are_what_they_say() -> None:
    gt = photo('chelsea', 256, 256, top=20)
    clean = rounded(resized(gt, 1 / 4))
    assert (degrade(gt, 4, DEGRADATIONS['clean'], 'x') == clean).all()

    buffer = io.BytesIO()
    Image.fromarray(clean).save(buffer, 'JPEG', quality=75)
    by_pil = np.asarray(Image.open(buffer)).astype(float)
    assert np.abs(degrade(gt, 4, DEGRADATIONS['jpeg75'], 'x') - by_pil).max() <= 2  # two versions of libjpeg

    blurred = ndimage.gaussian_filter(clean.astype(float), (1, 1, 0), mode='mirror', truncate=4)
    assert np.abs(degrade(gt, 4, DEGRADATIONS['blur'], 'x') - blurred).max() < 0.6

    gray = np.full((512, 512, 3), 128, np.uint8)
    noise = degrade(gray, 4, DEGRADATIONS['noise10'], 'x').astype(float) - 128
    assert abs(noise.std() - 10) < 0.15 and abs(noise.mean()) < 0.15
    blind = [degrade(gray, 4, DEGRADATIONS['blind'], name).astype(float).std() for name in 'abcdefgh']
    assert 0 < min(blind) < max(blind) < 12 and len({*blind}) == 8  # noise of 10 at most, beside what the first left


def test_scores_of_flat_images_are_those_by_hand() -> None:
    lq, gt, pred = (np.full((side, side, 3), value, np.uint8) for side, value in ((32, 100), (64, 100), (64, 110)))
    scores = Scorer()(lq, pred, gt)
    c1 = (0.01 * 255) ** 2
    assert [*scores] == [*SCORES] and scores['NIQE'] is None
    assert scores['PSNR'] == pytest.approx(20 * np.log10(25.5)) and scores['LR-PSNR'] == pytest.approx(scores['PSNR'])
    assert scores['SSIM'] == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1))
    same = Scorer()(lq, gt, gt)
    assert same['PSNR'] == same['LR-PSNR'] == 100 and same['SSIM'] == pytest.approx(1) and same['ST-LPIPS'] == 0
    sharp = photo('astronaut', 192, 192)
    soft = rounded(ndimage.gaussian_filter(sharp.astype(float), (2, 2, 0)))
    assert Scorer()(lq, sharp, sharp)['NIQE'] < Scorer()(lq, soft, sharp)['NIQE']


def test_only_the_scores_asked_for_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'photos'
    folder.mkdir()
    Image.fromarray(photo('coffee', 64, 64)).save(folder / 'coffee.png')
    monkeypatch.setattr(NIQEMetric, 'process_image', lambda *arguments: pytest.fail('Nobody asked for it.'))
    table, numbers = tmp_path / 'x.md', tmp_path / 'x.json'
    run_tool('compare_peers', ['--gt', str(folder), '--entries', 'bicubic', '--scores', 'ST-LPIPS', 'PSNR',
                               '--threads', '1', '--out', str(table), '--json', str(numbers)], monkeypatch)  # fmt: skip
    means = json.loads(numbers.read_text())['degradations']['clean']['results']['bicubic']['mean']
    assert [*means] == ['ST-LPIPS', 'PSNR']
    gt = photo('coffee', 64, 64)
    assert means['PSNR'] == pytest.approx(psnr(rounded(resized(rounded(resized(gt, 1 / 4)), 4)), gt), abs=1e-4)
    text = table.read_text()
    head = next(line for line in text.splitlines() if line.startswith('|'))
    assert [cell.strip() for cell in head.split('|')[4:-1]] == [
        'ST-LPIPS', 'ST-LPIPS - bicubic', 'PSNR', 'PSNR - bicubic']  # fmt: skip
    assert 'SSIM' not in text and 'NIQE' not in text and 'Lower is better of ST-LPIPS,' in text


def test_interval_is_that_of_scipy() -> None:
    random = np.random.default_rng(5)
    base, row = random.normal(25, 3, 30), random.normal(26, 3, 30)
    setting = Setting(Path('x'), [*map(str, range(30))])
    comparison = Comparison(setting, [])
    for title, values in (('bicubic', base), ('other', row)):
        comparison.measured.setdefault('clean', {})[title] = Measured({'PSNR': [*map(float, values)]}, [1.0])
    found = comparison.difference('clean', 'other', 'PSNR')
    expected = scipy.stats.bootstrap((row - base,), np.mean, method='percentile').confidence_interval
    assert found.difference == pytest.approx((row - base).mean())
    assert [found.low, found.high] == pytest.approx([*expected], abs=0.08)
    assert comparison.difference('clean', 'bicubic', 'PSNR') is None


def test_crops_are_of_the_centre(photos: Path) -> None:
    whole = photo('chelsea', 73, 65)
    (crop,) = ground_truths(photos, ['chelsea.png'], 4, 40)
    assert (crop == whole[16:56, 12:52]).all()
    (cut,) = ground_truths(photos, ['chelsea.png'], 4, None)
    assert (cut == whole[:72, :64]).all()
    Image.fromarray(whole[..., 0]).save(photos / 'gray.png')
    (gray,) = ground_truths(photos, ['gray.png'], 1, None)
    assert (gray == whole[..., :1]).all() and gray.shape == (73, 65, 3)


def test_images_that_cannot_be_compared_are_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any process is started."""
    monkeypatch.setattr('glean_plus.analysis.peers.compare.Process', lambda *arguments: pytest.fail('It is too late.'))
    image = photo('coffee', 64, 64)
    Image.fromarray(np.dstack([image, image[..., :1] // 2])).save(photos / 'clear.png')
    Image.fromarray(image[..., 0].astype(np.uint16) * 257).save(photos / 'deep.png')
    Image.fromarray(image[:63]).save(photos / 'small.png')
    (photos / 'broken.png').write_bytes(b'GIF89a')
    for name, message in (('clear', 'transparent'), ('deep', '8 bits'), ('small', '64 x 63 pixels'),
                          ('broken', 'cannot be compared')):  # fmt: skip
        with pytest.raises(PeersError, match=rf'{name}\.png .*{message}'):
            compare(Setting(photos, ['coffee.png', f'{name}.png']), choose([], [], 'exact', 4), tmp_path)
    listed = tmp_path / 'list.txt'
    for text, message in (('', 'no images'), ('a.png\n', 'no .*a.png'), ('coffee.png\n' * 2, 'more than once')):
        listed.write_text(text)
        with pytest.raises(PeersError, match=message):
            names_of(photos, listed)
    with pytest.raises(PeersError, match='no folder'):
        names_of(tmp_path / 'absent')
    with pytest.raises(PeersError, match='no list'):
        names_of(photos, tmp_path / 'absent')


def test_entries_that_cannot_be_compared_are_named(light_checkpoint: Path) -> None:
    assert [entry.title for entry in choose(None, [], 'exact', 3)] == ['bicubic', 'bilateral + bicubic', 'DAT-light']
    titles = [entry.title for entry in choose(['dat-light'], ['a', 'b=c'], 'exact', 4)]
    assert titles == ['bicubic', 'DAT-light', 'a', 'b']
    with pytest.raises(PeersError, match='Real-ESRGAN x4plus has no scale 2.*--entries bicubic bilateral dat-light'):
        choose(['real-esrgan'], [], 'exact', 2)
    with pytest.raises(PeersError, match="called 'a'"):
        choose([], ['a', 'a=b'], 'exact', 2)
    with pytest.raises(PeersError, match='enlarges 2 times, not 4'):
        runners.own(4, torch.get_num_threads(), model=str(light_checkpoint))
    with pytest.raises(PeersError, match="no model 'lightglean_x'"):
        runners.own(4, torch.get_num_threads(), model='lightglean_x')


@pytest.mark.parametrize(
    ('options', 'message'),
    [(['--crop', '66'], 'multiple of --scale 4'), (['--images', '0'], 'go together'), (['--seed', '-1'], '0 or more'),
     (['--limit', '0'], '1 or more'), (['--degrade', 'rain'], 'rain'),
     (['--images', '3', '--out-images', 'x.png'], 'no image 3: the 3 images'), (['--out', '.'], 'it is a folder'),
     (['--json', 'photos/coffee.png/x.json'], 'cannot be written')],
)  # fmt: skip
def test_wrong_calls_end_before_anything_is_computed(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, options: list[str], message: str
) -> None:
    monkeypatch.chdir(photos.parent)
    monkeypatch.setattr(sys, 'argv', ['compare_peers', '--gt', str(photos), *options])
    with pytest.raises(SystemExit) as ended:
        load_tool('compare_peers').main()
    assert message in capsys.readouterr().err + str(ended.value)
    assert sorted(path.name for path in photos.parent.iterdir()) == ['photos']


def write_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / 'toy_peer-1.0-py3-none-any.whl', 'w') as wheel:
        info = 'toy_peer-1.0.dist-info'
        wheel.writestr('toy_peer.py', TOY)
        wheel.writestr(f'{info}/METADATA', 'Metadata-Version: 2.1\nName: toy-peer\nVersion: 1.0\n'
                                           'Requires-Dist: a-package-that-is-not-there\n')  # fmt: skip
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        wheel.writestr(f'{info}/RECORD', f'toy_peer.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n')


def test_packages_are_installed_apart_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real pip, from a folder in place of the index."""
    write_wheel(tmp_path)
    peers = tmp_path / 'peers'
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path))
    with pytest.raises(PeersError) as raised:
        install(['toy-peer==1.0', 'absent-peer==2.0'], peers)
    said = str(raised.value)
    assert 'toy-peer==1.0 and absent-peer==2.0 cannot be installed' in said and '--entries' in said
    assert f'--target {peers}/toy-peer-1.0+absent-peer-2.0 toy-peer==1.0 absent-peer==2.0' in said
    assert os.listdir(peers) == []

    site = install(['toy-peer==1.0'], peers)
    assert site == peers / 'toy-peer-1.0' and (site / 'toy_peer.py').read_text() == TOY
    assert os.listdir(peers) == [site.name] and not any('toy_peer' in entry for entry in sys.path)
    monkeypatch.setattr('subprocess.run', lambda *arguments, **options: pytest.fail('It is there already.'))
    assert install(['toy-peer==1.0'], peers) == site


def test_bilateral_filter_takes_noise_and_leaves_edges() -> None:
    edge = np.full((32, 32, 3), 60, np.uint8)
    edge[:, 16:] = 200
    noisy = rounded(edge + np.random.default_rng(0).normal(0, 10, edge.shape))
    bicubic, bilateral = (load(2, torch.get_num_threads()).restore for load in (runners.bicubic, runners.bilateral))
    clean = bicubic(edge)
    assert (clean == rounded(resized(edge, 2))).all() and np.abs(bilateral(edge).astype(float) - clean).max() <= 1
    assert psnr(bilateral(noisy), clean) > psnr(bicubic(noisy), clean) + 3


def test_results_are_rounded_and_clipped() -> None:
    values = np.array([-0.2, 0.4, 0.6, 254.6, 300], np.float32) / 255
    image = runners.to_uint8(np.stack([values[None]] * 3))
    assert image.shape == (1, 5, 3) and image[0, :, 1].tolist() == [0, 0, 1, 255, 255]


def test_parameters_of_an_ncnn_file() -> None:
    text = '7767517\n3 3\nInput a 0 1 data\nConvolution b 1 1 data x 0=64 1=3 4=1 5=1 6=1728\n'
    text += 'Convolution c 1 1 x y 0=8 1=1 6=512 -23310=1,2.000000e-01\nConcat d 2 1 x y z\n'
    assert runners.ncnn_parameters(text) == 1728 + 64 + 512


@pytest.mark.soak
@pytest.mark.parametrize('name', ['dat-light', 'real-esrgan'])
def test_real_peers_on_photographs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ENTRIES[name]
    if not site_of(entry.packages, default_folder()).is_dir():
        pytest.skip(f'{entry.title} is not installed: tools/compare_peers.py --entries {name} does that')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    for each in ('astronaut', 'chelsea', 'coffee', 'rocket'):
        Image.fromarray(photo(each, 256, 256, 20, 100)).save(tmp_path / f'{each}.png')
    setting = Setting(tmp_path, names_of(tmp_path))
    found = compare(setting, choose([name], [], 'exact', 4), default_folder())
    psnr_gain = found.difference('clean', entry.title, 'PSNR').difference
    distance = found.difference('clean', entry.title, 'ST-LPIPS').difference
    if name == 'dat-light':  # trained for PSNR
        assert psnr_gain > 1 and distance < -0.1 and found.parameters[entry.title] == 572_766
    else:  # an RRDBNet of 23 blocks, trained as a GAN
        assert -4 < psnr_gain < 0 and distance < -0.1 and found.parameters[entry.title] == 16_697_987


def test_the_log_is_beside_the_tables_without_what_nobody_needs(capsys: pytest.CaptureFixture[str]) -> None:
    log, handler = MMLogger.get_current_instance(), logging.StreamHandler(sys.stdout)
    log.addHandler(handler)
    try:
        with log_on_stderr():
            log.warning('The prefix is not set in metric class NIQEMetric.')
            log.warning('NIQE does not exist for 3 of 4 images')
        said = capsys.readouterr()
        assert said.err == 'NIQE does not exist for 3 of 4 images\n' and said.out == ''
        log.warning('The prefix is not set')
        assert 'prefix' in capsys.readouterr().out
    finally:
        log.removeHandler(handler)
