"""Settings of a preparation; those that are not given have the set's own values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glean_plus.errors import GleanError
from glean_plus.prepare.fit import FITS
from glean_plus.prepare.images import bad_scales
from glean_plus.prepare.sets import SETS

TINY = 64  # of images that keep their size


class SettingsError(GleanError, ValueError):
    """Settings that contradict each other or the set."""


def check_positive(*options: tuple[str, int | None]) -> None:
    """Raise SettingsError for an option (name, value) below 1; None is not given."""
    for option, value in options:
        if value is not None and value < 1:
            raise SettingsError(f'--{option} is {value}, but must be positive')


def check_scales(scales: Sequence[int], *sizes: tuple[str, int]) -> None:
    """Raise SettingsError where images of a size (name of its option, pixels) cannot be shrunk by all ``scales``."""
    for option, size in sizes:
        if bad := bad_scales(size, scales):
            raise SettingsError(f'--scales {bad} do not divide --{option} {size}')


@dataclass(frozen=True)
class Settings:
    """Settings of a preparation. :meth:`of` fills in the set's own values.

    Attributes:
        set: Name of the set, a key of :data:`~glean_plus.prepare.sets.SETS`.
        size: Side in pixels; None keeps the images as they are.
        scales: Factors of the low-resolution counterparts.
        fit: How an image becomes a square, a key of :data:`~glean_plus.prepare.fit.FITS`.
        min_size: Pixels below which an image is tiny, of what ``fit`` uses of it.
        keep_gray: Whether gray images are taken.
        limit: Only the first so many; None is all.
        names: Only the images of this list, whose lines start with a name in the prepared set; in its order.
        subset: Of LFW: whose faces (:func:`glean_plus.prepare.readers.published.lfw`).
    """

    set: str
    size: int | None
    scales: tuple[int, ...] = ()
    fit: str = 'crop'
    min_size: int = 1
    keep_gray: bool = False
    limit: int | None = None
    names: Path | None = None
    subset: str | None = None

    @classmethod
    def of(
        cls,
        set: str,
        size: int | None = None,
        scales: Sequence[int] | None = None,
        fit: str = 'crop',
        min_size: int | None = None,
        keep_gray: bool | None = None,
        limit: int | None = None,
        names: Path | None = None,
        subset: str | None = None,
    ) -> Settings:
        """Settings of ``set``; None is the set's own value, and a ``limit`` of 0 is all. ``names`` lifts the limit.

        Raises:
            SettingsError: If they contradict each other or the set, naming the option of the command line.
        """
        if set not in SETS:
            raise SettingsError(f'{set} is none of the sets {", ".join(SETS)}')
        chosen = SETS[set]
        check_positive(('size', size), ('min-size', min_size))
        if limit is not None and limit < 0:
            raise SettingsError(f'--limit is {limit}, but must not be negative')
        if set == 'folder' and size is None:
            raise SettingsError("folder: give --size, the side of your bank's images")
        if subset is not None and set != 'lfw':
            raise SettingsError(f'--subset is for lfw, not for {set}')
        if names is not None and not names.is_file():
            raise SettingsError(f'--names: {names} is no file')
        size = size or chosen.size
        scales = chosen.scales if scales is None else tuple(dict.fromkeys(scales))
        if scales and not chosen.gt:
            raise SettingsError(f'--scales: {set} is restored as it is; nothing but its photographs belongs in OUT')
        if size is not None:
            check_scales(scales, ('size', size))
        if fit not in FITS:
            raise SettingsError(f'--fit {fit} is none of {", ".join(FITS)}')
        if size is None and fit != 'crop':
            raise SettingsError(f'--fit is of no use without --size: {set} keeps its images as they are')
        if fit == 'wide' and size is not None and size % 8:
            raise SettingsError(f'--fit wide needs a --size that 8 divides, not {size}')
        return cls(
            set=set,
            size=size,
            scales=scales,
            fit=fit,
            min_size=min_size or (TINY if size is None else -(-size // chosen.enlarge)),
            keep_gray=chosen.keep_gray if keep_gray is None else keep_gray,
            limit=(limit if limit is not None else None if names else chosen.limit) or None,
            names=names,
            subset=(subset or 'surname') if set == 'lfw' else None,
        )
