"""The data sets of the paper's Table 2, and a folder of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from glean_plus.prepare.items import Listing
from glean_plus.prepare.readers import folder, imagenet, lsun, published


@dataclass(frozen=True)
class DataSet:
    """A data set: how it is read, and the form in which the configs read it."""

    read: Callable[..., Listing]  # source folder -> the images in it
    layout: str  # an image of it below the source folder
    out: str  # folder that the configs read
    meta: str  # name of the list of images
    size: int | None = 256  # side of the images in pixels; None leaves them as they are
    scales: tuple[int, ...] = (16,)  # factors of the low-resolution counterparts, `BIx{scale}_down`
    gt: str = 'GT'  # folder of the images within the prepared set; '' is the set's own
    labels: str | None = None  # name of the list of classes, for sets that have them
    limit: int | None = None  # how many images the paper takes, the first ones; None is all
    numbered: bool = False  # whether the names are numbers from 1 that `limit` goes by
    enlarge: int = 1  # how far an image may be enlarged before it is tiny
    # Whether gray images belong to the set, as they do where a published list names every image, or where a test
    # set would shrink. They are no use to colorization.
    keep_gray: bool = True


def _lsun(
    category: str, split: str, layout: str, size: int = 256, scales: tuple[int, ...] = (16,), limit: int | None = None
) -> DataSet:
    test = split == 'val'
    return DataSet(
        partial(lsun.read, category=category, split=split),
        layout,
        f'data/{category}_{"test" if test else "train"}',
        f'meta_info_LSUN{category}_{"val100_" if test else ""}GT.txt',
        size=size,
        scales=scales,
        limit=limit)  # fmt: skip


def _imagenet(split: str, out: str, infix: str, layout: str) -> DataSet:
    return DataSet(
        partial(imagenet.read, split=split),
        layout,
        out,
        f'meta_info_ImageNet_{infix}GT.txt',
        scales=(4, 8),
        labels=f'labels_ImageNet_{infix}GT.txt',
        enlarge=2,  # ours: the paper is silent, and many are smaller than 256 px
        keep_gray=False)  # fmt: skip


FACES = partial(DataSet, size=1024, scales=(8, 16, 32, 64))
# Restored as they are: no ground truth, and nothing but images in the folder, which the blind configs read whole.
PHOTOS = partial(DataSet, size=None, scales=(), gt='', enlarge=8)

SETS = {
    'ffhq': FACES(
        published.ffhq, 'images1024x1024/00000/00000.png', 'data/ffhq', 'meta_info_FFHQ_GT.txt', gt='images'),
    'celeba-hq': FACES(
        published.celeba_hq, 'CelebA-HQ-img/0.jpg', 'data/CelebA-HQ', 'meta_info_CelebAHQ_val100_GT.txt',
        limit=100, numbered=True),
    'lfw': PHOTOS(
        published.lfw, 'lfw/Name_Surname/Name_Surname_0001.jpg', 'data/LFW_a', 'meta_info_LFW_a.txt'),
    'celeba': PHOTOS(
        published.celeba, 'img_align_celeba/000001.jpg', 'data/CelebA_500', 'meta_info_CelebA_500.txt',
        limit=500, numbered=True),
    'lsun-cat': _lsun('cat', 'train', 'cat/data.mdb', scales=(8, 16)),
    'cat': DataSet(
        published.cat, 'CAT_00/00000001_000.jpg', 'data/cat_test', 'meta_info_Cat100_GT.txt',
        scales=(8, 16), limit=100),
    'lsun-car': _lsun('car', 'train', 'car/data.mdb', size=512),
    # Most of them are smaller than the car bank's 512 px: enlarged up to twofold (ours).
    'cars': DataSet(
        published.cars, 'cars_test/00001.jpg', 'data/car_test', 'meta_info_Cars100_GT.txt',
        size=512, limit=100, enlarge=2),
    'lsun-bedroom': _lsun('bedroom', 'train', 'bedroom_train_lmdb/data.mdb'),
    'lsun-bedroom-val': _lsun('bedroom', 'val', 'bedroom_val_lmdb/data.mdb', limit=100),
    'lsun-tower': _lsun('tower', 'train', 'tower_train_lmdb/data.mdb'),
    'lsun-tower-val': _lsun('tower', 'val', 'tower_val_lmdb/data.mdb', limit=100),
    'imagenet': _imagenet('train', 'data/imagenet_train', '', 'train/n01440764/n01440764_18.JPEG'),
    'imagenet-val': _imagenet('val', 'data/imagenet_val', 'val_', 'val/ILSVRC2012_val_00000001.JPEG'),
    'folder': DataSet(
        folder.read, 'any folders', 'your choice', 'meta_info_GT.txt', size=None, scales=(), keep_gray=False),
}  # fmt: skip


def table() -> str:
    """One line a set, for the help text."""
    lines = []
    for name, each in SETS.items():
        size = str(each.size or '-')
        scales = ' '.join(map(str, each.scales)) or '-'
        count = f'first {each.limit}' if each.limit else 'all'
        lines.append(f'  {name:17}{each.layout:40}{size:6}{scales:12}{count:11}{each.out}')
    return '\n'.join(lines)
