"""The images that a test writes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmagic.structures import DataSample
from mmengine.logging import MMLogger
from PIL import Image

from glean_plus.training import PictureHook


def sample(name: str, bicubic: bool = True, truth: bool = True, order: int = 1) -> DataSample:
    colour = torch.tensor([200.4, 100.6, 0.0][::order]).view(3, 1, 1)
    output = DataSample(pred_img=colour.expand(3, 8, 8).clone())
    if bicubic:
        output.set_tensor_data({'bicubic_img': torch.full((3, 8, 8), 50.0)})
    result = DataSample(input=torch.full((3, 4, 4), 10.0), output=output)
    result.set_metainfo(dict(img_path=f'/somewhere/{name}.jpg'))
    if truth:
        result.set_tensor_data({'gt_img': torch.full((3, 8, 8), 255.0)})
    return result


def run(tmp_path: Path, samples: list[DataSample], **options: object) -> None:
    runner = SimpleNamespace(work_dir=str(tmp_path), logger=MMLogger.get_instance('pictures'))
    hook = PictureHook(**options)
    tmp_path.mkdir(exist_ok=True)
    hook.before_test_epoch(runner)
    for index, each in enumerate(samples):
        hook.after_test_iter(runner, index, None, [each])
    hook.after_test_epoch(runner)


def test_predictions_and_chosen_rows(tmp_path: Path) -> None:
    run(tmp_path, [sample('a'), sample('b'), sample('c')], compare=[0, 2], channel_order='rgb')
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) == ['a.png', 'b.png', 'c.png']
    assert np.asarray(Image.open(tmp_path / 'pictures' / 'a.png'))[0, 0].tolist() == [200, 101, 0]
    rows = np.asarray(Image.open(tmp_path / 'comparison.png'))
    assert rows.shape == (16, 32, 3)
    assert rows[0, ::8, 0].tolist() == [10, 50, 200, 255]


def test_pictures_are_counted_on_python_3_9(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Counter, 'total', raising=False)
    run(tmp_path, [sample('a'), sample('b')], compare=[1])
    assert np.asarray(Image.open(tmp_path / 'comparison.png')).shape == (8, 32, 3)


def test_without_truth_and_without_bicubic(tmp_path: Path) -> None:
    run(tmp_path, [sample('a', bicubic=False, truth=False)], compare=[0])
    assert np.asarray(Image.open(tmp_path / 'comparison.png')).shape == (8, 16, 3)


def test_names_keep_their_folders_and_none_is_overwritten(tmp_path: Path) -> None:
    samples = [sample('a'), sample('a'), sample('a'), sample('a')]
    for each, key in zip(samples, ('x/a', 'y/a', 'x/a', '../a')):
        each.set_metainfo(dict(key=key, sample_idx=0))
    run(tmp_path / 'work', samples, compare=[0])
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.png'))
    assert written == ['work/comparison.png', *(f'work/pictures/{n}.png' for n in ('a', 'x/a', 'x/a_2', 'y/a'))]
    assert np.asarray(Image.open(tmp_path / 'work' / 'comparison.png')).shape == (4 * 8, 4 * 8, 3)


def test_options_do_what_they_say(tmp_path: Path) -> None:
    run(tmp_path, [sample('a', order=-1)], save_predictions=False, compare=[0])
    assert [path.name for path in tmp_path.iterdir()] == ['comparison.png']
    assert np.asarray(Image.open(tmp_path / 'comparison.png'))[0, 16].tolist() == [200, 101, 0]
    with pytest.raises(ValueError, match='hsv'):
        PictureHook(channel_order='hsv')


def test_columns_are_the_references_that_are_asked_for(tmp_path: Path) -> None:
    each = sample('a')
    each.output.set_tensor_data({'median_img': torch.full((3, 8, 8), 70.0)})
    run(tmp_path, [each], compare=[0], channel_order='rgb', references=['median', 'bilateral'])
    assert np.asarray(Image.open(tmp_path / 'comparison.png'))[0, ::8, 0].tolist() == [10, 70, 200, 255]
