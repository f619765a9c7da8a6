"""ImageNet (ILSVRC 2012), 1,000 classes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from glean_plus.prepare.files import folder_of, images_below, shown
from glean_plus.prepare.items import DataError, Item, Listing
from glean_plus.utils.files import read_names

WNID = r'n\d{8}'
ROOTS = ('{split}', 'ILSVRC/Data/CLS-LOC/{split}', 'Data/CLS-LOC/{split}', 'ILSVRC2012_img_{split}')
DEVKITS = ('ILSVRC2012_devkit_t12/data', 'devkit/data', 'data', '.')
TRUTH = 'ILSVRC2012_validation_ground_truth.txt'


def read(source: Path, split: str) -> Listing:
    """`train/n01440764/n01440764_18.JPEG`; `val/` alike, or flat: `val/ILSVRC2012_val_00000001.JPEG`.

    Also in Kaggle's `ILSVRC/Data/CLS-LOC/`. An image's class is its wnid's place among the sorted wnids, as in BigGAN;
    it goes to a folder of its wnid.
    """
    root = folder_of(source, [each.format(split=split) for each in ROOTS], f'ImageNet {split}')
    paths, listing = images_below(root, rf'{WNID}/[^/]+|ILSVRC2012_val_\d{{8}}\.\w+', base=source)
    flat = [path for path in paths if '/' not in path]
    truth = validation_truth(source) if flat else {}
    wnids = {path: path.split('/')[0] if '/' in path else truth.get(Path(path).stem, '') for path in paths}
    if unknown := [path for path in flat if not wnids[path]]:
        raise DataError(f'ImageNet: no class for {unknown[0]} and {len(unknown) - 1} more: they are not in the list.')
    classes = class_list(source) or sorted(folders(root.with_name('train')) or {*truth.values(), *folders(root)})
    if strange := sorted({*wnids.values()} - {*classes}):
        raise DataError(f'ImageNet: the wnids {", ".join(strange[:5])} are not among the {len(classes)} classes.')
    if len(classes) != 1000:
        listing.notes.append(f'{len(classes)} classes, not 1,000: the labels do not fit a bank of all ImageNet.')
    index = {wnid: number for number, wnid in enumerate(classes)}
    for path in paths:
        wnid = wnids[path]
        name = f'{wnid}/{Path(path).stem}'
        listing.items.append(Item(name, shown(root / path, source), str(root / path), label=index[wnid]))
    listing.items.sort(key=lambda item: item.name)
    return listing


def folders(root: Path) -> list[str]:
    """The wnids that have a folder."""
    if not root.is_dir():
        return []
    return [path.name for path in root.iterdir() if path.is_dir() and re.fullmatch(WNID, path.name)]


def class_list(source: Path) -> list[str]:
    """The sorted wnids by Kaggle's `LOC_synset_mapping.txt` or the development kit's `meta.mat`; [] without either."""
    mapping = source / 'LOC_synset_mapping.txt'
    if mapping.is_file():
        return sorted(read_names(mapping))
    kit = [source / folder for folder in DEVKITS if (source / folder / 'meta.mat').is_file()]
    return sorted(synsets(kit[0] / 'meta.mat').values()) if kit else []


def synsets(path: Path) -> dict[int, str]:
    """ILSVRC2012_ID -> wnid of the classes, which are the leaves. The IDs are in no order that a network uses."""
    import numpy as np
    from scipy.io import loadmat

    table = np.atleast_1d(loadmat(str(path), squeeze_me=True)['synsets'])
    return {int(row['ILSVRC2012_ID']): str(row['WNID']) for row in table if int(row['num_children']) == 0}


def validation_truth(source: Path) -> dict[str, str]:
    """Stem of a validation image -> its wnid.

    From the development kit (`meta.mat` and the list of IDs, line 1 for ILSVRC2012_val_00000001), or from Kaggle's
    `LOC_val_solution.csv`.

    Raises:
        DataError: If neither is there.
    """
    for kit in (source / folder for folder in DEVKITS):
        if (kit / TRUTH).is_file() and (kit / 'meta.mat').is_file():
            wnids = synsets(kit / 'meta.mat')
            ids = [int(line) for line in (kit / TRUTH).read_text().split()]
            if strange := sorted({*ids} - {*wnids}):
                raise DataError(f'ImageNet: {kit / TRUTH} has the ID {strange[0]}, which meta.mat does not name.')
            return {f'ILSVRC2012_val_{number:08d}': wnids[each] for number, each in enumerate(ids, 1)}
    solution = source / 'LOC_val_solution.csv'
    if solution.is_file():
        with open(solution, newline='') as file:
            return {row['ImageId']: row['PredictionString'].split()[0] for row in csv.DictReader(file)}
    raise DataError(
        f'ImageNet: the validation images lie flat, and {source} has neither LOC_val_solution.csv nor the '
        f'development kit (ILSVRC2012_devkit_t12/data/ with {TRUTH} and meta.mat) that names their classes.'
    )
