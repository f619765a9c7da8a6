"""tools/prepare_data.py: every data set in its real layout, broken images in it, killed and started again."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import DOCS
from mmagic.registry import DATASETS
from mmengine.config import Config
from PIL import Image

from glean_plus.prepare import SETS, DataError, Item, Settings, prepare
from glean_plus.prepare.decode import PictureError, decode
from glean_plus.prepare.fit import fit_to
from glean_plus.prepare.items import refuse_doubles, safe_name
from glean_plus.prepare.readers.published import surname

from conftest import CONFIGS, forked, is_running, load_tool, run_tool
from layouts import LAYOUTS, VAL, WNIDS, cat, encoded, imagenet, imagenet_val_flat, lfw, photo, put, put_lmdb


def tool(*arguments: object) -> int:
    return load_tool('prepare_data').main(['--workers', '1', *map(str, arguments)])


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def words(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text().splitlines()]


def problems(out: Path) -> dict[str, str]:
    """File -> problem."""
    with open(out / 'problems.csv', newline='') as file:
        return {row['file']: row['problem'] for row in csv.DictReader(file)}


def tree(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob('*')) if path.is_file()}


def listed(name: str, root: Path, **options: Any) -> list[Item]:
    from glean_plus.prepare.run import listing_of

    return listing_of(root, Settings.of(name, **options)).items


@pytest.mark.parametrize(('name', 'make', 'expected'), LAYOUTS, ids=lambda value: getattr(value, '__name__', None))
def test_layout(name: str, make: Callable[[Path], None], expected: list[str], tmp_path: Path) -> None:
    make(tmp_path / 'source')
    items = listed(name, tmp_path / 'source', size=64, scales=[])
    assert [item.name for item in items] == expected
    if name.startswith('imagenet'):
        assert all(WNIDS[item.label] == item.name.split('/')[0] for item in items)
    if name == 'celeba-hq':  # the order of the images, whatever they are numbered from
        from glean_plus.prepare.decode import read

        expected_means = [photo(64, 64, seed).mean() for seed in (0, 1, 2, 10)]
        assert np.allclose([read(item).mean() for item in items], expected_means, atol=0.5)


def test_every_set_has_a_layout_here_and_the_folders_of_its_configs() -> None:
    assert {name for name, _, _ in LAYOUTS} == set(SETS)
    asked = set()
    for path in CONFIGS.glob('glean_*.py'):
        config = Config.fromfile(path)
        for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
            for each in loader if isinstance(loader, list) else [loader]:
                data = each.dataset
                if 'twemoji' not in data.data_root and 'photos/' not in data.data_root:  # which have tools of their own
                    folders = data.data_prefix
                    asked.add((data.data_root, data.get('ann_file'), folders.get('gt', ''), folders.get('img')))
    made = {each.out: each for each in SETS.values()}
    # Folders of one's own, as the guide makes them.
    text = (DOCS / 'training' / 'own-images.md').read_text()
    guide = re.findall(r'prepare folder \S+ (\S+) .*--scales ([\d ]+)', text)
    made |= {out: replace(SETS['folder'], scales=tuple(map(int, scales.split()))) for out, scales in guide}
    assert {root for root, *_ in asked} <= set(made)
    for root, meta, gt, low in asked:
        assert meta in (None, made[root].meta, made[root].labels), root
        assert made[root].gt == gt, root
        assert low in (None, '', *(f'BIx{scale}_down' for scale in made[root].scales)), root
        if meta is None:
            assert made[root].gt == '' and made[root].size is None


# ---- what becomes of an image


def test_pictures_are_cut_resized_and_shrunk_by_the_right_kernel(tmp_path: Path) -> None:
    """Against torch's own antialiased bicubic, which has MATLAB's kernel and differs at the border only."""
    image = photo(96, 160)
    put(tmp_path / 'source' / 'a.png', image)
    assert tool('folder', tmp_path / 'source', tmp_path / 'out', '--size', 64, '--scales', 4) == 0
    made, low = pixels(tmp_path / 'out' / 'GT' / 'a.png'), pixels(tmp_path / 'out' / 'BIx4_down' / 'a.png')
    for result, origin, size in ((made, image[:, 32:128], 64), (low, made, 16)):
        origin = torch.from_numpy(origin.copy()).permute(2, 0, 1)[None].float()
        expected = torch.nn.functional.interpolate(origin, (size, size), mode='bicubic', antialias=True)
        error = np.abs(expected[0].permute(1, 2, 0).numpy() - result)[2:-2, 2:-2]
        assert result.shape == (size, size, 3) and error.max() < 0.55
    assert (tmp_path / 'out' / 'meta_info_GT.txt').read_text() == 'a.png (64,64,3)\n'


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    image = photo(32, 32)
    assert (fit_to(image, 32, 'crop') == image).all()


def test_fits() -> None:
    """A ramp from left to right shows what is used: all of it, the middle square, or the middle at 4:3."""
    ramp = np.broadcast_to(np.linspace(0, 200, 400), (100, 400))[..., None].repeat(3, 2).round().astype(np.uint8)
    middle, whole, wide = (fit_to(ramp, 64, fit) for fit in ('crop', 'squeeze', 'wide'))
    for image, share in ((middle, 1 / 4), (whole, 1), (wide, 1 / 3)):
        row = image[32, :, 0].astype(int)
        assert abs(row[-3] - row[2] - 200 * share * 59 / 64) < 3
    assert (wide[:8] == 0).all() and (wide[-8:] == 0).all() and wide[8:-8].min() > 50  # 64 x 48 within 64 x 64


def test_decoding(tmp_path: Path) -> None:
    image = photo(20, 30)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    assert decode(encoded(image, 'JPEG', exif=turned)).shape == (30, 20, 3)
    clear = np.dstack([image, np.zeros((20, 30), np.uint8)])
    assert (decode(encoded(clear, 'PNG')) == 255).all()
    assert (decode(encoded(image[..., 0], 'PNG')) == image[..., :1]).all()
    assert decode(encoded(np.dstack([image, image[..., 0]]), 'PNG')).shape == (20, 30, 3)
    cmyk = io.BytesIO()
    Image.fromarray(image).convert('CMYK').save(cmyk, 'JPEG')
    assert np.abs(decode(cmyk.getvalue()).astype(int) - image).mean() < 12
    for data, kind in (
        (b'', 'unreadable'), (b'<html>', 'unreadable'), (encoded(image)[:-200], 'truncated'),
        (encoded(image, 'PNG')[:200], 'truncated'), (encoded(image, 'WEBP')[:60], 'unreadable'),
        (encoded(image[..., 0].astype(np.uint16) * 256, 'PNG'), 'unreadable'),
    ):  # fmt: skip
        with pytest.raises(PictureError) as error:
            decode(data)
        assert error.value.kind == kind, data[:8]


def test_names() -> None:
    assert safe_name('ä/写 1\n.x') == 'ä/写%201%0A.x'
    assert len({safe_name(name) for name in ('a b', 'a%20b', 'a\u00a0b', 'a\u2028b', 'a\udcffb')}) == 5
    assert safe_name('a\udcffb') == 'a%FFb'
    with pytest.raises(DataError, match='x/1.jpg and y/1.jpg would both become 1.png'):
        refuse_doubles([Item('1', 'x/1.jpg', ''), Item('1', 'y/1.jpg', '')])
    people = ['Woody_Allen', 'Abdel_Aziz_Al-Hakim', 'Aaron_Eckhart', 'Larry_Abel_Jr', 'Abdullah', 'George_W_Bush']
    assert [surname(person) for person in people] == ['Allen', 'Al-Hakim', 'Eckhart', 'Abel', 'Abdullah', 'Bush']


# ---- files that are left out


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Two good images and one of each fault."""
    root = tmp_path / 'source'
    put(root / 'good1.jpg', photo(70, 70))
    put(root / 'sub' / 'good2.jpg', photo(64, 100, 1))
    cut = put(root / 'cut.jpg', photo(64, 64, 2))
    (root / 'cut.jpg').write_bytes(cut[: len(cut) // 2])
    (root / 'empty.png').write_bytes(b'')
    (root / 'page.jpg').write_text('<html>404</html>')
    put(root / 'small.jpg', photo(63, 500, 3))
    put(root / 'gray.jpg', photo(64, 64, 4, gray=True))
    put(tmp_path / 'outside.jpg', photo(64, 64))
    (root / 'link.jpg').symlink_to(tmp_path / 'outside.jpg')
    (root / 'inside.jpg').symlink_to(root / 'good1.jpg')
    (tmp_path / 'other').mkdir()
    put(tmp_path / 'other' / '1.jpg', photo(64, 64))
    (root / 'linked').symlink_to(tmp_path / 'other')
    (root / 'loop').symlink_to(root)
    return root


FAULTS = {
    'cut.jpg': 'truncated', 'empty.png': 'unreadable', 'page.jpg': 'unreadable', 'small.jpg': 'tiny',
    'gray.jpg': 'gray', 'link.jpg': 'link', 'linked': 'link', 'loop': 'link',
}  # fmt: skip


def test_problems_are_named_and_nothing_is_half_written(faulty: Path, capsys: pytest.CaptureFixture) -> None:
    out = faulty.parent / 'out'
    ask = ('folder', faulty, out, '--size', 64, '--scales', 8)
    assert tool(*ask) == 1
    assert problems(out) == FAULTS
    said = capsys.readouterr().out
    assert all(f'  {name}: {problem}: ' in said for name, problem in FAULTS.items())
    assert 'small.jpg: tiny: 500x63: 63 px used, below 64' in said and '--allow-problems 8' in said
    assert not list(out.glob('meta_info*'))
    good = {'good1.png', 'inside.png', 'sub/good2.png'}
    assert {name for name in tree(out) if name.endswith('.png')} == {
        f'{folder}/{name}' for folder in ('GT', 'BIx8_down') for name in good
    }
    assert tool(*ask, '--allow-problems', 7) == 1 and not list(out.glob('meta_info*'))
    assert tool(*ask, '--allow-problems', 8) == 0
    assert set(words(out / 'meta_info_GT.txt')) == good


def test_check_reads_all_and_writes_nothing(faulty: Path, capsys: pytest.CaptureFixture) -> None:
    before = tree(faulty.parent)
    assert tool('folder', faulty, '--size', 64, '--check', '--keep-gray') == 1
    said = capsys.readouterr().out
    assert all(f'  {name}: {problem}: ' in said for name, problem in FAULTS.items())
    assert tree(faulty.parent) == before
    assert tool('folder', faulty, '--size', 64, '--check', '--allow-problems', 8) == 0


def test_faults_in_a_database(tmp_path: Path) -> None:
    good = encoded(photo(70, 70), 'WEBP')
    entries = dict(good=good, cut=good[:60], empty=b'x', small=encoded(photo(32, 80), 'WEBP'),
                   gray=encoded(photo(64, 64, gray=True), 'WEBP'))  # fmt: skip
    put_lmdb(tmp_path / 'lsun' / 'cat', entries)
    assert tool('lsun-cat', tmp_path / 'lsun', tmp_path / 'out', '--size', 64, '--scales', 8, '--no-keep-gray') == 1
    assert problems(tmp_path / 'out') == dict(cut='unreadable', empty='unreadable', small='tiny', gray='gray')
    assert list(tree(tmp_path / 'out' / 'GT')) == ['good.png']
    data = tmp_path / 'lsun' / 'cat' / 'data.mdb'
    (tmp_path / 'short').mkdir()
    (tmp_path / 'short' / 'data.mdb').write_bytes(data.read_bytes()[:-4096])
    with pytest.raises(DataError, match=r'has \d+ bytes, not \d+: download it again'):
        listed('lsun-cat', tmp_path / 'short')
    (tmp_path / 'short' / 'data.mdb').write_bytes(b'<html>' * 9999)
    with pytest.raises(DataError, match='no lmdb database'):
        listed('lsun-bedroom', tmp_path / 'short')


# ---- options


def test_options_choose_pictures(tmp_path: Path) -> None:
    lfw(tmp_path / 'lfw')
    assert [item.name for item in listed('lfw', tmp_path / 'lfw', subset='name')] == [
        'Aaron_Eckhart_0001', 'Abdel_Aziz_Al-Hakim_0001']  # fmt: skip
    assert len(listed('lfw', tmp_path / 'lfw', subset='all')) == 5
    for number in range(105):
        put(tmp_path / 'cat' / 'CAT_00' / f'{number:08d}_000.jpg', photo(4, 4))
    assert len(listed('cat', tmp_path / 'cat')) == 100  # the paper's test set
    assert len(listed('cat', tmp_path / 'cat', limit=3)) == 3
    assert len(listed('cat', tmp_path / 'cat', limit=0)) == 105
    names = tmp_path / 'meta_info_Cat100_GT.txt'
    names.write_text('00000104_000.png (256,256,3)\n00000002_000.png (256,256,3)\n00000999_000.png (256,256,3)\n')
    assert [item.name for item in listed('cat', tmp_path / 'cat', names=names)] == ['00000104_000', '00000002_000']
    assert tool('cat', tmp_path / 'cat', tmp_path / 'out', '--names', names, '--min-size', 4) == 1
    assert problems(tmp_path / 'out') == {'00000999_000.png': 'missing'}
    assert pixels(tmp_path / 'out' / 'GT' / '00000104_000.png').shape == (256, 256, 3)  # enlarged, as asked


def test_numbers_that_the_paper_takes_are_missed_by_number(tmp_path: Path) -> None:
    for number in (1, 3, 4):
        put(tmp_path / 'a' / f'{number:06d}.jpg', photo(64, 64))
    assert tool('celeba', tmp_path / 'a', tmp_path / 'out', '--limit', 3) == 1
    assert problems(tmp_path / 'out') == {'number 2': 'missing'}
    assert {name for name in tree(tmp_path / 'out') if name.endswith('.png')} == {'000001.png', '000003.png'}


def test_gray_is_kept_on_request(faulty: Path) -> None:
    for name in FAULTS:
        if name != 'gray.jpg':
            (faulty / name).unlink()
    assert tool('folder', faulty, faulty.parent / 'out', '--size', 64, '--keep-gray') == 0
    assert 'gray.png' in words(faulty.parent / 'out' / 'meta_info_GT.txt')


def test_a_folder_of_gray_photographs_has_a_way_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As its owner meets it: left out by default, with the option that takes them, which may be given afterwards."""
    for index in range(3):
        image = Image.fromarray(photo(64, 64, index, gray=True)).convert('L')
        (tmp_path / 'source').mkdir(exist_ok=True)
        image.save(tmp_path / 'source' / f'{index}.png')
    put(tmp_path / 'source' / 'colored.jpg', photo(64, 64))
    out = tmp_path / 'out'
    ask = ('folder', tmp_path / 'source', out, '--size', 64, '--scales', 4)
    assert tool(*ask) == 1
    said = capsys.readouterr().out
    assert '3 gray' in said and 'give the same command with --keep-gray' in said and not list(out.glob('meta_info*'))
    assert tool(*ask, '--keep-gray') == 0
    said = capsys.readouterr().out
    assert '4 images in' in said and '3 of them new' in said and 'keep-gray' not in said
    assert set(words(out / 'meta_info_GT.txt')) == {'0.png', '1.png', '2.png', 'colored.png'}
    for place, side in (('GT', 64), ('BIx4_down', 16)):
        assert pixels(out / place / '0.png').shape == (side, side, 3)
    assert json.loads((out / 'prepared.json').read_text())['keep_gray'] is True
    # What is taken is not dropped in silence.
    assert tool(*ask) == 2
    assert 'keep_gray=True, not False: give the options that it was prepared with' in capsys.readouterr().err
    assert tool('folder', tmp_path / 'source', '--size', 64, '--check', '--keep-gray') == 0
    assert 'Gray images are taken' in capsys.readouterr().out
    assert tool('folder', tmp_path / 'source', '--size', 64, '--check') == 1


@pytest.mark.parametrize(('options', 'message'), [
    (('folder',), 'folder: give --size'),
    (('cat', '--size', 100), '--scales [8, 16] do not divide --size 100'),
    (('lfw', '--scales', 8), '--scales: lfw is restored as it is'),
    (('lfw', '--fit', 'wide'), '--fit is of no use without --size'),
    (('cat', '--fit', 'wide', '--size', 12, '--scales', 4), '--fit wide needs a --size that 8 divides'),
    (('cat', '--subset', 'name'), '--subset is for lfw'),
    (('cat', '--limit', -1), '--limit is -1'),
    (('cat', '--min-size', 0), '--min-size is 0'),
    (('cat', '--names', 'nowhere.txt'), '--names: nowhere.txt is no file'),
    (('cat', '--check'), 'leave OUT away'),
    (('cat', '--workers', 0), '--workers is 0'),
])  # fmt: skip
def test_contradictions_are_refused(
    options: tuple, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as error:
        tool(options[0], tmp_path, tmp_path / 'out', *options[1:])
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_wrong_place_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = tmp_path / 'source'
    cat(source)
    for name, where, out, message in (
        ('cat', tmp_path / 'nowhere', tmp_path / 'out', 'is no folder'),
        ('ffhq', source, tmp_path / 'out', 'No images of ffhq'),
        ('imagenet', source, tmp_path / 'out', 'has none of the folders train, '),
        ('lsun-cat', source, tmp_path / 'out', 'no data.mdb in'),
        ('cat', source, source / 'out', 'lie in each other'),
        ('cat', source, tmp_path, 'lie in each other'),
    ):
        assert tool(name, where, out) == 2
        assert message in capsys.readouterr().err
        assert not out.exists() or out == tmp_path
    imagenet(tmp_path / 'flat')
    put(tmp_path / 'flat' / 'val' / 'ILSVRC2012_val_00000001.JPEG', photo(64, 64))
    assert tool('imagenet-val', tmp_path / 'flat', tmp_path / 'out') == 2
    assert 'names their classes' in capsys.readouterr().err
    put(tmp_path / 'full' / '1.png', photo(8, 8))
    assert tool('cat', source, tmp_path / 'full') == 2
    assert 'is not empty and has no prepared.json' in capsys.readouterr().err


# ---- stopped and started again


def test_other_settings_are_refused_and_scales_added(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cat(tmp_path / 'cat')
    ask = ('cat', tmp_path / 'cat', tmp_path / 'out', '--size', 64)
    assert tool(*ask, '--scales', 8) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('*.png')}
    capsys.readouterr()
    for other in (('--fit', 'squeeze'), ('--limit', 2), ('--min-size', 10), ('--no-keep-gray',), ('--size', 32)):
        assert tool(*ask, '--scales', 8, *other) == 2
        assert 'was prepared with' in capsys.readouterr().err
    assert tool(*ask, '--scales', 16) == 0
    assert '3 images in' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert pixels(tmp_path / 'out' / 'BIx16_down' / '00000001_000.png').shape == (4, 4, 3)
    assert json.loads((tmp_path / 'out' / 'prepared.json').read_text())['scales'] == [8, 16]


def _run(source: Path, out: Path) -> None:
    """In a process of its own."""
    os.setpgid(0, 0)
    sys.stderr = open(os.devnull, 'w')  # noqa: SIM115
    prepare(source, out, Settings.of('folder', 128, [8]), workers=2)


def test_killed_and_started_again_gives_what_an_undisturbed_run_does(tmp_path: Path) -> None:
    """A real SIGKILL in the middle, twice; the workers end, too, the next run only adds, and two work as one does."""
    source = tmp_path / 'source'
    for number in range(60):
        put(source / f'{number % 3}' / f'{number}.jpg', photo(700, 700, number))
    (source / 'bad.jpg').write_bytes(b'no image')
    settings = Settings.of('folder', 128, [8])
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    assert prepare(source, whole, settings, workers=1, allow_problems=1).pictures == 60
    made: dict[str, int] = {}
    for wanted in (3, 20):
        process = multiprocessing.get_context('fork').Process(target=_run, args=(source, out))
        process.start()
        end = time.time() + 30
        while len(list(out.rglob('GT/**/*.png'))) < wanted and process.is_alive() and time.time() < end:
            time.sleep(0.002)
        assert process.is_alive(), 'it was done before it could be killed'
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        while workers_of(process.pid) and time.time() < end:
            time.sleep(0.01)
        if left := workers_of(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        assert not left
        now = {str(path): path.stat().st_mtime_ns for path in out.rglob('*.png')}
        assert now.items() >= made.items() and wanted <= len(list(out.rglob('GT/**/*.png'))) < 60
        assert not list(out.glob('meta_info*'))
        made = now
    for name in made:  # every file that is there is whole
        Image.open(name).load()
    (out / 'GT' / '0' / '3.99.part').write_bytes(b'half')  # what a kill in the middle of a file leaves
    report = prepare(source, out, settings, workers=2, allow_problems=1)
    assert report.pictures == 60 and 0 < report.new < 60
    assert {str(path): path.stat().st_mtime_ns for path in out.rglob('*.png')}.items() >= made.items()
    assert tree(out) == tree(whole)


def workers_of(group: int) -> list[str]:
    """Processes of this process group, but for those that have ended and are not collected yet (Linux)."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # ended meanwhile
            its_group = path.read_text().rpartition(')')[2].split()[2]
            if int(its_group) == group and is_running(path.parent.name):
                found.append(path.parent.name)
    return found


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    from glean_plus.prepare.run import only_one

    cat(tmp_path / 'cat')
    (tmp_path / 'out').mkdir()
    with only_one(tmp_path / 'out'), pytest.raises(DataError, match='by another process'):
        prepare(tmp_path / 'cat', tmp_path / 'out', Settings.of('cat', 64, []))


# ---- the configs read it


def sample(config: Config, root: Path, size: int | None = None) -> dict[str, Any]:
    """The first sample of the test set, and how many there are."""
    loader = config.test_dataloader
    data = (loader[0] if isinstance(loader, list) else loader).dataset
    data.data_root = str(root)
    dataset = DATASETS.build(data)
    return dict(dataset[0], count=len(dataset))


def test_a_config_reads_what_was_prepared(tmp_path: Path) -> None:
    cat(tmp_path / 'cat')
    assert tool('cat', tmp_path / 'cat', tmp_path / 'out', '--min-size', 64) == 0
    for name, side in (('glean_cat_16x', 16), ('lightglean_cat_8x', 32)):
        got = sample(Config.fromfile(CONFIGS / f'{name}.py'), tmp_path / 'out')
        assert got['count'] == 3 and got['inputs'].shape == (3, side, side)
        truth = pixels(tmp_path / 'out' / 'GT' / '00000001_000.png')
        assert torch.equal(got['data_samples'].gt_img, torch.from_numpy(truth.copy()).permute(2, 0, 1))


def test_the_blind_configs_read_photographs_as_they_are(tmp_path: Path) -> None:
    lfw(tmp_path / 'source')
    assert tool('lfw', tmp_path / 'source', tmp_path / 'out') == 0
    source = decode((tmp_path / 'source' / 'lfw' / 'Woody_Allen' / 'Woody_Allen_0002.jpg').read_bytes())
    assert (pixels(tmp_path / 'out' / 'Woody_Allen_0002.png') == source).all()
    assert 'Woody_Allen_0001.png (250,250,3)' in (tmp_path / 'out' / 'meta_info_LFW_a.txt').read_text()
    got = sample(Config.fromfile(CONFIGS / 'glean_face_blind.py'), tmp_path / 'out')
    assert got['count'] == 3 and got['inputs'].shape == (3, 128, 128)


def test_labels_of_imagenet(tmp_path: Path) -> None:
    imagenet_val_flat(tmp_path / 'source')
    out = tmp_path / 'out'
    assert tool('imagenet-val', tmp_path / 'source', out, '--size', 64, '--scales', 4) == 0
    lines = [f'{name}.png {label}' for label, name in enumerate(VAL)]
    assert (out / 'labels_ImageNet_val_GT.txt').read_text().splitlines() == lines
    meta = (out / 'meta_info_ImageNet_val_GT.txt').read_text().splitlines()
    assert meta == [line.replace('.png ', '.png (64,64,3) ') for line in lines]
    dataset = DATASETS.build(dict(
        type='BasicConditionalDataset', data_root=str(out), data_prefix='GT', ann_file='labels_ImageNet_val_GT.txt',
        pipeline=[dict(type='LoadImageFromFile', key='gt'), dict(type='PackInputs')]))  # fmt: skip
    assert [dataset[index]['data_samples'].gt_label.label.item() for index in range(3)] == [0, 1, 2]


def test_the_command_itself(tmp_path: Path) -> None:
    """As a process, with names that no terminal can show, and so with an end of 1."""
    put(tmp_path / 'source' / os.fsdecode(b'\xff.jpg'), photo(64, 64))
    (tmp_path / 'source' / os.fsdecode(b'\xfe.jpg')).write_bytes(b'')
    arguments = ['folder', str(tmp_path / 'source'), str(tmp_path / 'out'), '--size', '32']

    def run() -> None:
        with pytest.raises(AssertionError, match=': 1$'):
            run_tool('prepare_data', arguments, pytest.MonkeyPatch())

    said = forked(run, cwd=tmp_path)
    assert '1 unreadable' in said and '\\xfe.jpg: unreadable: empty' in said
    assert list(tree(tmp_path / 'out' / 'GT')) == ['%FF.png']
