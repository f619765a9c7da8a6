"""Images of any size and kind through tiny models and the shipped one, against the models called by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from PIL import Image, ImageCms
from test_folded import needs_compiler

from glean_plus import Restorer
from glean_plus.inference import RestoreError, available, axis, tiling
from glean_plus.inference.arrays import to_pil
from glean_plus.inference.channels import Layers
from glean_plus.inference.consistency import Consistency, Pyramid
from glean_plus.inference.image import Meta, Picture
from glean_plus.inference.memory import LivePeak, parse_bytes
from glean_plus.inference.restorer import Restoration
from glean_plus.inference.source import literal
from glean_plus.metrics import LRConsistency
from glean_plus.utils.color import rgb_to_lab
from glean_plus.utils.imresize import matlab_resize

from conftest import CONFIGS, relative_error
from small_restorers import generator_config, photo, write_checkpoint, write_checkpoints

pytestmark = pytest.mark.usefixtures('exact_speed')

SHIPPED = 'lightglean_twemoji_4x'


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_checkpoints(tmp_path_factory.mktemp('restorers'))


@pytest.fixture(scope='module')
def restorers(checkpoints: dict[str, Path]) -> dict[str, Restorer]:
    """Exact, as results are compared byte by byte with the network's."""
    return {name: Restorer(path, device='cpu', speed='exact', batch=64) for name, path in checkpoints.items()}


@pytest.fixture(scope='module')
def shipped() -> Restorer:
    return Restorer(SHIPPED, device='cpu', speed='exact')


def to_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_image(result: torch.Tensor) -> np.ndarray:
    return ((result[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def kinds(image: np.ndarray) -> dict[str, np.ndarray]:
    """An image as 8 bit, 16 bit, gray, with alpha, and as floats."""
    ramp = np.linspace(0, 255, image.shape[0] * image.shape[1]).reshape(*image.shape[:2], 1).astype(np.uint8)
    return {
        '8 bit': image, '16 bit': image.astype(np.uint16) * 257, 'gray': image[..., 0],
        'alpha': np.concatenate([image, ramp], axis=2), 'float': (image / 255).astype(np.float32),
    }  # fmt: skip


# ---- sizes and kinds

SIZES = [(1, 1), (1, 500), (500, 333), (1023, 771)]
MODES = [('light', 'direct'), ('light', 'tiles'), ('light', 'fit'), ('whole', 'tiles'), ('whole', 'fit')]


def round_trip(restorer: Restorer, size: tuple[int, int], only: str | None = None) -> None:
    """Images of each kind, or of one, become ``scale`` times as large, and stay of their kind."""
    rows, columns = np.mgrid[:size[0], :size[1]]
    image = np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8)
    for kind, given in kinds(image).items():
        if only in (None, kind):
            result = restorer(given)
            assert result.shape == (2 * size[0], 2 * size[1], *given.shape[2:]), kind
            assert result.dtype == given.dtype


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name, mode', MODES)
def test_round_trips(size: tuple[int, int], name: str, mode: str, restorers: dict[str, Restorer]) -> None:
    """Every kind is tried on small images, one of them on each large one: they differ in their channels alone."""
    large = size[0] > 200
    if large and mode == 'tiles' and (name == 'light' or size[0] > 1000):
        pytest.skip('slow: the whole GLEAN shows it at 500x333')
    restorers[name].mode = mode
    round_trip(restorers[name], size, '8 bit' if large else None)


@pytest.mark.soak
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name, mode', MODES)
def test_every_round_trip(size: tuple[int, int], name: str, mode: str, restorers: dict[str, Restorer]) -> None:
    restorers[name].mode = mode
    round_trip(restorers[name], size)


@pytest.mark.parametrize('size', [(1, 1), (1, 500), (70, 93)])
@pytest.mark.parametrize('mode', ['fit', 'tiles', 'direct'])
def test_colorization_keeps_size_and_lightness(
    size: tuple[int, int], mode: str, restorers: dict[str, Restorer]
) -> None:
    restorer = restorers['color']
    restorer.mode = mode
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for kind, given in kinds(image).items():
        result = restorer(given)
        assert result.shape[:2] == size and result.dtype == given.dtype
        assert result.shape[2] == (4 if kind == 'alpha' else 3), 'a gray image gets colours'
        if kind == 'alpha':
            np.testing.assert_array_equal(result[..., 3], given[..., 3])
        white = {'uint8': 255, 'uint16': 65535}.get(given.dtype.name, 1)
        gray = np.repeat(given[..., None], 3, axis=2) if given.ndim == 2 else given[..., :3]
        before, after = (
            rgb_to_lab(torch.from_numpy(x.astype(np.float32) / white).permute(2, 0, 1))[0]
            for x in (gray, result[..., :3])
        )
        assert float((before - after).abs().max()) < 0.3


def test_what_a_caller_gives_is_what_comes_back(restorers: dict[str, Restorer], tmp_path: Path) -> None:
    restorer = restorers['light']
    restorer.mode = 'direct'
    image = photo('astronaut', 9, 12)
    expected = restorer(image)
    path = tmp_path / 'in.png'
    Image.fromarray(image).save(path)
    assert isinstance(restorer(path), Image.Image)
    for given in (path, str(path), Image.fromarray(image)):
        np.testing.assert_array_equal(np.asarray(restorer(given)), expected)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    torch.testing.assert_close(restorer(tensor), torch.from_numpy(expected).permute(2, 0, 1))
    floats = restorer(tensor[None].double() / 255)
    assert floats.dtype == torch.float64 and floats.shape == (1, 3, 18, 24)
    assert (255 * floats[0] - torch.from_numpy(expected).permute(2, 0, 1)).abs().max() < 0.501
    gray = Image.fromarray(image).convert('L')
    assert restorer(gray).mode == 'L' and restorer(gray.convert('LA')).mode == 'LA'
    several = restorer([image, path, image[:5], image])
    assert [np.asarray(each).shape for each in several] == [(18, 24, 3), (18, 24, 3), (10, 24, 3), (18, 24, 3)]
    np.testing.assert_allclose(several[3].astype(int), expected.astype(int), atol=1)


def test_infer_writes_what_it_gives(restorers: dict[str, Restorer], tmp_path: Path) -> None:
    """Of every kind, with what the file said."""
    restorer, image, out = restorers['light'], photo('astronaut', 9, 12), tmp_path / 'out.png'
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    Image.fromarray(image).save(tmp_path / 'in.png', icc_profile=profile)
    expected = restorer(image).astype(int)
    for given in (str(tmp_path / 'in.png'), image, image / np.float32(255), torch.from_numpy(image).permute(2, 0, 1)):
        result, nothing = restorer.infer(img=given, result_out_dir=out)
        assert type(result) is type(restorer(given)) and nothing is None
        np.testing.assert_allclose(np.asarray(Image.open(out), int), expected, atol=1)
        assert (Image.open(out).info.get('icc_profile') == profile) == isinstance(given, str)
        out.unlink()
    assert restorer.infer(image)[0].shape == (18, 24, 3) and not out.exists()
    for several in ([image, image], torch.zeros(2, 3, 4, 4)):
        with pytest.raises(RestoreError, match='One image is written'):
            restorer.infer(several, out)


def test_profile_of_grays_is_not_that_of_colours() -> None:
    gray, meta = np.zeros((4, 4, 1), np.uint8), Meta(icc=b'of grays', xmp=b'kept')
    assert to_pil(gray, Picture(gray, meta)).info['icc_profile'] == b'of grays'
    coloured = to_pil(np.zeros((4, 4, 3), np.uint8), Picture(gray, meta)).info
    assert 'icc_profile' not in coloured and coloured['xmp'] == b'kept'


@pytest.mark.parametrize('given, words', [
    (np.zeros((4, 4, 5), np.uint8), r'\(4, 4, 5\) of uint8'), (np.zeros((4, 4), np.int32), 'int32'),
    (np.zeros((0, 4, 3), np.uint8), 'no pixels'), (np.full((4, 4), np.nan), 'nan to nan'), ({}, 'not a dict'),
    (np.full((4, 4), 255.0), '0 to 1, but these are 255'),
    (torch.zeros(3), r'\(3,\)'), ('nowhere.png', 'nowhere.png: it cannot be read'),
])  # fmt: skip
def test_what_is_no_picture_is_refused(given: Any, words: str, restorers: dict[str, Restorer]) -> None:
    with pytest.raises(RestoreError, match=words):
        restorers['light'](given)


# ---- against the model, called by hand

def test_nominal_size_is_the_model_s_own_result(shipped: Restorer) -> None:
    """With the colours in their order: a red image, a photograph."""
    shipped.mode = 'direct'
    image = photo('astronaut', 16, 16, 100, 200)
    config = Config.fromfile(CONFIGS / f'{SHIPPED}.py')
    model = MODELS.build(config.model.generator)
    from glean_plus.weights import read_state_dict

    model.load_state_dict(read_state_dict(CONFIGS / 'weights' / f'{SHIPPED}.safetensors', 'generator'))
    with torch.no_grad():
        expected = to_image(model.eval()(to_input(image)))
    for mode in tiling.MODES:
        shipped.mode = mode
        np.testing.assert_allclose(shipped(image).astype(int), expected.astype(int), atol=1)
    shipped.mode = 'direct'
    red = shipped(np.full((16, 16, 3), (200, 30, 30), np.uint8)).mean(axis=(0, 1))
    assert red[0] > red[1] + 80 and red[0] > red[2] + 80


def test_direct_pass_is_the_model_on_continued_noise(restorers: dict[str, Restorer]) -> None:
    restorer, image = restorers['light'], photo('chelsea', 22, 37)
    restorer.mode = 'direct'
    padded = np.pad(image, [(0, 0), (0, 1), (0, 0)], mode='reflect')
    model = restorer.network.network
    inputs = to_input(padded)
    features = model.encoder(inputs)
    noises = {
        res: [torch.from_numpy(np.tile(getattr(model.bank, f'injected_noise_{layer}').numpy(), (1, 1, 2, 3)))
              [..., :22 * res // 16, :38 * res // 16] for layer in model.bank.layers_of(res)]
        for res in model.bank.resolutions
    }  # fmt: skip
    codes = model.codes(features[8])
    with torch.no_grad():
        expected = model.decode(inputs, features, model.retrieve(features, codes, noises=noises))
    np.testing.assert_allclose(restorer(image).astype(int), to_image(expected)[:, :74].astype(int), atol=1)


def test_part_of_a_direct_pass_is_what_the_whole_has_there(restorers: dict[str, Restorer]) -> None:
    """The noise of a part is that of its place; far from its ends nothing else differs."""
    model, image = restorers['light'].network.network, photo('chelsea', 150, 130)
    with torch.no_grad():
        whole = model.forward_any(to_input(image))
        part = model.forward_any(to_input(image[22:128, 10:118]), origin=(22, 10))
        elsewhere = model.forward_any(to_input(image[22:128, 10:118]), origin=(0, 0))
    middle = (..., slice(100, 110), slice(100, 110))
    assert relative_error(part[middle], whole[..., 44:, 20:][middle]) < 1e-4
    assert relative_error(elsewhere[middle], whole[..., 44:, 20:][middle]) > 1e-2


def test_sizes_that_do_not_fit_are_named(restorers: dict[str, Restorer]) -> None:
    light, whole = (restorers[name].network.network for name in ('light', 'whole'))
    with pytest.raises(ValueError, match=r'multiples of 2, but are \(9, 8\)'):
        light.forward_any(torch.zeros(1, 3, 9, 8))
    with pytest.raises(ValueError, match='bound to inputs of 16x16'):
        whole.forward_any(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match='The input is 32x32'):
        light(torch.zeros(1, 3, 32, 32))


def test_tiles_of_a_whole_glean_share_the_picture_s_codes(restorers: dict[str, Restorer]) -> None:
    """The middle of a tile, where no other counts, against the model with the codes of the whole image."""
    restorer, image = restorers['whole'], photo('coffee', 16, 40)
    restorer.mode = 'tiles'
    model = restorer.network.network
    small = matlab_resize(to_input(image), (16, 16)).clamp(-1, 1)
    with torch.no_grad():
        _, codes = model.encode(small)
        expected = to_image(model(to_input(image[:, :16]), codes=codes))
        alone = to_image(model(to_input(image[:, :16])))
    result = restorer(image)[:, :16].astype(int)  # the second tile begins at 8, and counts a pixel later
    np.testing.assert_allclose(result, expected[:, :16].astype(int), atol=1)
    assert np.abs(result - alone[:, :16].astype(int)).max() > 5


@pytest.mark.parametrize('speed', ['folded', pytest.param('compiled', marks=needs_compiler)])
@pytest.mark.parametrize('mode', ['tiles', 'direct'])
def test_folded_and_batched_and_in_parts(mode: str, speed: str, checkpoints: dict[str, Path]) -> None:
    """None of them changes the image but for rounding, or, in parts, near the seams."""
    image = photo('chelsea', *((72, 90) if mode == 'direct' else (40, 50)))
    expected = Restorer(checkpoints['light'], mode=mode, device='cpu', speed='exact')(image).astype(int)
    folded = Restorer(checkpoints['light'], mode=mode, device='cpu', speed=speed)
    difference = np.abs(folded(image).astype(int) - expected)
    assert difference.max() <= 1
    if mode == 'tiles':
        whole = [Restorer(checkpoints['whole'], device='cpu', speed=each) for each in ('exact', speed)]
        np.testing.assert_allclose(*(each(image).astype(int) for each in whole), atol=1)  # codes are shared alike
    batched = Restorer(checkpoints['light'], mode=mode, device='cpu', batch=3)
    for result in batched([image, image, image]):
        np.testing.assert_allclose(result.astype(int), expected, atol=1)
    small = Restorer(checkpoints['light'], mode=mode, device='cpu', max_memory='1M')
    heights = [parts[0].shape[0] for parts in Restoration(small, [Picture(image)])]
    assert len(heights) > 1 and sum(heights) == 2 * len(image)
    assert np.abs(small(image).astype(int) - expected).mean() < 0.5


# ---- what it is made of

@pytest.mark.parametrize('size, tile, overlap, multiple', [(17, 16, 8, 1), (100, 16, 8, 1), (333, 64, 20, 4)])
def test_windows_sum_to_one_and_cover(size: int, tile: int, overlap: int, multiple: int) -> None:
    found = axis.tiled(size, tile, overlap, 1, 4, multiple)
    total = np.zeros(4 * found.reach)
    for start, window in zip(found.starts, found.windows):
        assert start % multiple == 0
        total[4 * start:4 * (start + tile)] += window.numpy()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert size <= found.reach < size + multiple
    assert float(found.windows[1][0]) == 0, 'the end of a tile does not count'
    assert all(first + tile - second >= overlap - multiple for first, second in zip(found.starts, found.starts[1:]))


def test_mirrored_is_numpy_s() -> None:
    for size in (1, 2, 5):
        picture = np.arange(size)
        expected = np.pad(picture, (3, 9), mode='reflect') if size > 1 else np.zeros(13, int)
        np.testing.assert_array_equal(picture[axis.mirrored(-3, size + 12, size)], expected)


def gradient_at(result: np.ndarray, borders: set[int]) -> float:
    """Mean step across lines at the borders, over that of the other lines in the same place of an input's pixel."""
    step = np.abs(np.diff(result.astype(float), axis=1)).mean(axis=(0, 2))
    lines = np.arange(1, result.shape[1])
    at = np.isin(lines, sorted(borders))
    inside = [step[(lines % 4 == phase) & ~at].mean() for phase in range(4)]
    return float((step[at] / np.array(inside)[lines[at] % 4]).mean())


@pytest.mark.parametrize('name, top, left', [('astronaut', 300, 340), ('chelsea', 120, 180)])
def test_no_seams(name: str, top: int, left: int, shipped: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a smooth and a textured photograph: steps at the tiles' borders are those of anywhere else."""
    image = photo(name, 32, 160, top, left)
    shipped.mode = 'tiles'
    ratios = []
    for overlap, margin in ((tiling.OVERLAP, tiling.MARGIN), (0, 0)):
        monkeypatch.setattr(tiling, 'OVERLAP', overlap)
        monkeypatch.setattr(tiling, 'MARGIN', margin)
        rows, columns = tiling.axes(shipped.network, 'tiles', 32, 160, shipped.limits)
        inset = round(16 * margin)
        borders = {4 * (start + inset) for start in columns.starts[1:]}
        borders |= {4 * (start + 16 - inset) for start in columns.starts[:-1]}
        ratios.append(gradient_at(shipped(image), borders))
    blended, cut = ratios
    assert blended < 1.02 and cut > 1.5


def test_projection_is_matlab_s_and_meets_the_input(shipped: Restorer) -> None:
    shipped.mode, image = 'direct', photo('coffee', 41, 53)
    lq = Layers(False, False, 255).tensor(image)
    for scale in (2, 4, 8):
        pyramid = Pyramid(scale)
        for size in ((1, 3), (41, 53)):
            part = lq[:, :size[0], :size[1]]
            larger = matlab_resize(part, (scale * size[0], scale * size[1]))
            torch.testing.assert_close(pyramid.up(part), larger, atol=1e-5, rtol=0)
            noisy = larger + 0.1 * torch.randn_like(larger)
            torch.testing.assert_close(pyramid.down(noisy), matlab_resize(noisy, size), atol=1e-5, rtol=0)

    x = expected = torch.rand(3, 164, 212)
    for _ in range(3):
        expected = expected + matlab_resize(lq - matlab_resize(expected, (41, 53)), (164, 212))
    check = Consistency(lambda begin, end: lq[:, begin:end], 41, 4, 3, 3, 1)
    found = torch.cat([*check.through(iter(x.split(20, dim=1)))], dim=1)
    torch.testing.assert_close(found, expected.clamp(0, 1), atol=1e-5, rtol=0)

    scores = []
    for steps in (0, 5):
        shipped.consistent = steps
        made = Restoration(shipped, [Picture(image)])
        result = np.concatenate([parts[0] for parts in made])
        metric = LRConsistency().process_image(image.transpose(2, 0, 1), result.transpose(2, 0, 1), None)
        assert made.scores[0] == pytest.approx(metric, abs=1e-3)
        scores.append(metric)
    shipped.consistent = 0
    assert scores[1] > scores[0] + 10 and scores[1] > 40


def test_invisible_colours_do_not_bleed(shipped: Restorer) -> None:
    """A red disc on nothing, which files hold as black: its rim is red."""
    shipped.mode = 'direct'
    rows, columns = np.mgrid[:16, :16] - 7.5
    inside = rows**2 + columns**2 < 30
    image = np.zeros((16, 16, 4), np.uint8)
    image[inside] = (220, 40, 40, 255)
    filled = image.copy()
    filled[..., :3] = (220, 40, 40)
    np.testing.assert_array_equal(Picture(image).opaque()[..., :3], filled[..., :3])
    np.testing.assert_array_equal(shipped(image), shipped(filled))
    assert shipped(image)[..., 3].min() < 20 and shipped(image)[28:36, 28:36, 3].min() > 230


def test_memory_is_that_of_what_lives() -> None:
    with torch.device('meta'):
        x = torch.empty(1, 8, 16, 16)
        with torch.no_grad(), LivePeak() as live:
            y = x * 2
            z = y.view(-1) + 1
            del y
            z = z * 3
    assert live.peak == 2 * x.numel() * 4
    assert parse_bytes('1.5G') == 1.5 * 2**30 and parse_bytes(2**20) == 2**20
    for wrong in ('many', '10', '-1G'):
        with pytest.raises(RestoreError, match='Memory is a number'):
            parse_bytes(wrong)


def test_parts_of_a_huge_picture_fit_into_the_memory(restorers: dict[str, Restorer]) -> None:
    """8,000 x 6,000, without restoring it: what a part needs, and the rows that are held beside it."""
    network, limits = restorers['light'].network, tiling.Limits(8, 500 * 2**20)
    rows, columns = tiling.axes(network, 'direct', 6000, 8000, limits)
    assert rows.reach == 6000 and columns.reach == 8000
    activations = rows.tile * columns.tile * network.bytes_per_pixel
    held = 3 * 4 * (2 * rows.tile) * (2 * columns.reach)
    assert 0.4 * limits.memory < activations <= limits.memory / 2 and held <= limits.memory / 8
    with pytest.raises(RestoreError, match='needs .* MB for one tile'):
        tiling.axes(network, 'tiles', 6000, 8000, tiling.Limits(8, 1000))


def test_rows_come_before_the_picture_is_done(restorers: dict[str, Restorer]) -> None:
    """A huge image: what is held is a row of tiles, not the image."""
    restorer = restorers['light']
    restorer.mode = 'tiles'
    calls = []
    network, layers = restorer.network, Layers(False, False, 255)
    image = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (100_000, 40, 3))  # would be 3 GB as a result in floats
    strips = tiling.strips(network, [image], layers, 'tiles', tiling.Limits(64, 2**30))
    for _ in range(3):
        calls.append(next(strips).shape)
    assert all(shape[2] <= 32 and shape[3] == 80 for shape in calls)


# ---- models

def test_names_configs_and_checkpoints(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    image = photo('astronaut', 16, 16)
    weights = CONFIGS / 'weights' / f'{SHIPPED}.safetensors'
    expected = Restorer(SHIPPED, device='cpu')(image)
    for arguments in ((weights,), (SHIPPED, weights), (f'{SHIPPED}.py', SHIPPED), (CONFIGS / f'{SHIPPED}.py', weights),
                      (Config.fromfile(CONFIGS / f'{SHIPPED}.py').to_dict(), weights)):  # fmt: skip
        np.testing.assert_array_equal(Restorer(*arguments, device='cpu')(image), expected)
    assert {SHIPPED, 'lightglean_twemoji_color', 'glean_cat_16x'} <= {*available()}
    for arguments, words in (
        (('lightglean_twemoji_5x',), 'lightglean_twemoji_4x'), ((f'{SHIPPED}.py',), 'give its checkpoint'),
        (('nothing_like_it', weights), 'There is no config'),
        ((CONFIGS / 'stylegan2_twemoji_64px.py', weights), 'in_size'),
        ((CONFIGS / 'weights' / 'stylegan2_twemoji_64px.safetensors',), 'which config'),
    ):  # fmt: skip
        with pytest.raises(RestoreError, match=words):
            Restorer(*arguments, device='cpu')


def test_other_generators(tmp_path: Path) -> None:
    """A baseline, which has no bank, and a model that is given the class: both on a size of their own."""
    image = photo('chelsea', 13, 21)
    esrgan = dict(type='ESRGANPlus', in_size=8, out_size=16, mid_channels=4, num_blocks=1, growth_channels=4)
    restorer = Restorer(write_checkpoint(tmp_path / 'esrgan.pth', esrgan), device='cpu')
    with torch.no_grad():
        expected = to_image(restorer.network.network(to_input(image)))
    assert restorer.mode == 'direct'
    np.testing.assert_allclose(restorer(image).astype(int), expected.astype(int), atol=1)

    bank = dict(
        type='BigGANBank', out_size=32, num_classes=3, shared_dim=4, noise_size=20, attention=(), rgb=False,
        channels={4: 8, 8: 8, 16: 8, 32: 4},
    )  # fmt: skip
    classes = write_checkpoint(tmp_path / 'classes.pth', generator_config(False, bank=bank, given_class=True))
    first, second = (Restorer(classes, device='cpu', label=label)(image) for label in (0, 2))
    assert first.shape == (26, 42, 3) and (first != second).any()
    for label in (None, 3):
        with pytest.raises(RestoreError, match='0 to 2'):
            Restorer(classes, device='cpu', label=label)


def test_average_of_a_checkpoint_is_taken(checkpoints: dict[str, Path]) -> None:
    state = torch.load(checkpoints['light'], weights_only=True)['state_dict']
    found = Restorer(checkpoints['light'], device='cpu').network.network.state_dict()
    differing = [key for key in found if not torch.equal(found[key], state[f'generator.{key}'])]
    assert differing and all(torch.equal(found[key], state[f'generator_ema.{key}']) for key in differing)


def test_config_in_a_checkpoint_is_read_and_not_run() -> None:
    text = "import os\nmodel = dict(a=[1, -2.5], b={4: (None, True)}, c=dict(type='X'))\n"
    assert literal(text, 'model', 'x.pth') == dict(a=[1, -2.5], b={4: (None, True)}, c=dict(type='X'))
    for evil in ("model = dict(a=open('/tmp/x', 'w'))", "model = __import__('os').environ", 'model = [x for x in y]'):
        with pytest.raises(RestoreError, match='would have to be run'):
            literal(evil, 'model', 'x.pth')


def test_options_that_do_not_fit_are_refused(checkpoints: dict[str, Path]) -> None:
    for name, options, words in (
        ('whole', dict(mode='direct'), 'bound to its input size'), ('light', dict(mode='best'), 'The mode is one of'),
        ('light', dict(precision='fp8'), 'precision must be one of'), ('light', dict(precision='fp16'), 'bf16'),
        ('light', dict(device='cuda:99'), 'cannot be used'), ('light', dict(label=3), 'takes no label'),
        ('light', dict(batch=0), 'batch is 1 or more'), ('color', dict(consistent=5), 'keeps the lightness'),
        ('light', dict(speed='warp'), 'speed must be one of'),
        ('light', dict(speed='compiled', precision='bf16', device='meta'), 'kernel is for CPUs'),
        ('light', dict(speed='openvino', device='meta'), "is for CPUs, but the model is on meta: take speed='folded'"),
    ):  # fmt: skip
        with pytest.raises(RestoreError, match=words):
            Restorer(checkpoints[name], **{'device': 'cpu', **options})


def test_folded_biggan_shares_the_picture_s_codes() -> None:
    image = photo('coffee', 16, 24)
    exact, folded = (
        Restorer('glean_twemoji_multiclass_4x', device='cpu', speed=speed)(image).astype(int)
        for speed in ('exact', 'folded')
    )
    assert exact.shape == (64, 96, 3)
    np.testing.assert_allclose(folded, exact, atol=1)


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_a_batch_is_what_the_memory_holds_of_results(
    channels: int, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the memory for results, four floats for each of their pixels, however many channels they have."""
    restorer = Restorer(checkpoints['light'], device='cpu', batch=1000, max_memory='16M')
    picture = Picture(np.zeros((64, 32, channels), np.uint8))
    assert restorer.at_once(picture) == 1 and restorer.batch_of(picture) == 32
    monkeypatch.setattr('glean_plus.inference.restorer.ONE_BY_ONE', frozenset())  # as on a GPU
    assert restorer.at_once(picture) == 2**24 // 4 // (16 * 2**2 * 64 * 32) == 32
    assert Restorer(checkpoints['light'], device='cpu', batch=8, max_memory='16M').at_once(picture) == 8


@pytest.mark.parametrize('name', ['light', 'whole'])
def test_a_network_with_other_noise_shares_every_weight(name: str, restorers: dict[str, Restorer]) -> None:
    network = restorers[name].network
    other = network.redrawn(3)
    own, others = (dict(each.network.named_parameters()) for each in (network, other))
    assert any(key.startswith('bank.') for key in own) and own.keys() == others.keys()
    assert all(own[key].data_ptr() == others[key].data_ptr() for key in own)
    noise = [key for key, _ in network.network.named_buffers() if 'injected_noise' in key]
    assert noise and all(not torch.equal(*(each.network.get_buffer(key) for each in (network, other))) for key in noise)


def test_a_frozen_bank_is_in_the_layout_of_the_network(tmp_path: Path) -> None:
    bank = dict(type='StyleGAN1Bank', out_size=32, style_channels=6, num_mlps=2, channels={4: 8, 8: 8, 16: 8, 32: 4},
                mapping=False, rgb=False)  # fmt: skip
    path = write_checkpoint(tmp_path / 'x.pth', generator_config(False, bank=bank))
    network = Restorer(path, device='cpu').network.network
    weights = {key: each for key, each in network.named_parameters() if each.ndim == 4}
    assert any(key.startswith('bank.') for key in weights)
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in weights.values())


def test_tiles_with_shared_codes_compute_none_of_their_own(
    restorers: dict[str, Restorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = restorers['whole'].network.network
    lq, counted = torch.rand(2, 3, 16, 16), []
    forward = network.codes.forward
    monkeypatch.setattr(network.codes, 'forward', lambda feature: counted.append(1) or forward(feature))
    with torch.no_grad():
        own = network(lq)
        _, codes = network.encode(lq)
        assert len(counted) == 2
        assert torch.equal(network(lq, codes=codes), own) and len(counted) == 2
    restorers['whole'](photo('astronaut', 20, 37))  # several tiles
    assert len(counted) == 3
    with pytest.raises(ValueError, match='17x17'):
        network(torch.rand(2, 3, 17, 17), codes=codes)
