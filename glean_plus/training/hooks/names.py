"""What the files of a test's predictions are called: the same in every process, and no two alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where a prediction belongs.

    Attributes:
        position: Number of the data set, and of the image in it.
        name: Below the folder of predictions, without ending.
    """

    position: tuple[int, int]
    name: Path


def own_name(info: Mapping[str, Any], index: int) -> Path:
    """Path below the folder of predictions: that of the input below its own, where the data set tells it."""
    key = Path(info.get('key') or Path(info.get('img_path') or f'{index:06d}').stem)
    return Path(key.name) if key.is_absolute() or '..' in key.parts else key


def identity(info: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells an image of a data set, or of several within one, from the others."""
    return tuple(str(info.get(key)) for key in ('sample_idx', 'gt_path', 'img_path'))


class Places:
    """The places of a test's images, by the number of their data set and their identity.

    A name that comes again becomes ``NAME_2``, or has a higher number where that is another image's own name.
    """

    def __init__(self) -> None:
        self.found: dict[int, dict[tuple[str, ...], Place]] = {}
        self._taken: set[Path] = set()
        self._last: dict[Path, int] = {}

    def add(self, number: int, dataset: Any, with_key: bool) -> None:
        """Give every image of a data set its place; without effect if it has no ``get_data_info``.

        Args:
            number: Of the data set. All processes add the same ones in the same order.
            dataset: Of MMEngine's interface.
            with_key: Whether its samples carry the ``key``, by which they are named then.
        """
        names: dict[tuple[str, ...], Path] = {}
        for index in range(len(dataset)) if hasattr(dataset, 'get_data_info') else ():
            info = dataset.get_data_info(index)
            named = info if with_key else {key: value for key, value in info.items() if key != 'key'}
            names.setdefault(identity(info), own_name(named, info.get('sample_idx', index)))
        own = {*names.values()}
        self.found[number] = {}
        for position, (image, name) in enumerate(names.items()):
            free = name
            while free in self._taken or (free in own and free != name):
                self._last[name] = self._last.get(name, 1) + 1
                free = name.with_name(f'{name.name}_{self._last[name]}')
            self._taken.add(free)
            self.found[number][image] = Place((number, position), free)
