"""Metadata that are large, wrong or damaged cost no image: they are kept, or left out by name."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Meta
from glean_plus.inference.read import from_pil, read
from glean_plus.inference.write import write
from glean_plus.prepare.decode import PictureError, decode

from image_files import SRGB, chunk, padded, png, tiff

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
LARGE = padded(SRGB, 1_200_000)
ENDINGS = ['.png', '.jpg', '.tif', '.webp']
Tag = tuple[int, int, int, bytes]  # number, type, number of values, values


def save(path: Path, **options: Any) -> Path:
    Image.fromarray(RGB).save(path, **options)
    return path


def write_rgb(path: Path, meta: Meta) -> list[str]:
    return write(path, [RGB], (6, 9, 3), 'uint8', meta)


def with_chunks(*chunks: bytes, data: bytes | None = None) -> bytes:
    """A PNG with these before its pixels."""
    data = data or png(np.random.default_rng(0), 2, 8)
    return data[:33] + b''.join(chunks) + data[33:]


def damaged(data: bytes, name: bytes) -> bytes:
    """A PNG with a wrong checksum in a chunk of this name."""
    at = data.index(name)
    end = at + 4 + struct.unpack('>I', data[at - 4:at])[0]
    return data[:end] + bytes([data[end] ^ 0xFF]) + data[end + 1:]


def exif(first: list[Tag], facts: list[Tag] = (), order: str = '<') -> bytes:  # type: ignore[assignment]
    """EXIF data with the tags of the first directory and of the one of facts about the photo, as they are given."""

    def directory(tags: list[Tag], at: int) -> bytes:
        out, behind = struct.pack(f'{order}H', len(tags)), b''
        for tag, kind, count, data in tags:
            place = at + 2 + 12 * len(tags) + 4 + len(behind)
            field = data.ljust(4, b'\0') if len(data) <= 4 else struct.pack(f'{order}I', place)
            behind += b'' if len(data) <= 4 else data
            out += struct.pack(f'{order}HHI', tag, kind, count) + field
        return out + bytes(4) + behind

    tags = [*first, (ExifTags.IFD.Exif, 4, 1, bytes(4))] if facts else first
    place = 8 + len(directory(tags, 8))
    tags = [*first, (ExifTags.IFD.Exif, 4, 1, struct.pack(f'{order}I', place))] if facts else first
    head = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(f'{order}I', 8)
    return b'Exif\0\0' + head + directory(tags, 8) + (directory(list(facts), place) if facts else b'')


# Large


@pytest.mark.parametrize('ending', ENDINGS)
def test_a_large_profile_is_read(ending: str, tmp_path: Path) -> None:
    found = read(save(tmp_path / f'x{ending}', icc_profile=LARGE, quality=95))
    assert found.meta.icc == LARGE and not found.notes
    assert decode((tmp_path / f'x{ending}').read_bytes()).shape == (6, 9, 3)


@pytest.mark.parametrize('ending', ENDINGS)
def test_what_is_written_can_be_read_again(ending: str, tmp_path: Path) -> None:
    """By PIL, too, which refuses a PNG with a profile of a megabyte; the other formats hold it."""
    path = tmp_path / f'x{ending}'
    notes = write_rgb(path, Meta(icc=LARGE, xmp=b'x' * 60_000, text={'workflow': 'y' * 2_000_000}))
    kept = None if ending == '.png' else LARGE
    assert Image.open(path).info.get('icc_profile') == kept == read(path).meta.icc
    assert notes == ([] if kept else [
        'its colour profile of 1,200,588 bytes is left out: PNG has room for 1,048,575 bytes at most'
    ])  # fmt: skip
    if ending == '.png':
        assert Image.open(path).text['workflow'] == read(path).meta.text['workflow'] == 'y' * 2_000_000


@pytest.mark.parametrize('size, kept', [(2**20 - 1, True), (2**20, False)])
def test_the_largest_profile_of_a_png(size: int, kept: bool, tmp_path: Path) -> None:
    profile = padded(SRGB, size - len(SRGB))
    assert bool(write_rgb(tmp_path / 'x.png', Meta(icc=profile))) != kept
    assert Image.open(tmp_path / 'x.png').info.get('icc_profile') == (profile if kept else None)


def test_a_format_without_profiles_is_named(tmp_path: Path) -> None:
    (note,) = write_rgb(tmp_path / 'x.bmp', Meta(icc=SRGB))
    assert 'colour profile of 588 bytes is left out: BMP has room for none' in note


@pytest.mark.parametrize('kind, head', [(b'zTXt', b'key\0\0'), (b'iTXt', b'key\0\1\0\0\0')])
def test_long_texts_are_read_within_bounds(kind: bytes, head: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'x.png'
    path.write_bytes(with_chunks(chunk(kind, head + zlib.compress(b'x' * 2_000_000))))
    assert read(path).meta.text == {'key': 'x' * 2_000_000} and not read(path).notes
    bomb = chunk(kind, head + zlib.compress(bytes(60_000_000), 1))
    profile = chunk(b'iCCP', b'a\0\0' + zlib.compress(bytes(60_000_000), 1))
    path.write_bytes(with_chunks(bomb, bomb, profile))
    tracemalloc.start()
    found = read(path)
    assert decode(path.read_bytes()).shape == (6, 9, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32_000_000 and not found.meta.text and found.meta.icc is None
    assert len(found.notes) == 3 and all('more than 8,000,000 bytes' in note for note in found.notes)


def test_many_texts_are_read_within_bounds(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(7_900_000), 1)
    parts = [chunk(b'zTXt', b'%d\0\0' % i + packed) for i in range(20)]
    (tmp_path / 'x.png').write_bytes(with_chunks(*parts))
    found = read(tmp_path / 'x.png')
    assert sum(map(len, found.meta.text.values())) <= 32_000_000
    assert len(found.meta.text) + len(found.notes) == 20 and 'bytes of text in all' in found.notes[0]


# Wrong tags

SIX = (ExifTags.Base.Orientation, 3, 1, struct.pack('<H', 6))
MAKE = (ExifTags.Base.Make, 2, 8, b'A phone\0')
WRONG: dict[str, tuple[bytes, str]] = {
    'a rational without a sign bit': (
        exif([MAKE, SIX], [(0x9204, 10, 1, struct.pack('<ii', -2, 0))]), 'ExposureBiasValue'),
    'an orientation of bytes': (exif([MAKE, (274, 1, 1, b'\6')]), ''),
    'an orientation in letters': (exif([MAKE, (274, 2, 2, b'6\0')]), ''),
    'a long orientation': (exif([MAKE, (274, 4, 1, struct.pack('<I', 6))]), ''),
    'from the other end': (exif([MAKE, (274, 3, 1, struct.pack('>H', 6))], order='>'), ''),
    'a width in letters': (exif([(256, 2, 3, b'16\0'), MAKE, SIX]), 'ImageWidth'),
    'a text that leads out': (exif([(270, 2, 5000, b'12345'), MAKE, SIX]), 'ImageDescription'),
    'an unknown type': (exif([(270, 99, 1, b'1234'), MAKE, SIX]), 'ImageDescription'),
    'a number of bytes beyond all': (exif([(270, 2, 2**32 - 1, b'12345'), MAKE, SIX]), 'ImageDescription'),
    'a directory that leads out': (exif([MAKE, SIX, (ExifTags.IFD.GPSInfo, 4, 1, struct.pack('<I', 9999))]), 'short'),
    'a directory of letters': (exif([MAKE, SIX, (ExifTags.IFD.GPSInfo, 2, 4, b'abc\0')]), 'GPSInfo'),
    'a directory in itself': (exif([MAKE, SIX, (ExifTags.IFD.Exif, 4, 1, struct.pack('<I', 8))]), 'ExifOffset'),
    'cut short': (exif([MAKE, SIX], [(0x9204, 10, 1, struct.pack('<ii', -1, 2))])[:-20], 'short'),
}  # fmt: skip


# Which Pillow writes since 13, so that it is kept.
OF_NEWER_PIL = 'a rational without a sign bit'


def pil_writes(data: bytes) -> bool:
    tags = Image.Exif()
    tags.load(data)
    try:
        return bool(tags.tobytes())
    except struct.error:
        return False


@pytest.mark.parametrize('ending', ['.png', '.jpg', '.webp'])
@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_tag_costs_itself(name: str, ending: str, tmp_path: Path) -> None:
    """The image is upright, the other tags are kept, and PIL reads those of the result and writes them again."""
    data, named = WRONG[name]
    path = tmp_path / f'x{ending}'
    save(path, quality=95, **({} if ending == '.png' else dict(exif=data)))
    if ending == '.png':
        path.write_bytes(with_chunks(chunk(b'eXIf', data[6:]), data=path.read_bytes()))
    found = read(path)
    assert found.image.shape == (9, 6, 3) and decode(path.read_bytes()).shape == (9, 6, 3)
    if name == OF_NEWER_PIL and pil_writes(data):
        named = ''
    assert bool(found.notes) == bool(named) and named in ' '.join(found.notes), found.notes
    if ending == '.png':
        np.testing.assert_array_equal(found.image, np.rot90(RGB, -1))
    for ending in ENDINGS[:2]:
        write(tmp_path / f'y{ending}', [found.image], (9, 6, 3), 'uint8', found.meta)
        result = Image.open(tmp_path / f'y{ending}').getexif()
        assert result[ExifTags.Base.Make] == 'A phone' and ExifTags.Base.Orientation not in result
        assert ExifTags.Base.Orientation.to_bytes(2, 'little') not in result.tobytes()[:60] and result.tobytes()


def test_exif_data_that_share_bytes_do_not_grow(tmp_path: Path) -> None:
    """A thousand tags that each are the whole of a megabyte."""
    tags = [(20_000 + i, 7, 1_000_000, b'x' * 5) for i in range(2000)]
    data = exif(tags)
    at = 14
    lead = b''.join(struct.pack('<HHII', tag, 7, 1_000_000, 8) for tag, *_ in tags)
    data = data[:at] + struct.pack('<H', 2000) + lead + bytes(1_000_100)
    (tmp_path / 'x.png').write_bytes(with_chunks(chunk(b'eXIf', data[6:])))
    found = read(tmp_path / 'x.png')
    assert len(found.meta.exif or b'') < 1_100_000 and 'and 9' in found.notes[0]


def test_exif_data_as_text_turn_once(tmp_path: Path) -> None:
    """ImageMagick's form; were it kept as text, those who read the result would turn it again."""
    data = exif([MAKE, SIX])
    text = f'\nexif\n{len(data):8}\n{data.hex()}\n'.encode()
    path = tmp_path / 'x.png'
    path.write_bytes(with_chunks(chunk(b'tEXt', b'Raw profile type exif\0' + text)))
    found = read(path)
    assert found.image.shape == (9, 6, 3) and not found.meta.text and not found.notes
    write(path, [found.image], (9, 6, 3), 'uint8', found.meta)
    assert read(path).image.shape == (9, 6, 3)
    path.write_bytes(with_chunks(chunk(b'tEXt', b'Raw profile type exif\0\nexif\n 4\nzz')))
    assert read(path).image.shape == (6, 9, 3) and 'tEXt' in read(path).notes[0]


# Wrong profiles

GRAY_PROFILE = SRGB[:16] + b'GRAY' + SRGB[20:]


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('profile, words', [
    (b'no profile', 'broken'), (SRGB[:200], 'broken'),
    (SRGB[:16] + b'CMYK' + SRGB[20:], 'is for CMYK, the image is RGB'),
    (GRAY_PROFILE, 'is for GRAY, the image is RGB'),
], ids=['none', 'cut', 'CMYK', 'gray'])  # fmt: skip
def test_a_profile_that_cannot_belong_to_the_image(profile: bytes, words: str, ending: str, tmp_path: Path) -> None:
    found = read(save(tmp_path / f'x{ending}', icc_profile=profile, quality=95))
    assert found.meta.icc is None and len(found.notes) == 1 and words in found.notes[0]
    Image.fromarray(RGB[..., 0]).save(tmp_path / f'g{ending}', icc_profile=GRAY_PROFILE)
    if ending != '.webp':  # which has no gray
        assert read(tmp_path / f'g{ending}').meta.icc == GRAY_PROFILE


# Damage

ANCILLARY = {
    b'pHYs': struct.pack('>IIB', 2835, 2835, 1), b'tEXt': b'key\0text', b'zTXt': b'key\0\0' + zlib.compress(b'text'),
    b'iTXt': b'key\0\0\0\0\0text', b'iCCP': b'a\0\0' + zlib.compress(SRGB), b'gAMA': struct.pack('>I', 45455),
    b'eXIf': exif([MAKE])[6:], b'sRGB': b'\0', b'cHRM': bytes(32), b'tIME': bytes(7), b'tRNS': bytes(6),
    b'acTL': struct.pack('>II', 9, 0), b'prVt': b'private', b'bKGD': bytes(6),
}  # fmt: skip


@pytest.mark.parametrize('name', ANCILLARY)
@pytest.mark.parametrize('depth', [8, 16])
def test_a_wrong_checksum_beside_the_pixels(depth: int, name: bytes, tmp_path: Path) -> None:
    """As libpng does, the chunk is left out."""
    plain = png(np.random.default_rng(0), 2, depth)
    path = tmp_path / 'x.png'
    path.write_bytes(plain)
    expected = read(path)
    path.write_bytes(damaged(with_chunks(chunk(name, ANCILLARY[name]), data=plain), name))
    found = read(path)
    np.testing.assert_array_equal(found.image, expected.image)
    assert found.meta == Meta() and found.notes == (
        f'its chunk {name.decode()} is damaged (wrong checksum) and left out',
    )
    if depth == 8:
        np.testing.assert_array_equal(decode(path.read_bytes()), expected.image)


@pytest.mark.parametrize('name', ANCILLARY)
@pytest.mark.parametrize('content', [b'', b'\0', b'\xff' * 3, b'key', b'key\0', b'\0\0\0', b'\xff' * 300])
def test_a_chunk_beside_the_pixels_with_any_content(name: bytes, content: bytes, tmp_path: Path) -> None:
    (tmp_path / 'x.png').write_bytes(with_chunks(chunk(name, content)))
    (tmp_path / 'y.png').write_bytes(with_chunks())
    np.testing.assert_array_equal(read(tmp_path / 'x.png').image, read(tmp_path / 'y.png').image)
    np.testing.assert_array_equal(
        decode((tmp_path / 'x.png').read_bytes()), decode((tmp_path / 'y.png').read_bytes())
    )


@pytest.mark.parametrize('name', [b'IHDR', b'PLTE', b'IDAT'])
def test_a_wrong_checksum_in_what_the_pixels_need(name: bytes, tmp_path: Path) -> None:
    data = damaged(png(np.random.default_rng(0), 3, 8), name)
    (tmp_path / 'x.png').write_bytes(data)
    with pytest.raises(RestoreError, match=f'it is a PNG that is damaged: the checksum of {name.decode()} at byte'):
        read(tmp_path / 'x.png')
    with pytest.raises(PictureError, match=f'it is a PNG that is damaged: the checksum of {name.decode()} at byte'):
        decode(data)


def test_damage_behind_the_pixels(tmp_path: Path) -> None:
    whole = with_chunks()
    pixels = whole[:-12]
    cut_text = pixels + chunk(b'tEXt', b'k\0t')[:-3]
    for data in (pixels, whole[:-1] + b'\0', pixels + b'\0\0\0\1????x', whole + b'more', cut_text):
        (tmp_path / 'x.png').write_bytes(data)
        np.testing.assert_array_equal(read(tmp_path / 'x.png').image, decode(whole))


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack('>HH', 0xFF00 + marker, len(content) + 2) + content


@pytest.mark.parametrize('content', [
    segment(0xE2, b'MPF\0' + b'MM\0*' + bytes(20)), segment(0xE2, b'MPF\0II*\0\x08\0\0\0\x02\0' + b'\xff' * 30),
    segment(0xE1, b'Exif\0\0'), segment(0xED, b'Photoshop 3.0\0008BIM\4\4\xff'), segment(0xEE, b'Adobe'),
    segment(0xE0, b'JFIF'), segment(0xE0, b''), segment(0xE2, b'ICC_PROFILE\0\1\2abc'), segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0\xff\xfe<'),
])  # fmt: skip
def test_damage_beside_the_pixels_of_a_jpeg(content: bytes, tmp_path: Path) -> None:
    whole = save(tmp_path / 'x.jpg', quality=95).read_bytes()
    expected = read(tmp_path / 'x.jpg').image
    (tmp_path / 'x.jpg').write_bytes(whole[:2] + content + whole[2:])
    np.testing.assert_array_equal(read(tmp_path / 'x.jpg').image, expected)
    np.testing.assert_array_equal(decode((tmp_path / 'x.jpg').read_bytes()), expected)


def test_a_profile_of_which_parts_are_missing_is_named(tmp_path: Path) -> None:
    whole = save(tmp_path / 'x.jpg', quality=95).read_bytes()
    (tmp_path / 'x.jpg').write_bytes(whole[:2] + segment(0xE2, b'ICC_PROFILE\0\1\2abc') + whole[2:])
    found = read(tmp_path / 'x.jpg')
    assert found.meta.icc is None and found.notes == ('its colour profile is incomplete: left out',)


@pytest.mark.parametrize('data, words', [
    (lambda: float_tiff(1, 'b'), 'TIFF of 8-bit signed integers'),
    (lambda: float_tiff(3, 'b'), 'TIFF of 8-bit signed integers'),
    (lambda: float_tiff(3, 'f'), 'TIFF of 32-bit floats'), (lambda: float_tiff(1, 'd'), 'TIFF of 64-bit floats'),
    (lambda: float_tiff(3, 'i'), 'TIFF of 32-bit signed integers'), (lambda: b'II*\0', 'TIFF that is broken'),
    (lambda: b'\xff\xd8\xff\xe0' + bytes(9), 'JPEG whose header is broken'),
    (lambda: b'\x89PNG\r\n\x1a\n', 'PNG that is truncated'), (lambda: b'GIF89a', 'GIF whose header is broken'),
    (lambda: with_chunks()[:33], 'PNG that is truncated'),
    (lambda: damaged_head(3, 16), 'PNG of colour type 3 with 16 bits'),
])  # fmt: skip
def test_what_cannot_be_read_is_named_by_its_kind(data: Callable[[], bytes], words: str, tmp_path: Path) -> None:
    (tmp_path / 'x.png').write_bytes(data())
    with pytest.raises(RestoreError, match=f'it is a {words}'):
        read(tmp_path / 'x.png')
    with pytest.raises(PictureError, match=f'it is a {words}|more than 8 bits a channel'):
        decode(data())


def float_tiff(channels: int, kind: str) -> bytes:
    import tifffile

    file = io.BytesIO()
    image = np.zeros((6, 9, channels), kind).squeeze()
    tifffile.imwrite(file, image, photometric='rgb' if channels == 3 else 'minisblack')
    return file.getvalue()


def damaged_head(colour: int, depth: int) -> bytes:
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', 9, 6, depth, colour, 0, 0, 0))
    return with_chunks()[:8] + head + with_chunks()[33:]


# Images of PIL's


@pytest.mark.parametrize('depth', [1, 2, 4, 8, 16])
def test_one_gray_of_pils_is_transparent(depth: int, tmp_path: Path) -> None:
    data = png(np.random.default_rng(0), 0, depth, transparent=True)
    (tmp_path / 'x.png').write_bytes(data)
    expected = read(tmp_path / 'x.png').image
    assert {*np.unique(expected[..., 1])} == {0, np.iinfo(expected.dtype).max}
    np.testing.assert_array_equal(from_pil(Image.open(io.BytesIO(data))).image, expected)


def test_a_picture_of_pils_with_wrong_tags() -> None:
    file = io.BytesIO()
    data, named = WRONG['a width in letters']
    Image.fromarray(RGB).save(file, 'JPEG', exif=data)
    found = from_pil(Image.open(file))
    assert found.image.shape == (9, 6, 3) and named in found.notes[0]
    turned = Image.fromarray(RGB)
    turned.getexif()[ExifTags.Base.Orientation] = 6
    assert from_pil(turned).image.shape == (9, 6, 3)


def test_tags_of_a_tiff(tmp_path: Path) -> None:
    """An orientation of the wrong type, and directories and a profile that lead nowhere."""
    data = tiff(np.random.default_rng(0), 2, 8, orientation=6)
    (tmp_path / 'x.tif').write_bytes(data)
    expected = read(tmp_path / 'x.tif').image
    entry = struct.pack('<HHI', 284, 3, 1)  # of planes, which is not needed
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, 34675, 700, 282):
        broken = data.replace(entry, struct.pack('<HHI', tag, 4, 1))
        assert broken != data
        (tmp_path / 'x.tif').write_bytes(broken)
        np.testing.assert_array_equal(read(tmp_path / 'x.tif').image, expected)
