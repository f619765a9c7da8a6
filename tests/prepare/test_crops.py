"""`prepare_data crops`, and the archives that `prepare_photos` collects its photographs from."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mmagic.datasets.transforms import MATLABLikeResize
from PIL import Image
from scipy import ndimage

from glean_plus.prepare import DataError, SettingsError
from glean_plus.prepare.archives import embedded, members
from glean_plus.prepare.crops import CropSettings, duplicates, flatness, prepare_crops, thumbnail
from glean_plus.prepare.items import Item
from glean_plus.prepare.photos import read_list

from conftest import load_tool

SETTINGS = CropSettings(size=32, per_image=6, scales=(4,), test_share=0.25, test_size=48)


def photo(seed: int, width: int = 320, height: int = 240) -> np.ndarray:
    """Smooth colour with fine texture."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    image = ndimage.gaussian_filter(noise, (25, 25, 0)) * 2000 + ndimage.gaussian_filter(noise, (1, 1, 0)) * 60 + 128
    return image.round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('photos')
    (folder / 'a').mkdir()
    for index in range(5):
        Image.fromarray(photo(index)).save(folder / 'a' / f'{index}.png')
    Image.fromarray(photo(3)).resize((160, 120)).save(folder / 'small copy.jpg', quality=70)
    Image.new('RGB', (300, 200), (10, 90, 200)).save(folder / 'flat.png')
    Image.fromarray(photo(9)[..., :1].repeat(3, 2)).save(folder / 'gray.png')
    Image.new('RGB', (30, 30), (250, 90, 20)).save(folder / 'tiny.png')
    with open(folder / 'sources.csv', 'w', newline='') as file:
        csv.writer(file).writerows([
            ('file', 'split', 'source', 'licence'), ('a/0.png', 'train', 'me', 'CC0-1.0'), ('a/1.png', 'test', '', '')])
    return folder


def crops(out: Path) -> list[dict[str, str]]:
    with open(out / 'crops.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_photographs_are_split_whole_and_copies_found(source: Path, tmp_path: Path) -> None:
    report = prepare_crops(source, tmp_path, SETTINGS)
    rows = crops(tmp_path)
    sides = {row['photo']: {each['split'] for each in rows if each['photo'] == row['photo']} for row in rows}
    assert all(len(side) == 1 for side in sides.values())
    assert sides['a/0.png'] == {'train'} and sides['a/1.png'] == {'test'}
    # A quarter of the eight that differ is two: the given one and another.
    assert report.photos['test'] + report.photos['train'] == 5
    problems = {problem.source: (problem.kind, problem.detail) for problem in report.problems}
    assert problems['small copy.jpg'] == ('duplicate', 'shows the same as a/3.png')
    assert {problems[name][0] for name in ('flat.png', 'gray.png', 'tiny.png')} <= {'flat', 'gray', 'tiny', 'duplicate'}
    assert {row['licence'] for row in rows if row['photo'] == 'a/0.png'} == {'CC0-1.0'}
    assert report.crops['train'] == 6 * report.photos['train'] and report.crops['test'] == report.photos['test']
    for side, size in (('train', 32), ('test', 48)):
        lines = (tmp_path / side / 'meta_info_GT.txt').read_text().splitlines()
        assert lines == [f'{row["file"]} ({size},{size},3)' for row in rows if row['split'] == side]


def test_crops_are_the_photograph_shrunk_as_matlab_does(source: Path, tmp_path: Path) -> None:
    prepare_crops(source, tmp_path, SETTINGS)
    sides = set()
    for row in crops(tmp_path):
        image = np.asarray(Image.open(source / row['photo']))
        left, top, side = (int(row[key]) for key in ('left', 'top', 'side'))
        part = image[top:top + side, left:left + side].astype(np.float64)
        size = 48 if row['split'] == 'test' else 32
        expected = MATLABLikeResize(keys=['img'], output_shape=(size, size))({'img': part})['img']
        found = np.asarray(Image.open(tmp_path / row['split'] / 'GT' / row['file']), np.float64)
        assert np.abs(found - expected.clip(0, 255)).max() <= 0.51
        low = MATLABLikeResize(keys=['img'], scale=0.25)({'img': found})['img']
        small = np.asarray(Image.open(tmp_path / row['split'] / 'BIx4_down' / row['file']), np.float64)
        assert np.abs(small - low.clip(0, 255)).max() <= 0.51
        assert side <= max(size, 120)
        sides.add(side)
    assert len(sides) > 5 and min(sides) < 60


def test_a_second_run_makes_what_is_missing_and_nothing_else(source: Path, tmp_path: Path) -> None:
    prepare_crops(source, tmp_path, SETTINGS)
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.glob('*/*/**/*.png')}
    lost = sorted(files)[3]
    lost.unlink()
    prepare_crops(source, tmp_path, SETTINGS)
    for path, (content, time) in files.items():
        assert path.read_bytes() == content
        assert (path.stat().st_mtime_ns == time) == (path != lost)
    with pytest.raises(DataError, match='prepared with seed=0, not 1'):
        prepare_crops(source, tmp_path, CropSettings(size=32, per_image=6, test_share=0.25, test_size=48, seed=1))


def test_duplicates_keep_the_larger_one(tmp_path: Path) -> None:
    large, other = photo(1, 200, 150), photo(2, 200, 150)
    for name, image in (('a', large[::2, ::2]), ('b', other), ('c', large)):
        Image.fromarray(image).save(tmp_path / f'{name}.png')
    found = [thumbnail(Item(name, name, str(tmp_path / f'{name}.png'))) for name in 'abc']
    assert duplicates(found) == {0: 2}
    assert duplicates([]) == {}


def test_flatness_is_the_mean_difference_of_neighbours() -> None:
    ramp = np.tile(np.arange(0, 60, 3, dtype=np.uint8)[None, :, None], (20, 1, 3))
    assert flatness(ramp) == pytest.approx(1.5)  # 3 along the rows, 0 along the columns
    assert flatness(np.full((9, 9, 3), 200, np.uint8)) == 0


@pytest.mark.parametrize(('options', 'said'), [
    (dict(size=0), '--size is 0'), (dict(per_image=-1), '--per-image is -1'),
    (dict(test_share=1.0), '--test-share is 1.0'),
    (dict(size=30), r'--scales \[4\] do not divide --size 30'), (dict(test_size=50), 'do not divide --test-size 50'),
])  # fmt: skip
def test_settings_that_cannot_be(options: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        CropSettings(**options)


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = load_tool('prepare_data')
    options = ['--size', '32', '--per-image', '2', '--test-size', '48', '--workers', '1']
    assert tool.main(['crops', str(source), str(tmp_path / 'out'), *options]) == 1
    assert 'problems.csv' in capsys.readouterr().out
    assert tool.main(['crops', str(source), str(tmp_path / 'out'), *options, '--allow-problems', '9']) == 0
    for wrong, said in (
        (['crops', str(source), str(tmp_path / 'x'), '--limit', '3'], '--limit is not for crops'),
        (['folder', str(source), str(tmp_path / 'x'), '--size', '32', '--per-image', '3'], '--per-image is for crops'),
    ):
        with pytest.raises(SystemExit) as ended:
            tool.main(wrong)
        assert ended.value.code == 2 and said in capsys.readouterr().err


# ---- archives


def encoded(image: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **(dict(lossless=True) if kind == 'WEBP' else {}))
    return file.getvalue()


def test_images_within_a_resource_file() -> None:
    images = [photo(1, 420, 400), photo(2, 90, 80), photo(3, 400, 410)]
    files = [encoded(images[0], 'WEBP'), encoded(images[1], 'JPEG'), encoded(images[2], 'JPEG')]
    found = embedded(b'qres\0RIFF of nothing' + files[0] + b'\xff\xd8\xff' + files[1] + b'--' + files[2] + b'end')
    assert len(found) == 2 and found[0] == files[0]
    assert np.array_equal(Image.open(io.BytesIO(found[0])), images[0])
    assert np.array_equal(Image.open(io.BytesIO(found[1])), Image.open(io.BytesIO(files[2])))


def test_photographs_out_of_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = load_tool('prepare_photos')
    assert tool.main(['--packages', 'pypi']) == 0
    assert capsys.readouterr().out.split() == ['scikit-image', 'scikit-learn']
    wheel = tmp_path / 'scikit_learn-1.0-py3-none-any.whl'
    with zipfile.ZipFile(wheel, 'w') as file:
        for name in ('china', 'flower'):
            file.writestr(f'sklearn/datasets/images/{name}.jpg', name)
    china = 'sklearn/datasets/images/china.jpg'
    assert dict(members(wheel, {china})) == {china: b'china'}
    with pytest.raises(SystemExit, match=r'no such \.deb or \.whl'):
        tool.main([str(tmp_path), str(tmp_path / 'out')])
    assert tool.main([str(tmp_path), str(tmp_path / 'out'), '--allow-missing']) == 0
    assert (tmp_path / 'out/scikit_learn/flower.jpg').read_bytes() == b'flower'
    with open(tmp_path / 'out/sources.csv', newline='') as table:
        assert [(row['file'], row['split'], row['licence']) for row in csv.DictReader(table)] == [
            (f'scikit_learn/{name}.jpg', 'test', 'CC-BY-2.0') for name in ('china', 'flower')]
    (tmp_path / 'scikit_image-1.whl').write_bytes(b'no zip')
    with pytest.raises(SystemExit, match=r'scikit_image-1\.whl cannot be read'):
        tool.main([str(tmp_path), str(tmp_path / 'again'), '--allow-missing'])


def test_no_photograph_is_listed_twice() -> None:
    rows = read_list()
    assert len({(row['package'], row['file'], row['index']) for row in rows}) == len(rows)
    assert len({(row['package'], row['name']) for row in rows}) == len(rows)
    tests = [row for row in rows if row['split'] == 'test']
    assert len(tests) >= 60 and {row['split'] for row in rows} == {'train', 'test'}
    for_tests = ('scikit_image', 'scikit_learn', 'opencv-doc', 'palapeli-data')
    assert all(row['split'] == 'test' for row in rows if row['package'] in for_tests)
    assert all(row['licence'] for row in rows)
