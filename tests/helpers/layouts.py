"""Tiny data sets, each in the real one's layout, for the tests of tools/prepare_data.py."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image
from scipy.io import savemat


def photo(height: int, width: int, seed: int = 0, gray: bool = False) -> np.ndarray:
    """Smooth colours, as in a photograph, (H, W, 3) uint8."""
    small = np.random.default_rng(seed).integers(20, 236, (4, 5, 3), dtype=np.uint8)
    if gray:
        small[:] = small[..., :1]
    return np.asarray(Image.fromarray(small).resize((width, height), Image.BICUBIC))


def encoded(image: np.ndarray, form: str = 'JPEG', **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


def put(path: Path, image: np.ndarray) -> bytes:
    """Write an image in the form of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = encoded(image, 'PNG' if path.suffix == '.png' else 'JPEG')
    path.write_bytes(data)
    return data


def put_lmdb(folder: Path, entries: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key.encode(), value)


def ffhq(root: Path) -> None:
    put(root / 'images1024x1024' / '00000' / '00003.png', photo(64, 64))
    put(root / 'images1024x1024' / '01000' / '01000.png', photo(64, 64))
    (root / 'images1024x1024' / 'LICENSE.txt').write_text('CC')


def ffhq_flat(root: Path) -> None:
    put(root / 'images1024x1024' / '00003.png', photo(64, 64))
    put(root / 'images1024x1024' / '01000.png', photo(64, 64))


def celeba_mask_hq(root: Path) -> None:
    for number in (0, 1, 2, 10):
        put(root / 'CelebA-HQ-img' / f'{number}.jpg', photo(64, 64, number))
    put(root / 'CelebAMask-HQ-mask-anno' / '0' / '00000_hair.png', photo(64, 64))
    (root / 'CelebA-HQ-to-CelebA-mapping.txt').write_text('idx\n')


def celeba_hq_from_one(root: Path) -> None:
    for number in (1, 2, 3, 11):
        put(root / 'data1024x1024' / f'{number:05d}.jpg', photo(64, 64, number - 1))


def celeba_hq_png(root: Path) -> None:
    for number in (0, 1, 2, 10):
        put(root / f'{number:05d}.png', photo(64, 64, number))


def celeba_hq_arrays(root: Path) -> None:
    root.mkdir()
    for number in (0, 1, 2):
        np.save(root / f'imgHQ{number:05d}.npy', photo(64, 64, number).transpose(2, 0, 1)[None])
    np.savez(root / 'imgHQ00010.npz', photo(64, 64, 10))


def lfw(root: Path) -> None:
    for name in ('Aaron_Eckhart', 'Abdel_Aziz_Al-Hakim', 'Woody_Allen', 'George_W_Bush'):
        put(root / 'lfw' / name / f'{name}_0001.jpg', photo(250, 250))
    put(root / 'lfw' / 'Woody_Allen' / 'Woody_Allen_0002.jpg', photo(250, 250, 1))


def celeba(root: Path) -> None:
    for number in (1, 2, 3, 501):
        put(root / 'Img' / 'img_align_celeba' / f'{number:06d}.jpg', photo(218, 178))
    (root / 'Anno').mkdir()
    (root / 'Anno' / 'list_landmarks_align_celeba.txt').write_text('4\n')


KEYS = [f'{number:040x}' for number in (7, 3, 5)]


def lsun(folder: str) -> Callable[[Path], None]:
    """Objects are WebP, scenes JPEG."""

    def make(root: Path) -> None:
        form = 'JPEG' if '_' in folder else 'WEBP'
        put_lmdb(root / folder, {key: encoded(photo(64, 80, seed), form) for seed, key in enumerate(KEYS)})

    return make


def cat(root: Path) -> None:
    for folder, name in (('CAT_00', '00000001_000'), ('CAT_00', '00000001_005'), ('CAT_06', '00001450_002')):
        put(root / folder / f'{name}.jpg', photo(64, 80))
        (root / folder / f'{name}.jpg.cat').write_text('9 30 10 50 10 40 30 20 9 25 1 30 8 50 8 55 1 60 9 ')


def cars(root: Path) -> None:
    for folder in ('cars_train', 'cars_test'):
        for number in (1, 2) if folder == 'cars_test' else (3,):
            put(root / folder / f'{number:05d}.jpg', photo(64, 90))
    (root / 'devkit').mkdir()
    savemat(root / 'devkit' / 'cars_test_annos.mat', dict(annotations=np.zeros(1)))


WNIDS = ['n01440764', 'n01443537', 'n15075141']


def devkit(root: Path, ids: list[int]) -> None:
    """ILSVRC2012_devkit_t12: IDs in an order of their own, and synsets that are no classes."""
    classes = [(1, WNIDS[2], 'tissue', 0), (2, WNIDS[0], 'tench', 0), (3, WNIDS[1], 'goldfish', 0)]
    rows = [*classes, (4, 'n00001740', 'entity', 9)]
    types = [('ILSVRC2012_ID', 'O'), ('WNID', 'O'), ('words', 'O'), ('num_children', 'O')]
    data = root / 'ILSVRC2012_devkit_t12' / 'data'
    data.mkdir(parents=True)
    savemat(data / 'meta.mat', dict(synsets=np.array(rows, dtype=types)[:, None]))
    (data / 'ILSVRC2012_validation_ground_truth.txt').write_text(''.join(f'{each}\n' for each in ids))


def imagenet(root: Path) -> None:
    for wnid in reversed(WNIDS):
        put(root / 'train' / wnid / f'{wnid}_18.JPEG', photo(64, 70))


def imagenet_val_flat(root: Path) -> None:
    for number in (1, 2, 3):
        put(root / 'val' / f'ILSVRC2012_val_{number:08d}.JPEG', photo(64, 70))
    devkit(root, [3, 1, 2])


def imagenet_val_kaggle(root: Path) -> None:
    for number in (1, 2, 3):
        put(root / 'ILSVRC' / 'Data' / 'CLS-LOC' / 'val' / f'ILSVRC2012_val_{number:08d}.JPEG', photo(64, 70))
    wnids = enumerate((WNIDS[1], WNIDS[2], WNIDS[0]), 1)
    rows = ''.join(f'ILSVRC2012_val_{number:08d},{wnid} 1 2 3 4\n' for number, wnid in wnids)
    (root / 'LOC_val_solution.csv').write_text('ImageId,PredictionString\n' + rows)
    (root / 'LOC_synset_mapping.txt').write_text(''.join(f'{wnid} a, b\n' for wnid in WNIDS))


def imagenet_val_folders(root: Path) -> None:
    """A class without validation images, so that only the training folders tell the index."""
    imagenet(root)
    for number, wnid in ((1, WNIDS[1]), (2, WNIDS[2])):
        put(root / 'val' / wnid / f'ILSVRC2012_val_{number:08d}.JPEG', photo(64, 70))


def mine(root: Path) -> None:
    for name in ('a/1.jpg', 'b/1.jpg', 'b/1.png', 'Größe 5 %.JPG', '写真/猫.jpeg'):
        put(root / name, photo(64, 64))
    put(root / '.thumbnails' / '1.jpg', photo(8, 8))
    (root / 'notes.txt').write_text('x')


SORTED = sorted(KEYS)
HQ = ['00001', '00002', '00003', '00011']
VAL = [f'{wnid}/ILSVRC2012_val_{number:08d}' for wnid, number in zip(WNIDS, (3, 1, 2))]
LAYOUTS = [
    ('ffhq', ffhq, ['00003', '01000']),
    ('ffhq', ffhq_flat, ['00003', '01000']),
    ('celeba-hq', celeba_mask_hq, HQ),
    ('celeba-hq', celeba_hq_from_one, HQ),
    ('celeba-hq', celeba_hq_png, HQ),
    ('celeba-hq', celeba_hq_arrays, HQ),
    ('lfw', lfw, ['Abdel_Aziz_Al-Hakim_0001', 'Woody_Allen_0001', 'Woody_Allen_0002']),
    ('celeba', celeba, ['000001', '000002', '000003']),
    ('lsun-cat', lsun('cat'), SORTED),
    ('lsun-car', lsun('car'), SORTED),
    ('lsun-bedroom', lsun('bedroom_train_lmdb'), SORTED),
    ('lsun-bedroom-val', lsun('bedroom_val_lmdb'), SORTED),
    ('lsun-tower', lsun('tower_train_lmdb'), SORTED),
    ('lsun-tower-val', lsun('tower_val_lmdb'), SORTED),
    ('cat', cat, ['00000001_000', '00000001_005', '00001450_002']),
    ('cars', cars, ['00001', '00002']),
    ('imagenet', imagenet, [f'{wnid}/{wnid}_18' for wnid in WNIDS]),
    ('imagenet-val', imagenet_val_flat, VAL),
    ('imagenet-val', imagenet_val_kaggle, VAL),
    ('imagenet-val', imagenet_val_folders, VAL[1:]),
    ('folder', mine, ['Größe%205%20%25', 'a/1', 'b/1.jpg', 'b/1.png', '写真/猫']),
]  # fmt: skip
