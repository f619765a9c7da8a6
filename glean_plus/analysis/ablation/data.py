"""The images to inspect with: of a config's data sets, or of a folder, through the config's pipeline either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate
from torch.utils.data import ConcatDataset

from glean_plus.analysis.errors import InspectionError
from glean_plus.prepare.decode import PictureError, read_image
from glean_plus.prepare.files import images_below
from glean_plus.prepare.fit import fit_to
from glean_plus.prepare.images import bad_scales, save, shrink
from glean_plus.prepare.items import DataError
from glean_plus.registry import DATASETS

SETS = ('test', 'val')


@dataclass(frozen=True)
class Source:
    """Data sets one after the other, as one."""

    sets: Sequence[Any]  # MMagic's data sets
    names: Sequence[str]  # of each image, unique

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, index: int) -> Mapping[str, Any]:
        """One image as a loader gives it, a batch of its own.

        Raises:
            InspectionError: If it cannot be loaded.
        """
        try:
            return pseudo_collate([ConcatDataset(self.sets)[index]])
        except (OSError, AttributeError, DataError) as error:  # MMagic's readers fail a step later, on None
            raise InspectionError(f'{self.names[index]} cannot be loaded: {error}') from error

    def choose(self, indices: Sequence[int] | None, number: int) -> list[int]:
        """The given indices, or ``number`` of all, evenly spread; 0 means all.

        Raises:
            InspectionError: If there is no such image, or an index comes twice.
        """
        if indices is None:
            if number < 0:
                raise InspectionError(f'The number of images must be positive, or 0 for all, but is {number}.')
            count = min(number or len(self), len(self))
            return [place * len(self) // count for place in range(count)]
        if outside := [index for index in indices if not 0 <= index < len(self)]:
            raise InspectionError(f'There are images 0 to {len(self) - 1}, but {outside} are asked for.')
        if len({*indices}) < len(indices):
            raise InspectionError(f'Each image can be asked for once, but the indices are {list(indices)}.')
        return list(indices)


def _loaders(config: Mapping[str, Any], which: str) -> list[Mapping[str, Any]]:
    loaders = config.get(f'{which}_dataloader')
    if not loaders:
        raise InspectionError(f'The config has no {which}_dataloader.')
    return [loaders] if isinstance(loaders, Mapping) else list(loaders)


def _unique(names: Sequence[str]) -> list[str]:
    """With a number behind each that has come before."""
    taken: set[str] = set()
    result = []
    for name in names:
        count, unique = 1, name
        while unique in taken:
            count, unique = count + 1, f'{name}_{count + 1}'
        taken.add(unique)
        result.append(unique)
    return result


def config_source(config: Mapping[str, Any], which: str = 'test') -> Source:
    """The config's own data: of ``test_dataloader`` or ``val_dataloader``, all of its sets.

    Raises:
        InspectionError: If they are not there.
    """
    sets = []
    for loader in _loaders(config, which):
        try:
            sets.append(DATASETS.build(dict(loader['dataset'])))
        except (OSError, KeyError, DataError) as error:
            raise InspectionError(
                f'The data of {which}_dataloader cannot be read ({error}): prepare them, set their data_root, or give '
                'a folder of images.'
            ) from error
    paths = [dataset.get_data_info(index) for dataset in sets for index in range(len(dataset))]
    names = [Path(str(info.get('key') or info.get('img_path') or index)).stem for index, info in enumerate(paths)]
    if not names:
        raise InspectionError(f'There are no images in the data of {which}_dataloader.')
    return Source(sets, _unique(names))


def folder_source(
    config: Mapping[str, Any],
    folder: Path,
    scratch: Path,
    which: str = 'test',
    indices: Sequence[int] | None = None,
    number: int = 0,
) -> Source:
    """Images of a folder, of any size, as if they were the config's data.

    What the config's first data set reads is made of them. Ground truths are their middle squares at the
    model's output size. Inputs are their MATLAB-bicubic counterparts, where the set has files of them beside the
    ground truths, or, where it has nothing but inputs, the images as they are. The rest is the set's own pipeline, a
    degradation or a conversion to lightness included; what is sampled by the index of an image is sampled by its place
    among those that are taken.

    Args:
        folder: Images, in folders of any depth.
        scratch: Folder for files, which the data set reads later.
        indices, number: Which of the images to take, as for :meth:`Source.choose`.

    Raises:
        InspectionError: If there are no images, one cannot be read, or the data set does not read files so.
    """
    if not folder.is_dir():
        raise InspectionError(f'There is no folder {folder}.')
    paths, _ = images_below(folder)
    if not paths:
        raise InspectionError(f'There are no images in {folder}.')
    names = _unique([Path(path).stem for path in paths])
    chosen = Source((), names).choose(indices, number)
    paths, names = ([each[index] for index in chosen] for each in (paths, names))
    dataset = dict(_loaders(config, which)[0]['dataset'])
    prefixes = set(dataset.get('data_prefix') or ())
    if not prefixes or not prefixes <= {'img', 'gt'}:
        raise InspectionError(
            f'The data set of {which}_dataloader, {dataset.get("type")}, has not `img` and `gt` in data_prefix, so '
            'that a folder cannot take its place: leave the folder out.'
        )
    generator = config['model']['generator']
    if generator.get('given_class'):
        raise InspectionError("The model is given classes, which a folder's images lack: leave the folder out.")
    if 'bank' not in generator:
        raise InspectionError(f'A {generator.get("type")} has no bank: there is nothing to inspect.')
    in_size, out_size = generator['in_size'], generator['bank']['out_size']
    scale = out_size // in_size
    if prefixes == {'img', 'gt'} and (in_size * scale != out_size or bad_scales(out_size, [scale])):
        raise InspectionError(f'Inputs of {in_size} px cannot be made of ground truths of {out_size} px.')
    for prefix in prefixes:
        (scratch / prefix).mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(paths):
        given = _read(folder / path)
        files = dict(img=given)
        if 'gt' in prefixes:
            truth = fit_to(given, out_size, 'crop')
            files = dict(gt=truth, img=shrink(truth, scale)) if 'img' in prefixes else dict(gt=truth)
        for prefix, image in files.items():
            save(image, scratch / prefix / f'{index:06d}.png')
    (scratch / 'list.txt').write_text(''.join(f'{index:06d}.png\n' for index in range(len(paths))))
    dataset = {key: value for key, value in dataset.items() if key in ('pipeline', 'metainfo', 'test_mode')} | dict(
        type='BasicImageDataset',
        data_root=str(scratch),
        data_prefix={prefix: prefix for prefix in sorted(prefixes)},
        ann_file='list.txt',
    )
    return Source([DATASETS.build(dataset)], names)


def _read(path: Path) -> np.ndarray:
    try:
        return read_image(path)
    except PictureError as error:
        raise InspectionError(f'{path} cannot be read: {error.kind}: {error.detail}') from error
