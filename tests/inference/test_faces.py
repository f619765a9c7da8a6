"""Faces in a photo: found by a real detector, aligned, restored in one batch, pasted back without seams."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.transform import SimilarityTransform, warp
from torch import Tensor, nn

from glean_plus import Restorer
from glean_plus.cli import main as command
from glean_plus.cli.main import main
from glean_plus.inference import RestoreError
from glean_plus.inference.faces import MTCNN, Alignment, Face, FaceRestorer, RetinaFace, alignment, detectors
from glean_plus.inference.faces.align import TEMPLATE, crop
from glean_plus.inference.faces.paste import Patch, extent, paste
from glean_plus.inference.image import Picture
from glean_plus.utils.imresize import matlab_bicubic, matlab_resize
from glean_plus.weights import WeightsError
from glean_plus.weights.fetch import sha256

from image_files import SRGB
from small_restorers import generator_config, photo, write_checkpoint

pytestmark = pytest.mark.usefixtures('exact_speed')

# Where the faces of `group` are: middle, size of the square around each in pixels, and angle in degrees.
PLACES = [(90, 100, 180, 0), (260, 100, 150, 20), (420, 90, 120, -30), (540, 90, 80, 10), (120, 300, 200, -10)]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('model') / 'light.pth', generator_config(True))


@pytest.fixture(scope='module')
def mtcnn() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope='module')
def group() -> np.ndarray:
    """A photograph of a cup, and on it five portraits of an astronaut, smaller and larger, turned and upright."""
    portrait = photo('astronaut', 260, 260, 0, 90)
    picture = cv2.resize(data.coffee(), (600, 400), interpolation=cv2.INTER_AREA)
    for x, y, size, angle in PLACES:
        matrix = cv2.getRotationMatrix2D((129.5, 129.5), angle, size / 260)
        matrix[:, 2] += np.array([x, y]) - 129.5
        there = cv2.warpAffine(np.full((260, 260), 255, np.uint8), matrix, (600, 400)) == 255
        shrunk = cv2.GaussianBlur(portrait, (0, 0), 0.5 * 260 / size)
        picture[there] = cv2.warpAffine(shrunk, matrix, (600, 400), flags=cv2.INTER_CUBIC)[there]
    return picture


class Through(nn.Module):
    """Enlarges by bicubic and then does one thing more; it remembers how many images came at a time."""

    def __init__(self, scale: int, then: Callable[[Tensor], Tensor], size: int) -> None:
        super().__init__()
        self.scale, self.then, self.calls = scale, then, []
        self.in_size, self.out_size = size, size * scale

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return self.then(matlab_resize(x, (self.scale * x.shape[2], self.scale * x.shape[3])))


def through(
    checkpoint: Path, then: Callable[[Tensor], Tensor] = lambda x: x, size: int = 256, scale: int = 2, **options: Any
) -> Restorer:
    """A restorer of that network: -1 to 1 in and out, ``size`` pixels in."""
    restorer = Restorer(checkpoint, device='cpu', **options)
    network = restorer.network
    network.network = network._plain = Through(scale, then, size)
    network.in_size, network.out_size, network.scale, network.bytes_per_pixel = size, size * scale, scale, 100.0
    return restorer


class Given:
    """A detector that is told where in an image of this shape faces are: each is the template's points in a square."""

    def __init__(self, shape: tuple[int, int], *squares: tuple[float, float, float, float]) -> None:
        self.facts, self.shape, self.faces = dict(name='given'), shape, []
        for x, y, side, angle in squares:
            turn = np.deg2rad(angle)
            rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            points = ((TEMPLATE + 0.5) / 512 - 0.5) @ rotation.T * side + (x - 0.5, y - 0.5)
            box = np.array([x - side / 4, y - side / 4, x + side / 4, y + side / 4])
            self.faces.append(Face.from_arrays(box, 1.0, points))

    def __call__(self, image: np.ndarray) -> list[Face]:
        x, y = image.shape[1] / self.shape[1], image.shape[0] / self.shape[0]
        whole = abs(x - y) < 0.01  # else it is shown a turned face, upright
        return [face.scaled(x, y) for face in self.faces if whole]


def bicubic(image: np.ndarray, scale: float) -> np.ndarray:
    """Levels as integers."""
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    return matlab_bicubic(tensor, scale).permute(1, 2, 0).numpy().round().astype(int)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def boxes(faces: Sequence[Face], scale: int, share: float = 1.0) -> Iterator[tuple[slice, slice]]:
    """Of the image enlarged; or the middle of them."""
    for face in faces:
        half = np.array([face.box[2] - face.box[0], face.box[3] - face.box[1]]) * scale * share / 2
        middle = np.array(face.centre) * scale
        (left, top), (right, bottom) = (each.round().astype(int).clip(0) for each in (middle - half, middle + half))
        yield slice(top, bottom), slice(left, right)


def found(restorer: FaceRestorer, image: np.ndarray) -> list[tuple[Face, Alignment]]:
    return restorer.find(restorer.accept(image)[0][0])


# ---- where a face is

def test_alignment_is_the_similarity_that_fits_best() -> None:
    rng = np.random.default_rng(0)
    for angle in (-70, 0, 12, 179):
        truth = SimilarityTransform(scale=0.37, rotation=np.deg2rad(angle), translation=(130, 99))
        square = alignment(truth(TEMPLATE), (300, 300))
        assert square is not None
        np.testing.assert_allclose(512 * square.to_square(truth(TEMPLATE) + 0.5) - 0.5, TEMPLATE, atol=1e-3)
        assert square.side == pytest.approx(512 * 0.37, rel=1e-4)
        np.testing.assert_allclose(square.to_image(square.to_square(TEMPLATE)), TEMPLATE, atol=1e-6)
        noisy = truth(TEMPLATE) + rng.normal(0, 0.3, (5, 2))
        other = SimilarityTransform.from_estimate(noisy, TEMPLATE)
        some = 512 * alignment(noisy, (300, 300)).to_square(noisy + 0.5) - 0.5
        np.testing.assert_allclose(some, other(noisy), atol=3)
    outlier = truth(TEMPLATE)
    outlier[2] += 60  # a nose beside the face: the other four points decide
    moved = 512 * alignment(outlier, (300, 300)).to_square(truth(TEMPLATE) + 0.5) - 0.5
    np.testing.assert_allclose(moved, TEMPLATE, atol=0.5)


def test_what_is_no_face_has_no_square(checkpoint: Path) -> None:
    assert alignment([(5, 5)] * 5, (100, 100)) is None
    assert alignment(TEMPLATE * 3, (100, 100)) is None, 'fifteen times the image'
    restorer = FaceRestorer(through(checkpoint), Given((100, 120), (50, 50, 0, 0)))
    picture = photo('chelsea', 100, 120)
    np.testing.assert_allclose(restorer(picture).astype(int), bicubic(picture, 2), atol=1)


def waves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of points in pixels whose first has its middle at 0.5."""
    return 0.5 + 0.2 * np.sin(x / 7) + 0.2 * np.cos((x + 2 * y) / 11)


@pytest.mark.parametrize('size', [16, 64, 200])
def test_crop_is_what_the_square_holds(size: int) -> None:
    """On a function that is known between the pixels, for crops that shrink, that do not, and that enlarge."""
    y, x = np.mgrid[:150, :180] + 0.5
    image = waves(x, y)[..., None].astype(np.float32)
    square = alignment(Given((150, 180), (90, 70, 66, 33)).faces[0].points, (150, 180))
    line = (np.arange(size) + 0.5) / size
    places = square.to_image(np.stack(np.meshgrid(line, line), axis=-1))
    np.testing.assert_allclose(
        crop(image, 1, square, size)[..., 0], waves(places[..., 0], places[..., 1]), atol=0.02 if size == 16 else 2e-3
    )


def test_beyond_its_edges_a_picture_is_mirrored() -> None:
    image = photo('astronaut', 120, 100)
    pad = 90
    square = alignment(Given((120, 100), (8, 110, 80, 20)).faces[0].points, (120, 100))
    inside = Alignment(np.concatenate(
        [square.matrix[:, :2], square.matrix[:, 2:] - square.matrix[:, :2] @ np.full((2, 1), pad)], axis=1
    ))  # fmt: skip
    mirrored = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode='reflect')
    np.testing.assert_allclose(crop(image, 255, square, 64), crop(mirrored, 255, inside, 64), atol=1e-4)


# ---- what becomes of it

def test_restored_faces_are_where_they_belong(group: np.ndarray, checkpoint: Path, mtcnn: MTCNN) -> None:
    """A network that knows the ground truth, which another library cuts out, gives the true photo in the faces."""
    truth, small = group, bicubic(group, 1 / 2).astype(np.uint8)
    restorer = FaceRestorer(through(checkpoint), mtcnn)
    faces = found(restorer, small)
    assert len(faces) == len(PLACES)
    crops = []
    for square in sorted((square for _, square in faces), key=lambda square: extent(square, 2, truth.shape)[1]):
        def places(points: np.ndarray, square: Alignment = square) -> np.ndarray:
            return 2 * square.to_image((points + 0.5) / 512) - 0.5

        crops.append(warp(truth, places, output_shape=(512, 512), order=3, mode='reflect'))
    answers = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() * 2 - 1
    restorer = FaceRestorer(through(checkpoint, lambda _: answers), mtcnn)
    result, plain = restorer(small), bicubic(small, 2)
    for where in boxes([face for face, _ in faces], 2):
        assert psnr(result[where], truth[where]) > 40 > psnr(plain[where], truth[where]) + 5


def test_a_network_that_changes_nothing_changes_nothing(group: np.ndarray, checkpoint: Path, mtcnn: MTCNN) -> None:
    restorer = FaceRestorer(through(checkpoint), mtcnn)
    result, plain = restorer(group), FaceRestorer(through(checkpoint), Given((400, 600)))(group)
    np.testing.assert_allclose(plain.astype(int), bicubic(group, 2), atol=1)
    touched = np.zeros(plain.shape[:2], bool)
    faces = found(restorer, group)
    for (face, square), where in zip(faces, boxes([face for face, _ in faces], 2)):
        assert psnr(result[where], plain[where]) > 40, face
        polygon = (2 * square.corners[[0, 1, 3, 2]] - 0.5).round().astype(np.int32)
        mask = touched.astype(np.uint8)
        touched = cv2.fillPoly(mask, [polygon], 1) > 0
    assert 0.1 < touched.mean() < 0.9
    np.testing.assert_array_equal(result[~touched], plain[~touched])


def test_no_seams(checkpoint: Path) -> None:
    """Faces much brighter than the photo: between neighbours, their share grows no faster than a raised cosine's."""
    gray = np.full((200, 220, 3), 100, np.uint8)
    squares = ((80, 90, 120, 25), (150, 120, 100, -10), (205, 40, 60, 0))
    for x, y, *_ in squares:
        gray[y - 9:y + 9, x - 9:x + 9] = 101  # an image of one color is no question to a network
    restorer = FaceRestorer(through(checkpoint, lambda x: x + 0.8), Given((200, 220), *squares), enlarge=2)
    result = restorer(gray).astype(int)
    assert result.max() == 203 and result.min() == 100
    steepest = 102 * np.pi / 2 / (2 * 60 / 8)  # an eighth of the smallest square, enlarged by two
    for axis in (0, 1):
        assert np.abs(np.diff(result, axis=axis)).max() <= steepest + 2
    rough = photo('astronaut', 200, 220) // 2  # nothing saturates
    plain = bicubic(rough, 2)
    added = restorer(rough).astype(int) - plain
    changed = (added != 0).any(axis=-1)
    edge = changed & ~(cv2.erode(changed.astype(np.uint8), np.ones((3, 3))) > 0)
    assert edge.sum() > 500 and np.abs(added[edge]).max() <= 3, 'where a face begins, it is still the photo'


def test_of_two_faces_side_by_side_each_is_its_own(checkpoint: Path) -> None:
    """Their squares overlap by half; a network that paints one dark and the other bright."""
    shades = torch.tensor([-0.8, 0.8]).view(2, 1, 1, 1)
    restorer = FaceRestorer(
        through(checkpoint, lambda x: x * 0 + shades), Given((120, 180), (70, 60, 80, 0), (110, 60, 80, 0)), enlarge=1
    )
    given = np.full((120, 180, 3), 128, np.uint8)
    given[56:64, 66:114] = 129  # an image of one color is no question to a network
    result = restorer(given)
    row = result[60, :, 0].astype(int)
    np.testing.assert_allclose(row[45:75], 26, atol=4)
    np.testing.assert_allclose(row[105:135], 230, atol=4)
    assert np.abs(np.diff(row)).max() < 25
    np.testing.assert_array_equal(result[:, :30], 128)


def test_rows_may_come_as_they_like() -> None:
    shape = (90, 100)
    squares = [alignment(Given(shape, each).faces[0].points, shape) for each in ((40, 40, 60, 30), (70, 60, 50, 0))]
    rng = np.random.default_rng(0)
    patches = [Patch(rng.random((64, 64, 3), np.float32), square, 1, shape) for square in squares]
    whole = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    single = whole.copy()
    paste(whole, 0, patches, 3, 255)
    for row in range(len(single)):
        paste(single[row:row + 1], row, patches, 3, 255)
    np.testing.assert_array_equal(whole, single)


def test_faces_of_a_photo_are_one_batch(group: np.ndarray, checkpoint: Path, mtcnn: MTCNN) -> None:
    results = []
    for batch, calls in ((8, [5]), (2, [2, 2, 1])):
        restorer = through(checkpoint, lambda x: x.neg(), batch=batch)
        results.append(FaceRestorer(restorer, mtcnn, enlarge=1)(group))
        assert restorer.network.network.calls == calls
    np.testing.assert_array_equal(*results)
    restorer = through(checkpoint, max_memory='20M')
    FaceRestorer(restorer, mtcnn, enlarge=1)(group)
    assert restorer.network.network.calls[0] < 5, 'the memory bounds the batch, too'


@pytest.mark.parametrize('kind', ['16 bit', 'gray', 'alpha', 'gray alpha', 'float', 'gray 16 bit'])
def test_kinds_of_pictures(kind: str, group: np.ndarray, checkpoint: Path, mtcnn: MTCNN) -> None:
    image = np.ascontiguousarray(group[:190, :340])
    ramp = np.linspace(1, 255, image[..., 0].size).reshape(*image.shape[:2], 1).astype(np.uint8)
    given = image[..., :1] if 'gray' in kind else image
    if 'alpha' in kind:
        given = np.concatenate([given, ramp], axis=2)
    given = given.astype(np.uint16) * 257 if '16' in kind else given
    given = (given / 255).astype(np.float32) if kind == 'float' else given
    made = FaceRestorer(through(checkpoint, torch.neg), mtcnn).restoration([Picture(given)])
    result = np.concatenate([part[0] for part in made])
    assert len(made.faces[0]) == 2 and made.shape == result.shape == (380, 680, given.shape[2])
    assert result.dtype == given.dtype
    white = dict(uint8=255, uint16=65535, float32=1)[given.dtype.name]
    levels = result * (255 / white)
    reference = FaceRestorer(through(checkpoint, torch.neg), mtcnn)(
        np.repeat(image[..., :1], 3, axis=2) if 'gray' in kind else image
    )
    colours = 1 if 'gray' in kind else 3
    np.testing.assert_allclose(levels[..., :colours], reference[..., :colours], atol=1.01)
    if 'alpha' in kind:
        np.testing.assert_allclose(result[..., -1:].astype(int), bicubic(ramp, 2), atol=1)


def test_a_face_partly_outside(checkpoint: Path, mtcnn: MTCNN) -> None:
    """The left half of the chin, and all below the mouth, are not in the photo."""
    image = photo('astronaut', 150, 120, 10, 195)
    restorer = FaceRestorer(through(checkpoint, torch.neg), mtcnn)
    (face, square), = found(restorer, image)
    assert square.corners.min() < 0 or square.corners[:, 1].max() > 150
    result = restorer(image)
    assert result.shape == (300, 240, 3)
    x, y = (round(2 * each) for each in face.points[2])
    np.testing.assert_allclose(result[y, x], 255 - bicubic(image, 2)[y, x], atol=12)
    np.testing.assert_allclose(result[-1, -1].astype(int), bicubic(image, 2)[-1, -1], atol=1)


def test_what_a_caller_may_choose(group: np.ndarray, checkpoint: Path, mtcnn: MTCNN) -> None:
    restorer = through(checkpoint)
    everyone = [face for face, _ in found(FaceRestorer(restorer, mtcnn), group)]
    assert len(everyone) == 5
    middle = found(FaceRestorer(restorer, mtcnn, only_center=True), group)
    distances = [np.hypot(face.centre[0] - 300, face.centre[1] - 200) for face in everyone]
    assert [face for face, _ in middle] == [everyone[int(np.argmin(distances))]]
    sizes = sorted(face.size for face in everyone)
    assert len(found(FaceRestorer(restorer, mtcnn, min_size=sizes[2]), group)) == 3
    scores = sorted(face.score for face in everyone)
    assert len(found(FaceRestorer(restorer, mtcnn, min_score=scores[3]), group)) == 2
    assert FaceRestorer(restorer, mtcnn, enlarge=3)(group[:50, :50]).shape == (150, 150, 3)
    background = through(checkpoint, torch.neg)
    with_model = FaceRestorer(restorer, mtcnn, background=background)(group)
    corner = np.s_[-40:, -40:]
    np.testing.assert_allclose(with_model[corner], 255 - bicubic(group, 2)[corner], atol=40)
    where = next(boxes(everyone, 2, 0.5))
    assert psnr(with_model[where], bicubic(group, 2)[where]) > 40
    for wrong, words in (
        (dict(background=background, enlarge=3), 'enlarges by 2, not by 3'), (dict(enlarge=0), '1 or more'),
        (dict(min_score=2), 'min_score 0 to 1'),
    ):
        with pytest.raises(RestoreError, match=words):
            FaceRestorer(restorer, mtcnn, **wrong)
    with pytest.raises(RestoreError, match='A report is of whole images'):
        FaceRestorer(restorer, mtcnn).restoration([Picture(group)], assess=True)


# ---- detectors

@pytest.mark.parametrize('shrink, angle, most', [
    (1, 0, 0.01), (2, 0, 0.03), (4, 0, 0.04), (8, 0, 0.1), (1, 45, 0.04), (1, -60, 0.05), (4, -30, 0.05), (8, 30, 0.1),
])  # fmt: skip
def test_mtcnn_finds_a_face_of_11_pixels_and_one_that_is_turned(
    shrink: int, angle: float, most: float, checkpoint: Path, mtcnn: MTCNN
) -> None:
    """Errors of the five points, a mean, as a share of the distance of the eyes: to those of the upright portrait."""
    image = data.astronaut()
    restorer = FaceRestorer(through(checkpoint), mtcnn, min_size=5)
    (face, square), = found(restorer, image)
    truth, upright = np.array(face.points), square.angle
    turn = cv2.getRotationMatrix2D((224, 120), angle, 1)
    turned = cv2.warpAffine(image, turn, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    small = cv2.resize(turned, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    faces = found(restorer, small)
    assert len(faces) == 1 and faces[0][1].angle == pytest.approx(-angle + upright, abs=4)
    wanted = truth @ turn[:, :2].T + turn[:, 2]
    there = (np.array(faces[0][0].points) + 0.5) * shrink - 0.5
    assert np.linalg.norm(there - wanted, axis=1).mean() < most * np.linalg.norm(truth[0] - truth[1])


@pytest.mark.parametrize('shape', [(1, 1), (3, 900), (19, 19), (60, 80)])
def test_no_face_in_any_size(shape: tuple[int, int], checkpoint: Path, mtcnn: MTCNN) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    made = FaceRestorer(through(checkpoint), mtcnn, enlarge=3).restoration([Picture(image)])
    result = np.concatenate([part[0] for part in made])
    assert made.faces == [[]]
    np.testing.assert_allclose(result.astype(int), bicubic(image, 3), atol=1)


@pytest.fixture(scope='module')
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RetinaFace's weights as they are published, but for the numbers: each square of 512 pixels is a face."""
    from facexlib.detection.retinaface import RetinaFace as Network

    torch.manual_seed(0)
    state = Network('resnet50', device=torch.device('cpu')).state_dict()
    for key, value in state.items():
        if 'Head' in key:
            value.zero_()
        if key.startswith('ClassHead') and key.endswith('bias'):
            value.copy_(torch.tensor([9.0, 0, 0, 9.0 if '.2.' in key else -9.0]))
    offsets = torch.tensor((TEMPLATE + 0.5) / 512 - 0.5).flatten() / 0.1
    state['LandmarkHead.2.conv1x1.bias'][10:] = offsets
    path = tmp_path_factory.mktemp('detector') / 'detection_Resnet50_Final.pth'
    torch.save({f'module.{key}': value for key, value in state.items()}, path)
    return path


@pytest.fixture
def address(stand_in: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(stand_in.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/{stand_in.name}'
        server.shutdown()


def test_retinaface_is_fetched_checked_and_finds(
    stand_in: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    card = dataclasses.replace(detectors.RETINAFACE, url=address)
    monkeypatch.setattr(detectors, 'RETINAFACE', card)
    with pytest.raises(WeightsError, match='invalid hash.*Or take the detector mtcnn'):
        detectors.choose_detector('retinaface')
    assert not [*tmp_path.iterdir()]
    assert isinstance(detectors.choose_detector('auto'), MTCNN), 'its weights are not there'
    monkeypatch.setattr(detectors, 'RETINAFACE', dataclasses.replace(card, sha256=sha256(stand_in)))
    detector = detectors.choose_detector('retinaface')
    assert isinstance(detectors.choose_detector('auto'), RetinaFace), 'now they are'
    assert detector.facts == dict(name='retinaface', weights=sha256(stand_in))

    faces = detector(photo('astronaut', 320, 384, 0, 0))
    assert faces
    for face in faces:
        left, top, right, bottom = face.box
        assert (right - left, bottom - top) == pytest.approx((512, 512)) and face.score > 0.999
        cell = np.array(face.centre) / 32 - 0.5
        np.testing.assert_allclose(cell, cell.round(), atol=1e-4)
        np.testing.assert_allclose(np.array(face.points) - (left, top), TEMPLATE + 0.5, atol=1e-2)


def test_missing_weights_and_packages_are_sentences(
    stand_in: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv('GLEAN_PLUS_OFFLINE', '1')
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path / 'cache'))
    Image.fromarray(photo('astronaut', 40, 40)).save(tmp_path / 'in.png')

    def said(*options: str) -> str:
        arguments = ['restore', str(tmp_path / 'in.png'), str(tmp_path / 'out.png'), '--model', str(checkpoint)]
        assert main([*arguments, '--device', 'cpu', *options]) == command.WRONG
        assert not (tmp_path / 'out.png').exists()
        return capsys.readouterr().err

    line = said('--faces', '--detector', 'retinaface')
    assert 'detection_Resnet50_Final.pth' in line and '6d1de9c2' in line and 'mtcnn' in line
    assert 'one of auto, retinaface, mtcnn' in said('--faces', '--detector', 'retinafase')
    torch.save(dict(conv=torch.zeros(3)), tmp_path / 'other.pth')
    assert 'does not fit RetinaFace' in said('--faces', '--detector', str(tmp_path / 'other.pth'))
    assert 'Without --faces, --detector, --only-center does nothing' in said('--only-center', '--detector', 'mtcnn')
    assert 'leave --report or --faces out' in said('--faces', '--report')
    assert '--mode is of the background' in said('--faces', '--mode', 'tiles')
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *rest: None if name == 'facenet_pytorch' else there(name, *rest)
    )
    assert 'pip install --no-deps facenet-pytorch' in said('--faces', '--detector', 'mtcnn')
    assert 'detection_Resnet50_Final.pth' in said('--faces'), 'auto has nothing else left'
    assert RetinaFace(stand_in).facts['name'] == 'retinaface'


# ---- the command

@pytest.fixture
def restore(checkpoint: Path, tmp_path: Path, group: np.ndarray) -> Callable[..., np.ndarray]:
    Image.fromarray(group).save(tmp_path / 'in.png', icc_profile=SRGB)

    def run(name: str, *options: str, faces: bool = True) -> np.ndarray:
        arguments = ['restore', str(tmp_path / 'in.png'), str(tmp_path / name), '--model', str(checkpoint)]
        faces_too = ['--faces'] if faces else []
        assert main([*arguments, '--device', 'cpu', '--json', str(tmp_path / 'j.json'), *faces_too, *options]) == 0
        return np.asarray(Image.open(tmp_path / name)).astype(int)

    return run


@pytest.fixture
def report(tmp_path: Path) -> Callable[[], dict]:
    return lambda: json.loads((tmp_path / 'j.json').read_text())


def test_command(
    restore: Callable[..., np.ndarray], report: Callable[[], dict], group: np.ndarray, tmp_path: Path, capsys: Any
) -> None:
    result = restore('out.png', '--detector', 'mtcnn')
    content = report()
    record, = content['pictures']
    assert content['run']['faces']['detector'] == dict(name='mtcnn', version='2.6.0')
    assert content['run']['faces']['background'] == 'bicubic' and len(record['faces']) == 5
    for face, (x, y, size, _) in zip(sorted(record['faces'], key=lambda face: face['box'][0]),
                                     sorted(PLACES)):  # fmt: skip
        left, top, right, bottom = face['box']
        assert abs((left + right) / 2 - x) < size / 4 and abs((top + bottom) / 2 - y) < size / 4
        assert len(face['points']) == 5 and face['score'] > 0.9
    assert '1 restored' in (said := capsys.readouterr().err) and '5 faces' in said
    plain = bicubic(group, 2)
    assert result.shape == (800, 1200, 3) and np.abs(result - plain)[-60:, -60:].max() <= 1
    assert (result != restore('plain.png', faces=False)).any()
    restore('out.png', '--detector', 'mtcnn')
    assert '1 there already' in capsys.readouterr().err


@pytest.fixture(scope='module')
def two(checkpoint: Path, group: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the faces, and what becomes of them without further options."""
    folder = tmp_path_factory.mktemp('two')
    Image.fromarray(group[:190, :340]).save(folder / 'in.png')
    arguments = ['restore', str(folder / 'in.png'), str(folder / 'out.png'), '--model', str(checkpoint)]
    assert main([*arguments, '--device', 'cpu', '--faces']) == 0
    return folder


@pytest.mark.parametrize('options', [
    ('--only-center',), ('--min-face', '55'), ('--min-score', '0.9999'), ('--enlarge', '1'), ('--fidelity', '1'),
    ('--background', 'MODEL'), ('--background', 'MODEL', '--mode', 'fit'), ('--consistent',), ('--seed', '2'),
], ids=' '.join)  # fmt: skip
def test_option_changes_the_result(
    options: tuple[str, ...], two: Path, checkpoint: Path, tmp_path: Path
) -> None:
    options = tuple(str(checkpoint) if each == 'MODEL' else each for each in options)
    arguments = ['restore', str(two / 'in.png'), str(tmp_path / 'out.png'), '--model', str(checkpoint)]
    assert main([*arguments, '--device', 'cpu', '--faces', *options]) == 0
    plain, other = (np.asarray(Image.open(folder / 'out.png')).astype(int) for folder in (two, tmp_path))
    assert plain.shape != other.shape or (plain != other).any()
    runs = [json.loads((folder / 'out.png.run.json').read_text())['run'] for folder in (two, tmp_path)]
    assert runs[0] != runs[1], 'the manifest tells them apart'
    if '--mode' in options:  # of the background
        corner = np.s_[-20:, -20:]
        direct = Restorer(checkpoint, device='cpu')(two / 'in.png')
        assert (other[corner] != np.asarray(direct)[corner]).any() and runs[1]['faces']['background']['mode'] == 'fit'


def test_faces_are_saved_and_compared(
    restore: Callable[..., np.ndarray], tmp_path: Path, group: np.ndarray, capsys: Any
) -> None:
    result = restore('out.png')
    restore('out.png', '--save-faces', '--compare')
    assert '1 restored' in capsys.readouterr().err, 'the faces were missing'
    folder = tmp_path / 'out.faces'
    assert {path.name for path in folder.iterdir()} == {
        'faces.json', *(f'{i}.png' for i in range(1, 6)), *(f'{i}.input.png' for i in range(1, 6))
    }
    for i, face in enumerate(json.loads((folder / 'faces.json').read_text()), 1):
        before, after = (np.asarray(Image.open(folder / name)) for name in (f'{i}.input.png', f'{i}.png'))
        assert before.shape == (16, 16, 3) and after.shape == (32, 32, 3)
        left, top, right, bottom = map(round, face['box'])
        mean = group[max(top, 0):bottom, left:right].mean(axis=(0, 1))
        np.testing.assert_allclose(before[5:13, 5:11].mean(axis=(0, 1)), mean, atol=40)
    for path in (tmp_path / 'out.png', tmp_path / 'out.compare.png', *folder.glob('*.png')):
        assert Image.open(path).info['icc_profile'] == SRGB, path
    both = np.asarray(Image.open(tmp_path / 'out.compare.png'))
    np.testing.assert_array_equal(both[:, 1200:], result)
    restore('out.png', '--save-faces', '--compare')
    assert '1 there already' in capsys.readouterr().err


def test_a_folder_with_a_photo_without_a_face(
    checkpoint: Path, group: np.ndarray, tmp_path: Path, capsys: Any
) -> None:
    source, out = tmp_path / 'in', tmp_path / 'out'
    source.mkdir()
    Image.fromarray(group).save(source / 'group.png')
    cat = photo('chelsea', 150, 200)
    Image.fromarray(cat).save(source / 'cat.png')
    (source / 'broken.png').write_bytes(b'no image')
    arguments = ['restore', str(source), str(out), '--faces', '--model', str(checkpoint), '--device', 'cpu']
    assert main([*arguments, '--json', '-', '--save-faces', '--detector', 'mtcnn']) == command.FAILED
    output = capsys.readouterr()
    assert f'{source / "cat.png"}: no face was found; the photo is enlarged only' in output.err
    counts = {Path(each['input']).name: each['faces'] for each in json.loads(output.out)['pictures']}
    assert counts['cat.png'] == [] and len(counts['group.png']) == 5 and counts['broken.png'] is None
    np.testing.assert_allclose(np.asarray(Image.open(out / 'cat.png')).astype(int), bicubic(cat, 2), atol=1)
    assert (out / 'faces' / 'group' / '5.png').is_file()
    assert [path.name for path in (out / 'faces' / 'cat').iterdir()] == ['faces.json']


def test_colorization_is_not_for_faces() -> None:
    colour = Restorer('lightglean_twemoji_color', device='cpu')
    with pytest.raises(RestoreError, match='Colorization is of whole images'):
        FaceRestorer(colour, Given((64, 64)))
