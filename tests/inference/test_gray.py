"""Networks of one channel: gray super-resolution, which is told from colorization by the decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS

from glean_plus import Restorer
from glean_plus.analysis.calibration import calibrate
from glean_plus.export import export
from glean_plus.inference import RestoreError
from glean_plus.inference.image import Picture
from glean_plus.weights.torch_files import load_plain

from small_restorers import generator_config, photo, write_checkpoint

pytestmark = pytest.mark.usefixtures('exact_speed')


def gray_config(light: bool, **parts: Any) -> dict[str, Any]:
    config = generator_config(light)
    config['encoder']['in_channels'] = 1
    config['decoder']['out_channels'] = 1
    return config | parts


@pytest.fixture(scope='module', params=[True, False], ids=['LightGLEAN', 'GLEAN'])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('gray') / 'gray.pth', gray_config(request.param))


def reference(checkpoint: Path, light: bool, image: np.ndarray) -> np.ndarray:
    """One channel (16, 16) uint8 through the network itself."""
    state = load_plain(checkpoint)['state_dict']
    network = MODELS.build(gray_config(light)).eval()
    kept = {key[len('generator_ema.'):]: value for key, value in state.items() if key.startswith('generator_ema.')}
    bank = {key[len('generator.'):]: value for key, value in state.items() if key.startswith('generator.bank.')}
    network.load_state_dict({**bank, **kept})
    with torch.no_grad():
        result = network(torch.from_numpy(image).float()[None, None] / 127.5 - 1)
    return (result[0, 0] * 127.5 + 127.5).clamp(0, 255).round().byte().numpy()


def test_each_channel_is_restored_as_a_gray_picture(checkpoint: Path) -> None:
    light = 'LightGLEAN' in str(checkpoint) or 'codes.codes.0' in str([*load_plain(checkpoint)['state_dict']])
    restorer = Restorer(checkpoint, device='cpu')
    colour = photo('astronaut', 16, 16)
    own = [reference(checkpoint, light, colour[..., channel]) for channel in range(3)]
    assert not restorer.network.colorizes and restorer.network.gray
    assert np.abs(restorer(colour[..., 0]).astype(int) - own[0]).max() <= 1
    result = restorer(colour).astype(int)
    assert max(np.abs(result[..., channel] - own[channel]).max() for channel in range(3)) <= 1
    assert np.ptp(result, axis=2).max() > 5
    with_opacity = np.concatenate([colour[..., :1], colour[..., 1:2]], axis=2)
    result = restorer(with_opacity).astype(int)
    assert max(np.abs(result[..., channel] - own[channel]).max() for channel in range(2)) <= 1


def test_in_tiles_colour_and_gray_agree(checkpoint: Path) -> None:
    restorer = Restorer(checkpoint, device='cpu', mode='tiles')
    colour = photo('astronaut', 20, 37)
    result = restorer(colour).astype(int)
    for channel in range(3):
        assert np.abs(restorer(colour[..., channel]).astype(int) - result[..., channel]).max() <= 1


@pytest.mark.parametrize('ending', ['pt2'])
def test_it_is_exported_and_calibrated(ending: str, checkpoint: Path, tmp_path: Path) -> None:
    made = export(checkpoint, out=tmp_path / f'x.{ending}', batch=1)  # which compares the file with the model
    assert made.facts['task'] == 'restoration'
    known = [Picture(photo('astronaut', 16, 16, top=16 * i, left=40)) for i in range(20)]
    noise = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    content = calibrate(Restorer(checkpoint, device='cpu'), known, {'noise': [*map(Picture, noise)]}, 2)
    assert set(content['figures']) >= {'lr_psnr', 'noise_spread'}


def test_other_channels_are_named(tmp_path: Path) -> None:
    config = gray_config(True)
    config['decoder']['out_channels'] = 3
    write_checkpoint(tmp_path / 'x.pth', config)
    with pytest.raises(RestoreError, match=r'x\.pth takes 1 channels and gives 3'):
        Restorer(tmp_path / 'x.pth', device='cpu')
