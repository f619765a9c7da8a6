"""Published sets that are folders of image files; each function lists one as it lies on disk after unpacking."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from glean_plus.prepare.files import ENDINGS, folder_of, images_below, shown
from glean_plus.prepare.items import Item, Listing

CELEBA = tuple(
    f'{parent}{name}'
    for name in ('img_align_celeba_png', 'img_align_celeba/img_align_celeba', 'img_align_celeba', 'img_celeba')
    for parent in ('', 'Img/', 'celeba/')
)
SUFFIXES = {'Jr', 'Sr', 'II', 'III', 'IV'}  # of a person's name in LFW


def _listed(root: Path, source: Path, pattern: str, endings: Sequence[str] = ENDINGS) -> Listing:
    """The images below ``root``, a folder in ``source``, by the stems of their names."""
    paths, listing = images_below(root, pattern, endings, base=source)
    listing.items = [Item(Path(path).stem, shown(root / path, source), str(root / path)) for path in paths]
    return listing


def ffhq(source: Path) -> Listing:
    """FFHQ, 70,000 faces of 1024 px (https://github.com/NVlabs/ffhq-dataset).

    `images1024x1024/00000/00000.png` or, downloaded flat, `images1024x1024/00000.png`; or that folder itself. The names
    stay, as GLEAN's list has them: 00000.png.
    """
    return _listed(folder_of(source, ('images1024x1024', 'images', '.'), 'FFHQ'), source, r'(\d{5}/)?\d{5}\.\w+')


def celeba_hq(source: Path) -> Listing:
    """CelebA-HQ, 30,000 faces of 1024 px, in the forms that are about:

    - `CelebA-HQ-img/0.jpg` of CelebAMask-HQ, from 0;
    - `data1024x1024/00001.jpg` of the shared folder that GLEAN's authors name, from 1;
    - `00000.png`, or `imgHQ00000.npy` and `.npz` with one uint8 image, dumps of the original HDF5 file, from 0.

    They are renamed to count from 00001, as in GLEAN's list of its hundred test faces. A folder counts from 0 if it has
    an image 0, or if its numbers are not padded.
    """
    root = folder_of(source, ('CelebA-HQ-img', 'data1024x1024', 'celeba-1024', '.'), 'CelebA-HQ')
    listing = _listed(root, source, r'(imgHQ)?\d+\.\w+', (*ENDINGS, '.npy', '.npz'))
    digits = {item: re.sub(r'\D', '', item.name) for item in listing.items}
    from_zero = any(int(each) == 0 or (str(int(each)) == each and len(each) < 5) for each in digits.values())
    listing.items = [item._replace(name=f'{int(digits[item]) + from_zero:05d}')
                     for item in sorted(digits, key=lambda item: (int(digits[item]), item.path))]  # fmt: skip
    return listing


def celeba(source: Path) -> Listing:
    """CelebA, 202,599 faces (https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html).

    `img_align_celeba/000001.jpg` (aligned and cropped, 178 x 218) or `img_celeba/000001.jpg` (in the wild). Where both
    are there, the aligned are read; name the other folder itself to have it. The number is the ID, so the first 500 in
    order are the paper's IDs 1 to 500.
    """
    return _listed(folder_of(source, (*CELEBA, '.'), 'CelebA'), source, r'\d{6}\.\w+')


def surname(person: str) -> str:
    """`Abdel_Aziz_Al-Hakim` -> `Al-Hakim`; of a person with one name, that."""
    words = [word for word in person.split('_') if word not in SUFFIXES]
    return words[-1] if words else person


def lfw(source: Path, subset: str = 'surname') -> Listing:
    """Labeled Faces in the Wild, 13,233 faces of 250 px, and its subset "A": `lfw/Name_Surname/Name_Surname_0001.jpg`.

    Args:
        source: The folder with `lfw` in it, or that itself.
        subset: Who is taken. 'surname': those whose surname starts with A, the paper's words (section 5.5). 'name':
            those whose name does, which is what LFW's own `lfw-a.tgz` holds. 'all': everybody.
    """
    folders = ('lfw', 'lfw_funneled', 'lfw-deepfunneled/lfw-deepfunneled', 'lfw-deepfunneled', '.')
    listing = _listed(folder_of(source, folders, 'LFW'), source, r'([^/]+)/\1_\d{4}\.\w+')
    people = {item: Path(item.path).parent.name for item in listing.items}
    words = {item: {'surname': surname(person), 'name': person, 'all': 'A'}[subset] for item, person in people.items()}
    listing.items = [item for item, word in words.items() if word.upper().startswith('A')]
    return listing


def cat(source: Path) -> Listing:
    """CAT, about 10,000 cats (Zhang et al., ECCV 2008).

    `CAT_00` to `CAT_06`, each with `00000001_000.jpg` and `00000001_000.jpg.cat`, points of the head, not used here.
    The names stay, as in GLEAN's list of its hundred test cats.
    """
    root = source if (source / 'CAT_00').is_dir() else folder_of(source, ('cats', '.'), 'CAT')
    listing = _listed(root, source, r'(CAT_0\d/)?\d{8}_\d{3}\.\w+')
    listing.items.sort(key=lambda item: (Path(item.path).name, item.path))
    return listing


def cars(source: Path) -> Listing:
    """Stanford Cars, 16,185 cars (Krause et al., 3dRR 2013).

    `cars_test/00001.jpg`; where that is missing `cars_train/`, or `car_ims/000001.jpg`; or that folder itself. Whole
    images: the boxes and classes of `devkit/*.mat` are not used.
    """
    root = folder_of(source, ('cars_test', 'cars_train', 'car_ims', '.'), 'Stanford Cars')
    listing = _listed(root, source, r'(cars_\w+/)?\d{5,6}\.\w+')
    listing.notes.append(f'Reading {root}')
    return listing
