"""Data sets whose files may be broken, and one that MMagic lacks."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmagic.datasets import BasicImageDataset
from mmagic.structures import DataSample
from mmengine.fileio import LocalBackend, list_from_file
from mmengine.logging import print_log
from torch import Tensor

from glean_plus.datasets.transforms.seeded import NumberedIndex
from glean_plus.prepare.decode import PictureError
from glean_plus.prepare.items import DataError
from glean_plus.registry import DATASETS
from glean_plus.utils.files import is_file
from glean_plus.utils.random_state import random_states, set_random_states

SHOWN = 5  # of the files that an error names
TRIES = 100  # images that are looked at for one that can stand in
BROKEN = 'broken'  # key of a sample's metainfo

Shapes = dict[str, tuple[int, ...]]


def some(names: Sequence[str]) -> str:
    """The first few of them."""
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return '; '.join(names[:SHOWN]) + more


def shapes_of(sample: Mapping[str, Any]) -> Shapes:
    """(C, H, W) of the input ``img`` and the ground truth ``gt`` of a sample, of those that it has."""
    found = dict(img=sample.get('inputs'), gt=getattr(sample.get('data_samples'), 'gt_img', None))
    return {key: tuple(value.shape) for key, value in found.items() if isinstance(value, Tensor)}


def sizes(shapes: Shapes) -> str:
    """Width and height, for people."""
    names = dict(img='input', gt='ground truth')
    return ', '.join(f'{names[key]} {shape[-1]}x{shape[-2]}' for key, shape in shapes.items())


@DATASETS.register_module()
class PictureDataset(BasicImageDataset):
    """MMagic's ``BasicImageDataset``, of local files that may be broken.

    What shows without reading images is refused when the data set is built: a list or folder that does not exist or
    is empty, an image without its file, a file without its partner, a folder named like an image.

    An image that ``LoadPicture`` cannot read, or whose sample has another size than the first one's, is broken. In
    training another image, chosen by the index alone, stands in for it, and the sample's metainfo has ``broken``,
    texts that say what and why, for :class:`~glean_plus.training.DataHook` to count. With ``test_mode=True``, for
    validation and tests, samples may differ in size, and a broken image is an error, which names those after it, too.

    Args:
        **kwargs: As ``BasicImageDataset``: ``data_root``, ``data_prefix``, ``ann_file``, ``pipeline`` and so on.

    Raises:
        DataError: See above; the message names files and says what to do. When indexed, too: on a broken image with
            ``test_mode``, else if none can be found to stand in.
    """

    shapes: Shapes
    #: With `test_mode`: says what is wrong with a sample of these shapes, None if nothing is.
    #: :class:`~glean_plus.training.DataHook` sets it to what the model takes.
    complaint: Callable[[Shapes], str | None] | None = None

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        super().full_init()
        self.shapes = {}
        if not self.test_mode:
            states = random_states()  # nothing uses what this samples
            self.shapes = shapes_of(self._sample(NumberedIndex(0, 0)))
            set_random_states(states)

    def __getitem__(self, index: int) -> Any:
        if not self.test_mode:
            return self._sample(index)
        try:
            return self._whole(index)
        except PictureError as error:
            found = [str(error), *filter(None, map(self.fault, range(index + 1, len(self))))]
        for text in found:
            print_log(f'A broken image: {text}', logger='current', level=logging.ERROR)
        raise DataError(
            f'{len(found)} images of {self.place} are broken or do not fit: {some(found)}. A test needs all of them: '
            'fix these, or take them out of the list. (`prepare_data --check` looks at a whole folder beforehand.)'
        )

    def fault(self, index: int) -> str | None:
        """What is wrong with an image in a test, and which it is; None if nothing is."""
        try:
            self._whole(index)
        except PictureError as error:
            return str(error)
        return None

    def _whole(self, index: int) -> Any:
        """For a test: the sample.

        Raises:
            PictureError: If it is broken or does not fit.
        """
        sample = super().__getitem__(index)
        if self.complaint is not None and (wrong := self.complaint(shapes_of(sample))):
            raise PictureError('size', wrong, self.name(index))
        return sample

    def _sample(self, index: int) -> Any:
        """For training: of the image, or of another one that stands in for it."""
        broken: list[str] = []
        for each in self._candidates(index):
            try:
                sample = self.prepare_data(each)
                if sample is None:  # a transform's word for another image
                    continue
                self._compare(sample, each)
            except PictureError as error:
                broken.append(str(error))
                continue
            if isinstance(sample.get('data_samples'), DataSample):
                sample['data_samples'].set_metainfo({BROKEN: broken})  # even none: a batch has the same keys
            return sample
        raise DataError(f'No image of {self.place} that was tried can be taken: {some(broken)}. Prepare them again.')

    def _candidates(self, index: int) -> Iterator[int]:
        """The index, and those that stand in for it."""
        yield index
        for other in random.Random(int(index)).sample(range(len(self)), min(TRIES, len(self))):
            yield NumberedIndex(other, index.draw) if isinstance(index, NumberedIndex) else other

    def _compare(self, sample: Mapping[str, Any], index: int) -> None:
        found = shapes_of(sample)
        if self.shapes and found != self.shapes:
            expected = f'{sizes(found)}, where the first has {sizes(self.shapes)}'
            raise PictureError('size', expected, self.name(index))

    def name(self, index: int) -> str:
        """The picture's file, of two the ground truth."""
        info = self.get_data_info(index)
        return info.get('gt_path') or info[f'{self.search_key}_path']

    # ---- what can be known without reading images

    @property
    def place(self) -> str:
        """The list, or the folder that is taken whole."""
        return self.ann_file if self.use_ann_file else self.data_prefix[self.search_key]

    def load_data_list(self) -> list[dict[str, Any]]:
        if not isinstance(self.file_backend, LocalBackend):
            return super().load_data_list()
        if self.use_ann_file and not os.path.isfile(self.ann_file):
            raise DataError(
                f'There is no list {self.ann_file}: `prepare_data` writes it with the images; ann_file has its name, '
                'and data_root says where.'
            )
        for key, folder in self.data_prefix.items():
            if not os.path.isdir(folder):
                raise DataError(
                    f'There is no folder {folder}: `prepare_data` makes it; data_root and data_prefix.{key} name it.'
                )
        try:
            images: list[dict[str, Any]] = super().load_data_list()
        except UnicodeDecodeError as error:
            raise DataError(f'{self.ann_file} is no list of images: it is no text in UTF-8.') from error
        if not images:
            raise DataError(f'There is no image in {self.place}: prepare the data again, or name another place.')
        self._refuse_lost(images)
        return images

    def _get_path_list_from_folder(self) -> list[str]:
        return sorted(super()._get_path_list_from_folder())  # else in the order of the disk

    def _refuse_lost(self, images: Sequence[Mapping[str, Any]]) -> None:
        paths = [image[f'{key}_path'] for image in images for key in self.data_prefix]
        files: dict[str, set[str]] = {}
        lost = []
        for folder, name in map(os.path.split, paths):
            if folder not in files:
                files[folder] = regular_files(folder)
            if name not in files[folder]:
                lost.append(f'{os.path.join(folder, name)} {what_it_is(os.path.join(folder, name))}')
        way = f'fix them, or take their lines out of {self.ann_file}'
        if not self.use_ann_file:
            used, way = set(paths), 'fix or remove them'
            for folder in dict.fromkeys(self.data_prefix.values()):
                lost += [f'{path} {what_it_is(path)}' for path in self._strays(folder) if path not in used]
        if lost:
            raise DataError(f'{self.place}: {some(list(dict.fromkeys(lost)))}. So {way}.')

    def _strays(self, folder: str) -> Iterator[str]:
        """Everything in a folder that is named like an image."""
        for parent, folders, names in os.walk(folder):
            for name in sorted([*folders, *names]):
                if name.endswith(self.img_suffix or '') and not name.startswith('.'):
                    yield os.path.join(parent, name)
            if not self.recursive:
                break


def regular_files(folder: str) -> set[str]:
    """Names of the files in a folder, if it is one; what a link leads to counts."""
    if not os.path.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if is_file(entry)}


def what_it_is(path: str) -> str:
    """What a path is, for the sentence that it cannot be taken."""
    if os.path.isdir(path):
        return 'is a folder'
    if os.path.isfile(path):
        return 'has no partner'
    if os.path.islink(path):
        return 'is a link that leads nowhere'
    return 'is no regular file' if os.path.exists(path) else 'does not exist'


@DATASETS.register_module()
class LabeledImageDataset(PictureDataset):
    """A :class:`PictureDataset` with the class of each image as ``gt_label``.

    MMagic's ``BasicConditionalDataset`` has classes and one folder, so no pairs of input and ground truth.

    Args:
        ann_file: Lines ``PATH CLASS``, as ``BasicConditionalDataset`` reads; PATH is below each folder of
            ``data_prefix``, the class an index. Paths may have spaces.
        num_classes: The classes are 0 to below this, which is checked as the list is read: inside a network on a GPU
            a wrong index is an error that does not say where.
        **kwargs: As ``PictureDataset``.

    Raises:
        ValueError: Without ``ann_file``.
        DataError: If a line has no class, or one that does not exist; the file and the line are named.
    """

    def __init__(self, ann_file: str, num_classes: int, **kwargs: Any) -> None:
        if not ann_file:
            raise ValueError(f'{type(self).__name__} needs `ann_file`, which gives the class of each image.')
        self.num_classes = num_classes
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        images: list[dict[str, Any]] = super().load_data_list()
        labels = [label for _, label in self._entries]
        del self._entries  # of ImageNet, a million of them
        return [dict(image, gt_label=label) for image, label in zip(images, labels)]

    def _get_path_list_from_ann(self) -> list[str]:
        """What :meth:`load_data_list` of the base asks for; the base's own would cut a path at its first space."""
        lines = list_from_file(self.ann_file, backend_args=self.backend_args)
        self._entries = [self._entry(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        return [path for path, _ in self._entries]

    def _entry(self, line: str, number: int) -> tuple[str, int]:
        """Path and class of a line of the list."""
        words: Sequence[str] = line.rsplit(maxsplit=1)
        if len(words) == 2 and words[1].isdecimal() and int(words[1]) < self.num_classes:
            return words[0].replace('/', os.sep), int(words[1])
        raise DataError(
            f'{Path(self.ann_file)}, line {number}: {line!r} is not a path and a class from 0 to '
            f'{self.num_classes - 1}. `prepare_data` writes such lists as labels_*.txt.'
        )
