"""Images for which a metric does not exist: left out, counted and named, or a number; no test ends for them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import METRICS
from mmengine.logging import MMLogger

from glean_plus.metrics.base import Unmeasurable
from glean_plus.training.launch import number, write_metrics

from conftest import run_tool
from killing import small_config, write_data
from small_restorers import generator_config, write_checkpoint

METRICS_HERE = [
    dict(type='PSNRMetric'), dict(type='PSNRMetric', convert_to='Y', crop_border=2), dict(type='SSIMMetric'),
    dict(type='STLPIPSMetric', net='alex'), dict(type='NIQEMetric'), dict(type='LRConsistency'),
    dict(type='FIDMetric', features='stlpips-alex'), dict(type='KIDMetric', features='stlpips-alex'),
]  # fmt: skip


def noise(height: int, width: int, seed: int = 0, channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (channels, height, width)).astype(np.float32))


def flat(height: int, width: int, value: float) -> torch.Tensor:
    return torch.full((3, height, width), value)


def pair(gt: torch.Tensor, pred: torch.Tensor, name: str = 'a.png') -> dict[str, Any]:
    lq = gt[:, ::4, ::4]
    return dict(gt_img=gt, input=lq, output=dict(pred_img=pred), gt_path=name)


def measured(config: dict[str, Any], samples: list[dict[str, Any]]) -> dict[str, float]:
    metric = METRICS.build(config)
    metric.process(None, samples)
    metric.size = len(samples)
    return metric.evaluate()


HALF = torch.cat([flat(192, 96, 255), noise(192, 96)], dim=2)
DEGENERATE = {
    'white': (flat(192, 192, 255), flat(192, 192, 255)), 'black': (flat(192, 192, 0), flat(192, 192, 0)),
    'flat, one level off': (flat(192, 192, 7), flat(192, 192, 8)),
    'black for noise': (noise(192, 192), flat(192, 192, 0)),
    'half white': (HALF, HALF), 'one pixel': (noise(4, 4), noise(4, 4, 1)), 'thin': (noise(4, 400), noise(4, 400, 1)),
    'less than a window': (noise(8, 8), noise(8, 8, 1)), 'less than two blocks': (noise(100, 100), noise(100, 100, 1)),
    'another size': (noise(64, 64), noise(60, 64)), 'not finite': (noise(192, 192), flat(192, 192, math.nan)),
    'infinite': (noise(192, 192), flat(192, 192, math.inf)),
}  # fmt: skip


@pytest.mark.parametrize('config', METRICS_HERE, ids=lambda each: '-'.join(map(str, each.values())))
def test_a_mean_is_that_of_the_images_that_have_it(config: dict[str, Any]) -> None:
    """Each degenerate image among good ones gives a number or is counted; the numbers are those of each alone."""
    images = [(noise(192, 288, i), (noise(192, 288, i) + noise(192, 288, i + 5)) / 2) for i in (1, 2)]
    good = [pair(*each) for each in images]
    bad = {name: pair(*images, f'{name}.png') for name, images in DEGENERATE.items()}
    found = measured(config, [*good, *bad.values()])
    key = next(iter(found))
    assert all(math.isfinite(each) for each in found.values()) and json.loads(json.dumps(found, allow_nan=False))
    assert {*found} <= {key, f'{key}-exact', f'{key}-left-out'}
    left_out = found[f'{key}-left-out']
    assert 1 <= left_out < len(bad)
    if config['type'] not in ('FIDMetric', 'KIDMetric'):  # of one image, they have none
        alone = [measured(config, [each]) for each in (*good, *bad.values())]
        numbers = [each[key] for each in alone if key in each]
        assert found[key] == pytest.approx(np.mean(numbers)) and len(alone) - len(numbers) == left_out
        assert all(each == {f'{key}-left-out': 1} for each in alone if key not in each)


@pytest.mark.parametrize(('config', 'without'), [
    (dict(type='PSNRMetric'), {'another size', 'not finite', 'infinite'}),
    (dict(type='SSIMMetric'), {'another size', 'not finite', 'infinite', 'one pixel', 'thin', 'less than a window'}),
    (dict(type='STLPIPSMetric'), {'another size', 'not finite', 'infinite', 'one pixel', 'thin', 'less than a window'}),
    (dict(type='LRConsistency'), {'not finite', 'infinite'}),
    (dict(type='NIQEMetric'), {*DEGENERATE} - {'half white'}),
], ids=lambda each: each['type'] if isinstance(each, dict) else '')  # fmt: skip
def test_which_have_a_number(config: dict[str, Any], without: set[str]) -> None:
    key = METRICS.build(config).metric
    assert {name for name, images in DEGENERATE.items() if key not in measured(config, [pair(*images)])} == without


def test_an_exact_image_counts_as_a_hundred_decibels() -> None:
    """As is usual where the infinite PSNR of equal images has to be a number; how many there are stands beside it."""
    image = noise(32, 32)
    off = image.clone()
    off[0, 0, 0] += 1 if off[0, 0, 0] < 255 else -1
    near = 10 * math.log10(255**2 * 3 * 32 * 32)
    found = measured(dict(type='PSNRMetric', prefix='p'), [pair(image, image), pair(image, off), pair(image, image)])
    assert found == {'p/PSNR': pytest.approx((200 + near) / 3, abs=1e-3), 'p/PSNR-exact': 2}
    large = noise(600, 600)
    off = large.clone()
    off[0, 0, 0] += 0.5 if off[0, 0, 0] < 255 else -0.5
    assert measured(dict(type='PSNRMetric'), [pair(large, off)]) == {'PSNR': 100, 'PSNR-exact': 1}
    grid = flat(64, 64, 9)
    assert measured(dict(type='LRConsistency'), [pair(grid, grid)]) == {'LR-PSNR': 100, 'LR-PSNR-exact': 1}


def test_what_is_left_out_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr('glean_plus.metrics.base.print_log', lambda text, **options: texts.append(text))
    samples = [pair(*DEGENERATE['white'], f'logo_{i}.png') for i in range(5)]
    assert measured(dict(type='NIQEMetric', prefix='x'), samples) == {'x/NIQE-left-out': 5}
    (said,) = texts
    assert 'x/NIQE does not exist for 5 of 5 images, so there is no mean: logo_0.png: too few of its blocks' in said
    assert 'logo_2.png' in said and 'and 2 more.' in said and 'logo_3.png' not in said


@pytest.mark.parametrize('name', ['PSNRMetric', 'SSIMMetric', 'NIQEMetric'])
def test_a_border_beyond_the_image_is_a_sentence(name: str) -> None:
    image = noise(64, 64)
    metric = METRICS.build(dict(type=name, crop_border=32))
    with pytest.raises(Unmeasurable, match=r'crop_border=32'):
        metric.process_image(image, image, None)
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match=f'crop_border must be a whole number of at least 0, but is {wrong}'):
            METRICS.build(dict(type=name, crop_border=wrong))


def test_a_reference_of_one_image_or_of_nan_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / 'one.npz', features=np.ones((1, 256)))
    np.savez(tmp_path / 'nan.npz', features=np.full((3, 256), np.nan))
    for name, said in (('one', 'fewer than two images'), ('nan', 'has NaN or Inf')):
        with pytest.raises(ValueError, match=said):
            METRICS.build(dict(type='KIDMetric', features='stlpips-alex', reference=str(tmp_path / f'{name}.npz')))


# ---- a whole test


def test_the_metrics_of_a_test_are_json_whatever_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bicubic is exact on flat images; MMagic's own PSNR says Infinity, which no JSON has."""
    from PIL import Image

    data = write_data(tmp_path / 'data', 1)
    for index, colour in enumerate([(10, 20, 30), (255, 255, 255)]):
        Image.new('RGB', (32, 32), colour).save(data / 'GT' / f'flat_{index}.png')
        Image.new('RGB', (16, 16), colour).save(data / 'LQ' / f'flat_{index}.png')
    config = small_config(data, tmp_path / 'work')
    config.model.generator = generator_config(light=True)
    same = dict(pred_key='bicubic_img', prefix='bicubic')
    config.test_evaluator.metrics = [
        dict(type='PSNRMetric', **same), dict(type='PSNR', pred_key='bicubic_img', prefix='mmagic'),
        dict(type='SSIMMetric', crop_border=40), dict(type='STLPIPSMetric', **same), dict(type='NIQEMetric'),
    ]  # fmt: skip
    config.dump(tmp_path / 'config.py')
    checkpoint = write_checkpoint(tmp_path / 'light.pth', generator_config(light=True))
    arguments = [str(tmp_path / 'config.py'), str(checkpoint), '--out', str(tmp_path / 'new' / 'metrics.json')]
    run_tool('test', arguments, monkeypatch)

    def refuse(constant: str) -> None:
        raise AssertionError(f'{constant} is not JSON')

    found = json.loads((tmp_path / 'new' / 'metrics.json').read_text(), parse_constant=refuse)
    assert found['bicubic/PSNR-exact'] == 2 and 66 < found['bicubic/PSNR'] < 80 and found['mmagic/PSNR'] is None
    assert found['SSIM-left-out'] == found['NIQE-left-out'] == 3 and 'SSIM' not in found and 'NIQE' not in found
    assert found['bicubic/ST-LPIPS-alex'] > 0
    said = capsys.readouterr().out
    assert 'mmagic/PSNR is not finite, and null in' in said
    assert 'crop_border=40 leaves too few pixels of its 32x32' in said
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['metrics.json']


@pytest.mark.parametrize(('suffix', 'content'), [
    ('json', b'{"a": null, "b": 2, "c": 0.5}'), ('yaml', b'a: null\nb: 2\nc: 0.5\n'),
])  # fmt: skip
def test_the_file_of_the_metrics(suffix: str, content: bytes, tmp_path: Path) -> None:
    MMLogger.get_instance('degenerate')
    values = {name: number(value) for name, value in dict(a=np.float32('nan'), b=2, c=np.float64(0.5)).items()}
    write_metrics(values, str(tmp_path / f'm.{suffix}'))
    assert (tmp_path / f'm.{suffix}').read_bytes() == content
