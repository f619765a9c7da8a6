"""The shipped models of photographs do what their cards say, on the photographs that two packages bring along."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import skimage
import sklearn.datasets

from glean_plus.prepare.crops import CropSettings, prepare_crops
from glean_plus.prepare.photos import read_list

from conftest import CONFIGS
from shipped import metrics_as_the_card

SHIPPED = sorted(path.stem for path in (CONFIGS / 'weights').glob('lightglean_photo_*.safetensors'))
FOLDERS = dict(
    scikit_image=Path(skimage.__file__).parent / 'data',
    scikit_learn=Path(sklearn.datasets.__file__).parent / 'images')  # fmt: skip


@pytest.fixture(scope='module')
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seven photographs of these packages, prepared as all test photographs are."""
    folder = tmp_path_factory.mktemp('photos')
    rows = [row for row in read_list() if row['package'] in FOLDERS]
    with open(folder / 'sources.csv', 'w') as sources:
        sources.write('file,split\n')
        for row in rows:
            path = folder / row['package'] / Path(row['file']).name
            path.parent.mkdir(exist_ok=True)
            shutil.copy(FOLDERS[row['package']] / path.name, path)
            sources.write(f'{row["package"]}/{path.name},test\n')
    out = tmp_path_factory.mktemp('prepared')
    report = prepare_crops(folder, out, CropSettings())
    assert report.crops['test'] == 7 and not report.problems
    return out


@pytest.mark.parametrize('name', SHIPPED)
def test_metrics_are_the_card_s_and_beat_bicubic(name: str, photographs: Path, tmp_path: Path) -> None:
    for metrics in metrics_as_the_card(name, photographs / 'test', tmp_path):
        assert metrics['PSNR'] > metrics['bicubic/PSNR']
        assert metrics['ST-LPIPS-vgg'] < metrics['bicubic/ST-LPIPS-vgg']


@pytest.mark.parametrize('name', SHIPPED)
def test_files_are_small_enough_to_ship(name: str) -> None:
    assert (CONFIGS / 'weights' / f'{name}.safetensors').stat().st_size < 16_000_000
