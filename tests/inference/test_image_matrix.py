"""Every kind of image file that the formats have, against independent decoders: libvips, and OpenCV for BMP."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from glean_plus.inference.read import read
from glean_plus.prepare.decode import decode
from glean_plus.utils.images.image import load
from glean_plus.utils.images.metadata import Meta

from image_files import ORIENTATIONS, PROFILES, Kind, by_pil, kinds

pyvips = pytest.importorskip('pyvips', exc_type=ImportError)

REDUCED = 250  # of every run of the tests


class Case(NamedTuple):
    """One file: a kind, its orientation, and the size of its profile."""

    kind: Kind
    orientation: int = 1
    profile: str = 'no'

    def file(self, **changes: object) -> bytes:
        """The same pixel values in another form, too, as these depend on nothing else."""
        seed = [self.orientation, len(self.kind.name)]
        kind = Kind(self.kind.form, self.kind.name, dict(self.kind.options, **changes))
        return kind.make(np.random.default_rng(seed), self.orientation, PROFILES[self.profile])


def cases() -> list[Case]:
    """BMP holds neither an orientation nor, as decoders read it, a profile."""
    return [
        Case(kind, *rest) for kind in kinds()
        for rest in (itertools.product(ORIENTATIONS, PROFILES) if not kind.alone else [(1, 'no')])
    ]  # fmt: skip


def reference(case: Case) -> tuple[np.ndarray, int]:
    """Pixel values (H, W, 1 to 4) by the independent decoder, and by how much others may differ."""
    form, options = case.kind.form, case.kind.options
    if form == 'BMP':
        found = cv2.imdecode(np.frombuffer(case.file(), np.uint8), cv2.IMREAD_UNCHANGED)
        found = found[..., [2, 1, 0, 3][:found.shape[2]]]
        # OpenCV fills the three low bits of five, and two of six, with zeros: 31 becomes 248, where white is 255.
        return (found, 7) if options['depth'] == 16 else (found, 0)
    # libvips mixes up the rows of gray and another channel, one plane after the other: both orders hold the same.
    image = pyvips.Image.new_from_buffer(case.file(planes=False) if options.get('planes') else case.file(), '')
    found = image.autorot().numpy()
    found = found[..., None] if found.ndim == 2 else found
    if options.get('mode') == 'CMYK':
        return without_profile(found), 1
    extras = options.get('extras', ())
    colours = found.shape[2] - len(extras)
    opacity = [colours + index for index, extra in enumerate(extras) if extra or options.get('said') is False]
    # libvips cuts what it divides by opacity off; rounded, it may be one more.
    return found[..., [*range(colours), *opacity]], int(1 in extras)


def without_profile(inks: np.ndarray) -> np.ndarray:
    """RGB of CMYK as if each ink darkened the paper by itself."""
    return (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255


def fault(case: Case) -> str | None:
    """What is wrong with what is read of a file; None if nothing is."""
    data = case.file()
    try:
        found = load(data)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    expected, tolerance = reference(case)
    if found.image.shape != expected.shape:
        return f'the shape is {found.image.shape}, not {expected.shape}'
    white = np.iinfo(found.image.dtype).max
    if case.kind.options.get('depth') == 16 and case.kind.form != 'BMP' and white != 65535:
        return '16 bits are not kept'
    apart = np.abs(expected - found.image.astype(float))
    if 1 in case.kind.options.get('extras', ()):  # what nobody sees has no colour that could be divided out
        apart[..., :-1][expected[..., -1] == 0] = 0
    if (difference := apart.max()) > tolerance:
        return f'pixel values differ by {difference:g}'
    meta, notes = found.metadata()
    inks = case.kind.options.get('mode') == 'CMYK'  # whose profiles here are none of inks
    if meta.icc != (None if inks else PROFILES[case.profile]):
        return 'the profile is not kept'
    if bool(notes) != (inks and case.profile != 'no'):
        return f'it is said that {notes}'
    if white == 255:
        opacity = expected[..., -1:] / 255 if expected.shape[2] in (2, 4) else 1
        shown = expected[..., :1 if expected.shape[2] < 3 else 3] * opacity + 255 * (1 - opacity)
        if (difference := np.abs(shown - decode(data).astype(float)).max()) > tolerance + 1:
            return f'in training, pixel values differ by {difference:g}'
    return None


# Not decoded, and refused with that sentence: tifffile has no LZW of its own, and OpenCV not these channels.
REFUSED = 'channels that are compressed by LZW: save it without compression'


def known(case: Case, why: str) -> bool:
    return case.kind.options.get('compression') == 5 and why.endswith(REFUSED)


def check(some: Iterable[Case]) -> str:
    tried, refused, faults = Counter[str](), Counter[str](), []
    for case in some:
        tried[case.kind.form] += 1
        why = fault(case)
        if why and known(case, why):
            refused[case.kind.name] += 1
        elif why:
            name = f'{case.kind.form} {case.kind.name}, orientation {case.orientation}, {case.profile} profile'
            faults.append(f'{name}: {why}')
    assert not faults, f'{len(faults)} of {tried.total()}: ' + '\n'.join(faults[:9])
    return f'{dict(tried)}: {tried.total()} files, 0 differ, {refused.total()} refused: {sorted(refused)}'


def test_some_of_all_files() -> None:
    """Of each kind one, and some more."""
    rng = np.random.default_rng(0)
    everything = cases()
    by_kind: dict[str, list[Case]] = {}
    for case in everything:
        by_kind.setdefault(f'{case.kind.form} {case.kind.name}', []).append(case)
    check(each[rng.integers(len(each))] for each in by_kind.values())
    check(everything[index] for index in rng.choice(len(everything), REDUCED, replace=False))


@pytest.mark.soak
def test_all_files() -> None:
    print(check(cases()))


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_twelve_bits_are_turned(orientation: int, tmp_path: Path) -> None:
    """Gray TIFFs of 12 bits, which libvips does not read."""
    kind = Kind('TIFF', '12 bits', dict(photometric=1, depth=12))
    (tmp_path / 'x.tif').write_bytes(kind.make(np.random.default_rng(1), orientation))
    (tmp_path / '16.tif').write_bytes(Kind('TIFF', '', dict(photometric=1, depth=16)).make(np.random.default_rng(1)))
    values = np.random.default_rng(1).integers(0, 4096, (6, 9))
    turned = pyvips.Image.new_from_array(values.astype(np.uint16)).copy()
    turned.set_type(pyvips.GValue.gint_type, 'orientation', orientation)
    expected = (turned.autorot().numpy() * (65535 / 4095)).round()
    np.testing.assert_array_equal(read(tmp_path / 'x.tif').image[..., 0], expected)


@pytest.mark.parametrize('options', [dict(form='JPEG', quality=100), dict(form='TIFF', compression='raw')])
def test_inks_become_srgb_by_their_profile(options: dict[str, object]) -> None:
    """libvips has a profile of inks, and converts by it, too; what it makes is not what no profile would."""
    icc = pyvips.Operation.call('profile_load', 'cmyk')
    data = by_pil(np.random.default_rng(0), mode='CMYK', icc=bytes(icc), **options)
    found = load(data)
    image = pyvips.Image.new_from_buffer(data, '')
    expected = image.icc_transform('srgb', embedded=True, intent='perceptual').numpy().astype(float)
    assert np.abs(found.image - expected).mean() <= 5 < 10 < np.abs(without_profile(image.numpy()) - expected).mean()
    assert found.metadata() == (Meta(), ()) and found.image.dtype == np.uint8
