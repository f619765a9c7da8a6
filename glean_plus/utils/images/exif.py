"""EXIF data: tags that are sound are kept as they are, others are left out.

PIL's reader stops at the first tag that leads out of the data, and its writer fails at the first that it cannot write:
one wrong tag would cost the orientation, or all the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Union

from PIL import ExifTags, Image

MARK = b'Exif\0\0'  # before them, in a JPEG
ORDERS = {b'II*\0': '<', b'MM\0*': '>'}
# Bytes of a value of each type: BYTE, ASCII, SHORT, LONG, RATIONAL, the same with a sign, FLOAT, DOUBLE, IFD.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
ASCII, LONG, IFD = 2, 4, 13
INTEGERS = {1: 'B', 3: 'H', LONG: 'I', 6: 'b', 7: 'B', 8: 'h', 9: 'i'}
MOST_TAGS = 1000  # of a file; cameras write some 200
NAMED = 5  # tags that a note names
# Tags that lead to another directory, by the one that leads to the directory that they are in; 0 is the first.
BELOW: Mapping[int, tuple[int, ...]] = {
    0: (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo), ExifTags.IFD.Exif: (ExifTags.IFD.Interop,),
}  # fmt: skip

Value = tuple[int, bytes]  # type, and values in the order of bytes of the file
Directory = dict[int, Union[Value, 'Directory']]
Path = tuple[int, ...]  # a tag, after those that lead to its directory


def orientation_of(data: bytes) -> int | None:
    """The orientation in EXIF data, 1 to 8; None if there is none that can be read.

    It is taken of any type that can mean it: a SHORT, as it should be, another integer, or a digit.
    """
    reader = _Reader(data)
    value = reader.found.get(ExifTags.Base.Orientation)
    if not isinstance(value, tuple):
        return None
    kind, content = value
    number = 0
    if kind == ASCII:
        text = content.rstrip(b'\0 ')
        number = int(text) if text.isdigit() and len(text) == 1 else 0
    elif kind in INTEGERS:
        number = struct.unpack_from(reader.order + INTEGERS[kind], content)[0]
    return number if 1 <= number <= 8 else None


def sound_exif(data: bytes) -> tuple[bytes | None, list[str]]:
    """EXIF data without the orientation, the preview, and what is not sound.

    Returns:
        The data, None if nothing is left, and notes on what has been left out.
    """
    reader = _Reader(data)
    if not reader.order:
        return None, ['its EXIF data are broken (they have no header): left out']
    reader.found.pop(ExifTags.Base.Orientation, None)
    lost = [*reader.lost]
    for path, alone in [*_each(reader.found)]:
        if not _writable(alone, reader.order):
            _remove(reader.found, path)
            lost.append(path[-1])
    notes = []
    if lost:
        names = ', '.join(ExifTags.TAGS.get(tag, f'{tag:#06x}') for tag in lost[:NAMED])
        more = f' and {len(lost) - NAMED} more' if len(lost) > NAMED else ''
        notes.append(f'its EXIF data are wrong in {names}{more}: left out')
    if reader.cut:
        notes.append('its EXIF data are cut short: the rest is left out')
    return _written(reader.found, reader.order) if reader.found else None, notes


def resized(data: bytes, height: int, width: int) -> bytes:
    """EXIF data that tell the size of the result, where they tell one; data that are broken stay as they are."""
    reader = _Reader(data)
    if not reader.order:
        return data
    places = [(reader.found, ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength)]
    if isinstance(below := reader.found.get(ExifTags.IFD.Exif), dict):
        places.append((below, ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight))
    for place, *tags in places:
        for tag, side in zip(tags, (width, height)):
            if tag in place:
                place[tag] = LONG, struct.pack(f'{reader.order}I', side)
    return _written(reader.found, reader.order)


class _Reader:
    """Reads EXIF data, of which it takes no more than there is: values that share bytes cannot grow beyond the file.

    Attributes:
        order: Of bytes, as :mod:`struct` has it; empty without a header.
        found: The tags.
        lost: Tags that lead out of the data, or are of no known type.
        cut: Whether a directory is longer than the data.
    """

    def __init__(self, data: bytes) -> None:
        while data.startswith(MARK):
            data = data[len(MARK):]
        self.data, self.order = data, ORDERS.get(data[:4], '') if len(data) >= 8 else ''
        self.found: Directory = {}
        self.lost: list[int] = []
        self.cut = False
        self._bytes_left, self._tags_left, self._places = len(data), MOST_TAGS, set[int]()
        if self.order:
            self.found = self._directory(self._number(data[4:8]))

    def _directory(self, at: int, where: int = 0) -> Directory:
        """That at a byte; ``where`` is the tag that leads to it."""
        found: Directory = {}
        self._places.add(at)
        if at + 2 > len(self.data):
            self.cut = True
            return found
        (count,) = struct.unpack_from(f'{self.order}H', self.data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            if entry + 12 > len(self.data) or not self._tags_left:
                self.cut = True
                break
            self._tags_left -= 1
            tag, kind, number = struct.unpack_from(f'{self.order}HHI', self.data, entry)
            if tag in found:
                continue
            size = SIZES.get(kind, 0) * number
            start = entry + 8 if size <= 4 else self._number(self.data[entry + 8:entry + 12])
            if not size or start + size > len(self.data) or size > self._bytes_left:
                self.lost.append(tag)
                continue
            self._bytes_left -= size
            value = self.data[start:start + size]
            if tag not in BELOW.get(where, ()):
                found[tag] = kind, value
            elif kind not in (LONG, IFD) or number != 1 or self._number(value) in self._places:
                self.lost.append(tag)
            elif below := self._directory(self._number(value), tag):
                found[tag] = below
        return found

    def _number(self, value: bytes) -> int:
        number: int = struct.unpack(f'{self.order}I', value)[0]
        return number


def _each(found: Directory, above: Path = ()) -> Iterator[tuple[Path, Directory]]:
    """Each tag, with data in which it is alone."""
    for tag, value in found.items():
        if isinstance(value, dict):
            yield from _each(value, (*above, tag))
        else:
            alone: Directory = {tag: value}
            for each in reversed(above):
                alone = {each: alone}
            yield (*above, tag), alone


def _remove(found: Directory, path: Path) -> None:
    """Remove a tag, and a directory that is left empty."""
    first, *rest = path
    below = found[first]
    if rest and isinstance(below, dict):
        _remove(below, tuple(rest))
    if not rest or not below:
        del found[first]


def _writable(found: Directory, order: str) -> bool:
    """Whether PIL, as an editor that a user may have, reads the data and writes them again."""
    exif = Image.Exif()
    try:
        exif.load(_written(found, order))
        exif.tobytes()
    except Exception:  # whatever wrong values make it raise
        return False
    return True


def _written(found: Directory, order: str) -> bytes:
    head = next(head for head, other in ORDERS.items() if other == order)
    return MARK + head + struct.pack(f'{order}I', 8) + _packed(found, order, 8)


def _packed(found: Directory, order: str, at: int) -> bytes:
    """A directory that lies at a byte, its longer values, and what is below it."""
    entries, behind = struct.pack(f'{order}H', len(found)), b''
    end = at + len(entries) + 12 * len(found) + 4
    for tag, value in sorted(found.items()):
        place = end + len(behind)
        if isinstance(value, dict):
            kind, data, size = LONG, _packed(value, order, place), 4
        else:
            kind, data = value
            size = len(data)
        inside = size <= 4 and not isinstance(value, dict)
        field = data.ljust(4, b'\0') if inside else struct.pack(f'{order}I', place)
        entries += struct.pack(f'{order}HHI', tag, kind, size // SIZES[kind]) + field
        if not inside:
            behind += data + b'\0' * (len(data) % 2)
    return entries + bytes(4) + behind
