"""A test of MMagic's and the Restorer predict the same pixels: normalization, channel order and rounding agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS, TRANSFORMS
from mmengine.dataset import Compose
from PIL import Image

from glean_plus import Restorer
from glean_plus.inference.source import literal
from glean_plus.utils.images.arrays import to_array

from small_restorers import generator_config, photo, write_checkpoint, write_checkpoints

OTHER_RANGE = dict(type='DataPreprocessor', mean=[100] * 3, std=[50] * 3)


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('checkpoints')
    return write_checkpoints(folder) | dict(
        other_range=write_checkpoint(folder / 'range.pth', generator_config(True), OTHER_RANGE))  # fmt: skip


def predicted_by_mim_test(checkpoint: Path, image: Path, *transforms: dict[str, Any]) -> np.ndarray:
    """The prediction of a test, as the image hook writes it."""
    content = torch.load(checkpoint, weights_only=True)
    model = MODELS.build(literal(content['meta']['cfg'], 'model', str(checkpoint)))
    model.load_state_dict(content['state_dict'])
    steps = (dict(type='LoadPicture', key='img'), *transforms, dict(type='PackInputs'))
    data = Compose([TRANSFORMS.build(step) for step in steps])(dict(img_path=str(image)))
    (sample,) = model.eval().test_step(dict(inputs=[data['inputs']], data_samples=[data['data_samples']]))
    return to_array(sample.output.pred_img)[..., ::-1]  # MMagic's images of a test are BGR


@pytest.mark.parametrize(('name', 'size', 'transforms'), [
    ('light', (16, 16), ()),
    ('light', (20, 34), ()),
    ('whole', (16, 16), ()),
    ('other_range', (16, 16), ()),
    ('color', (32, 32), (dict(type='LabLightness', key='img'),)),
])  # fmt: skip
def test_mim_test_and_restorer_agree(
    name: str, size: tuple[int, int], transforms: tuple[dict[str, Any], ...], checkpoints: dict[str, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    image = photo('astronaut', *size)
    Image.fromarray(image).save(tmp_path / 'x.png')
    expected = predicted_by_mim_test(checkpoints[name], tmp_path / 'x.png', *transforms)
    given = Restorer(checkpoints[name], device='cpu', speed='exact')(image)
    difference = np.abs(given.astype(int) - expected)
    assert given.shape == expected.shape and given.std() > 5
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01, difference.max()
