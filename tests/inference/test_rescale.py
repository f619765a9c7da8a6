"""Results of another scale than the model's, against MATLAB's bicubic of the model's own results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glean_plus.inference import RestoreError, Restorer
from glean_plus.inference.read import read
from glean_plus.inference.rescale import Rescaler
from glean_plus.utils.imresize import RowResizer, matlab_bicubic

from small_restorers import photo

pytestmark = pytest.mark.usefixtures('exact_speed')


@pytest.mark.parametrize('rows', [1, 3, 7, 100])
@pytest.mark.parametrize('scale', [0.07, 0.25, 0.75, 0.875, 1, 1.6, 4])
def test_rows_give_what_the_whole_gives(scale: float, rows: int) -> None:
    image = torch.from_numpy(photo('chelsea', 41, 29)).permute(2, 0, 1).float()
    size = math.ceil(scale * 41), math.ceil(scale * 29)
    resizer = RowResizer((41, 29), size, scale)
    parts = [resizer(image[:, top:top + rows]) for top in range(0, 41, rows)]
    assert torch.equal(torch.cat(parts, dim=1).clamp(0, 255), matlab_bicubic(image, scale))


def test_few_rows_are_held() -> None:
    resizer, most = RowResizer((1000, 8), (750, 6), 0.75), 0
    for _ in range(1000):
        resizer(torch.zeros(1, 1, 8))
        most = max(most, 0 if resizer._held is None else resizer._held.shape[1])
    assert most < 16


@pytest.mark.parametrize('outscale', [0.5, 1, 3, 3.3, 8])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('kind', ['uint8', 'uint16', 'float32'])
def test_size_type_and_levels(kind: str, channels: int, outscale: float, light_checkpoint: Path) -> None:
    white = dict(uint8=255, uint16=65535, float32=1)[kind]
    levels = np.concatenate([photo('coffee', 10, 14), photo('chelsea', 10, 14)[..., :1]], axis=2)[..., -channels:]
    given = (levels / 255 * white).astype(kind)
    restorer = Restorer(light_checkpoint, device='cpu')
    result, own = Rescaler(restorer, outscale)(given), restorer(given)
    assert result.shape == (math.ceil(outscale * 10), math.ceil(outscale * 14), channels) and result.dtype == kind
    whole = torch.from_numpy(own.astype(np.float32) * (255 / white)).permute(2, 0, 1)
    expected = matlab_bicubic(whole, outscale / 2).permute(1, 2, 0).numpy() * (white / 255)
    if outscale == 3.3:  # in MATLAB's own arithmetic 33.000000000000004 rows become 34
        expected = expected[:33]
    tolerance = dict(uint8=0.51, uint16=1.1, float32=1e-5)[kind]
    np.testing.assert_allclose(result, expected[:, :result.shape[1]], atol=tolerance)


def test_a_flat_image_stays_flat(light_checkpoint: Path) -> None:
    for level in (0, 119, 255):
        result = Rescaler(Restorer(light_checkpoint, device='cpu'), 2.7)(np.full((9, 9, 3), level, np.uint8))
        assert result.shape == (25, 25, 3) and (result == level).all()


@pytest.mark.parametrize('outscale', [0, -1, float('nan'), float('inf'), 'x', True])
def test_scales_that_are_none(outscale: object, light_checkpoint: Path) -> None:
    with pytest.raises(RestoreError, match='outscale is a number above 0'):
        Rescaler(Restorer(light_checkpoint, device='cpu'), outscale)  # type: ignore[arg-type]


def test_on_the_command_line(restore: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'in').mkdir()
    for name, size in (('a', (12, 17)), ('b', (12, 17)), ('c', (8, 8))):
        Image.fromarray(photo('chelsea', *size)).save(tmp_path / 'in' / f'{name}.png')
    common = [tmp_path / 'in', tmp_path / 'out', '--format', 'jpg', '--compare']
    assert restore(*common, '--outscale', '2.5', '--quality', '80', '--json', tmp_path / 'r.json') == 0
    pictures = json.loads((tmp_path / 'r.json').read_text())['pictures']
    assert [each['result_size'] for each in pictures] == [[30, 43], [30, 43], [20, 20]]
    found, shown = read(tmp_path / 'out' / 'a.jpg').image, read(tmp_path / 'out' / 'compare' / 'a.png').image
    assert found.shape == (30, 43, 3) and shown.shape == (30, 86, 3)
    rows, columns = np.arange(30) * 12 // 30, np.arange(43) * 17 // 43
    np.testing.assert_array_equal(shown[:, :43], photo('chelsea', 12, 17)[rows][:, columns])
    capfd.readouterr()
    assert restore(*common, '--outscale', '3', '--quality', '80') == 2
    assert 'outscale 2.5, now 3' in capfd.readouterr().err
    assert restore(*common, '--outscale', '2.5', '--quality', '80') == 0
    assert '3 there already' in capfd.readouterr().err
    for options, words in (
        (['--outscale', '0'], 'outscale is a number above 0'), (['--quality', '0'], '1 to 100'),
        (['--format', 'png', '--quality', '80'], 'quality is of JPEG and WebP'),
    ):  # fmt: skip
        assert restore(tmp_path / 'in', tmp_path / 'other', '--format', 'jpg', *options) == 2
        assert words in capfd.readouterr().err
    assert not (tmp_path / 'other').exists()
