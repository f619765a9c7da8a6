"""Data sets that MMagic lacks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmagic.datasets import BasicImageDataset
from mmagic.registry import DATASETS
from mmengine.fileio import list_from_file


@DATASETS.register_module()
class LabeledImageDataset(BasicImageDataset):
    """Pictures of several folders, as MMagic's ``BasicImageDataset``, and the class of each as ``gt_label``.

    MMagic's ``BasicConditionalDataset`` has classes and one folder, so no pairs of input and truth.

    Args:
        ann_file: Lines ``PATH CLASS``, as ``BasicConditionalDataset`` reads; PATH is below each folder of
            ``data_prefix``, the class an index. Paths may have spaces.
        num_classes: The classes are 0 to below this, which is checked as the list is read: inside a network on a GPU
            a wrong index is an error that does not say where.
        **kwargs: As ``BasicImageDataset``: ``data_root``, ``data_prefix``, ``pipeline`` and so on.

    Raises:
        ValueError: If a line has no class, or one that does not exist; the file and the line are named.
    """

    def __init__(self, ann_file: str, num_classes: int, **kwargs: Any) -> None:
        if not ann_file:
            raise ValueError(f'{type(self).__name__} needs `ann_file`, which gives the class of each picture.')
        self.num_classes = num_classes
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        lines = list_from_file(self.ann_file, backend_args=self.backend_args)
        self._entries = [self._entry(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        pictures: list[dict[str, Any]] = super().load_data_list()
        labels = [label for _, label in self._entries]
        del self._entries  # of ImageNet, a million of them
        return [dict(picture, gt_label=label) for picture, label in zip(pictures, labels)]

    def _get_path_list_from_ann(self) -> list[str]:
        """What :meth:`load_data_list` of the base asks for; the base's own would cut a path at its first space."""
        return [path for path, _ in self._entries]

    def _entry(self, line: str, number: int) -> tuple[str, int]:
        """Path and class of a line of the list."""
        words: Sequence[str] = line.rsplit(maxsplit=1)
        if len(words) == 2 and words[1].isdecimal() and int(words[1]) < self.num_classes:
            return words[0].replace('/', os.sep), int(words[1])
        raise ValueError(
            f'{Path(self.ann_file)}, line {number}: {line!r} is not a path and a class from 0 to '
            f'{self.num_classes - 1}. `prepare_data` writes such lists as labels_*.txt.'
        )
