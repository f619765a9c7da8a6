"""Flat areas: transparent and opaque areas stay exactly so, and an image of one color stays one color."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import maximum_filter, minimum_filter
from test_shipped import SHIPPED

from glean_plus import Restorer
from glean_plus.inference import tiling
from glean_plus.inference.flat import hold_opacity
from glean_plus.inference.image import WHITES, Picture

from small_restorers import write_checkpoints

MODES = [('light', 'direct'), ('light', 'tiles'), ('light', 'fit'), ('whole', 'tiles'), ('whole', 'fit')]


@pytest.fixture(scope='module')
def restorers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Restorer]:
    """Of random weights: what they make of a flat area is anything but flat."""
    paths = write_checkpoints(tmp_path_factory.mktemp('models'))
    return {name: Restorer(path, device='cpu') for name, path in paths.items()}


def icon(size: int) -> np.ndarray:
    """A colored disc with a square in it on a transparent ground, with soft edges; (size, size, 4) uint8."""
    large = Image.new('RGBA', (4 * size, 4 * size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(large)
    draw.ellipse([size, size, 3 * size, 3 * size], fill=(230, 60, 40, 255))
    draw.rectangle([int(1.6 * size), int(1.6 * size), int(2.4 * size), int(2.4 * size)], fill=(30, 60, 220, 255))
    return np.asarray(large.resize((size, size), Image.LANCZOS))


def blobs(random: np.random.Generator, height: int, width: int, channels: int, kind: str) -> np.ndarray:
    """Noise of one or three colors, with an opacity of a few rectangles, some of them half transparent."""
    white = int(WHITES[kind])
    image = random.integers(0, white + 1, (height, width, channels + 1))
    image[..., -1] = random.choice([0, white])
    for _ in range(3):
        top, left = random.integers(0, height), random.integers(0, width)
        bottom, right = top + random.integers(1, 20), left + random.integers(1, 20)
        image[top:bottom, left:right, -1] = random.choice([0, white, white // 2])
    return image.astype(kind)


def blocks_of(opacity: np.ndarray, level: int, reach: int, scale: int) -> np.ndarray:
    """Where the result belongs to pixels whose neighborhood has this opacity throughout; scipy's filters."""
    low, high = (f(opacity.astype(int), 2 * reach + 1, mode='nearest') for f in (minimum_filter, maximum_filter))
    return np.kron((low == level) & (high == level), np.ones((scale, scale))) > 0


def assert_held(given: np.ndarray, result: np.ndarray, scale: int) -> None:
    for level in (0, int(WHITES[given.dtype.name])):
        assert (result[..., -1][blocks_of(given[..., -1], level, 2, scale)] == level).all()


@pytest.mark.parametrize('name', SHIPPED)
def test_an_icon_gets_no_stains_from_any_shipped_model(name: str) -> None:
    restorer = Restorer(name, device='cpu')
    for size in (16, 48, 128) if restorer.network.any_size and restorer.scale == 4 else (16, 48):
        given = icon(size)
        result = restorer(given)
        assert blocks_of(given[..., 3], 0, 2, restorer.scale).any()
        assert_held(given, result, restorer.scale)


@pytest.mark.parametrize('name, mode', MODES)
def test_flat_opacity_is_held_in_every_mode_and_kind(name: str, mode: str, restorers: dict[str, Restorer]) -> None:
    restorer, random = restorers[name], np.random.default_rng(0)
    restorer.mode = mode
    for kind in ('uint8', 'uint16'):
        for channels in (1, 3):
            for _ in range(3):
                height, width = random.integers(1, 40, 2)
                batch = [blobs(random, height, width, channels, kind) for _ in range(3)]
                for given, result in zip(batch, restorer(batch)):
                    assert_held(given, result, restorer.scale)


@pytest.mark.parametrize('options', [dict(consistent=5), dict(fidelity=1.0), dict(max_memory='2M')])
def test_flat_opacity_is_held_by_every_option(options: dict, restorers: dict[str, Restorer]) -> None:
    restorer, random = Restorer(restorers['light'].source.checkpoint, device='cpu', **options), np.random.default_rng(1)
    for height, width in ((70, 50), (9, 100)):
        given = blobs(random, height, width, 3, 'uint8')
        assert_held(given, restorer(given), restorer.scale)


def test_the_rest_of_the_opacity_is_the_model_s_own(restorers: dict[str, Restorer]) -> None:
    """As are the colors, everywhere."""
    restorer = restorers['light']
    restorer.mode = 'direct'
    random = np.random.default_rng(2)
    given = random.integers(0, 256, (40, 40, 4), np.uint8)
    given[10:, :25, 3] = 0
    given[20:, 28:, 3] = 255
    picture = Picture(given)
    strips = tiling.strips(restorer.network, [picture.opaque()], picture.layers, 'direct', restorer.limits)
    own = (torch.cat([strip[0] for strip in strips], dim=1).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    result = restorer(given)
    np.testing.assert_array_equal(result[..., :3], own[..., :3])
    near_flat = sum(blocks_of(given[..., 3], level, 1, 1) for level in (0, 255)) > 0
    free = np.kron(maximum_filter(near_flat, 3) == 0, np.ones((2, 2))) > 0
    assert free.mean() > 0.1
    np.testing.assert_array_equal(result[..., 3][free], own[..., 3][free])
    assert (result[..., 3] != own[..., 3]).mean() > 0.1


@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_flat_opacity_fades_into_the_model_s_own(scale: int) -> None:
    """A model that answers 0.5 throughout, on an edge: the way from 0 to 0.5 takes one pixel of the input."""
    opacity = torch.zeros(1, 1, 12)
    opacity[..., 6:] = 1
    line = hold_opacity(torch.full((1, scale, 12 * scale), 0.5), opacity, scale)[0, 0]
    steps = line.diff()
    assert (line[:4 * scale] == 0).all() and (line[8 * scale:] == 1).all()
    assert (line[5 * scale:7 * scale] - 0.5).abs().min() == 0
    assert steps.min() >= 0 and steps.max() <= 0.5 / scale + 1e-6


@pytest.mark.parametrize('name, mode', [*MODES, ('color', 'direct'), ('color', 'tiles'), ('color', 'fit')])
@pytest.mark.parametrize('kind', ['uint8', 'uint16', 'float32'])
def test_an_image_of_one_color_stays_so(
    name: str, mode: str, kind: str, restorers: dict[str, Restorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside another one, which does not: both go through in one batch."""
    monkeypatch.setattr('glean_plus.inference.restorer.ONE_BY_ONE', frozenset())
    restorer, random = restorers[name], np.random.default_rng(3)
    restorer.mode = mode
    white = WHITES[kind]
    for channels in (1, 2, 3, 4):
        noise = (white * random.random((21, 37, channels))).astype(kind)
        for level in (0, white, 0.3 * white, *(white * random.random((3, channels)))):
            given = np.empty_like(noise)
            given[:] = np.asarray(level).astype(kind)
            result, other = restorer([given, noise])
            # A gray image gets colors by colorization.
            expected = np.repeat(given[:1, :1, :1], 3, axis=2) if name == 'color' and channels < 3 else given[:1, :1]
            np.testing.assert_array_equal(result[..., :expected.shape[2]] - expected, 0)
            assert len(np.unique(other)) > 20


def test_a_constant_image_of_every_shipped_model() -> None:
    for name in SHIPPED:
        restorer = Restorer(name, device='cpu')
        for level in (0, 255, (90, 160, 31)):
            given = np.empty((11, 17, 3), np.uint8)
            given[:] = level
            result = restorer(given)
            assert (result == np.asarray(level)).all() and result.shape == (restorer.scale * 11, restorer.scale * 17, 3)


def test_colors_of_a_glyph_stay_one_color(restorers: dict[str, Restorer]) -> None:
    """Black on nothing, whose opacity is all that it shows: what is hidden may have any color in the file."""
    restorer = restorers['light']
    restorer.mode = 'direct'
    given = icon(32)
    given = np.where(given[..., 3:] > 0, 0, 7).repeat(4, axis=2).astype(np.uint8)
    given[..., 3] = icon(32)[..., 3]
    assert (restorer(given)[..., :3] == 0).all()
    assert len(np.unique(restorer(given)[..., 3])) > 20


def test_texture_of_an_opaque_image_is_left_to_the_model(restorers: dict[str, Restorer]) -> None:
    """One pixel that differs, and the whole image is the network's."""
    restorer = restorers['light']
    restorer.mode = 'direct'
    given = np.full((16, 16, 3), 255, np.uint8)
    given[3, 4] = 254
    own = restorer.network(torch.from_numpy(given).permute(2, 0, 1)[None].float() / 255)[0].clamp(0, 1)
    np.testing.assert_array_equal(restorer(given), (own * 255).round().byte().permute(1, 2, 0).numpy())


def test_result_file_of_a_white_page(tmp_path: Path, restorers: dict[str, Restorer]) -> None:
    Image.new('L', (40, 56), 255).save(tmp_path / 'page.png')
    restorers['whole'].infer(str(tmp_path / 'page.png'), tmp_path / 'large.png')
    assert Image.open(tmp_path / 'large.png').getextrema() == (255, 255)
