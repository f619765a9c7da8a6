"""Files in and out: every kind that there is, against PIL, OpenCV and levels known beforehand."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps, features

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Meta, Picture
from glean_plus.inference.png_stream import PngWriter
from glean_plus.inference.read import from_pil, read
from glean_plus.inference.write import write
from glean_plus.prepare.decode import PictureError, read_image
from glean_plus.utils.images.depth import bits

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 4), np.uint16)


def save(path: Path, image: Any, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize('mode, channels', [
    ('1', 1), ('L', 1), ('LA', 2), ('RGB', 3), ('RGBA', 4), ('P', 3),
])  # fmt: skip
def test_modes(mode: str, channels: int, tmp_path: Path) -> None:
    given = Image.fromarray(RGB).convert(mode)
    picture = read(save(tmp_path / 'x.png', given))
    assert picture.image.shape == (6, 9, channels) and picture.image.dtype == np.uint8
    expected = given.convert({1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}[channels])
    np.testing.assert_array_equal(picture.image.squeeze(), np.asarray(expected))


def test_one_colour_of_a_palette_is_transparent(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(4)
    picture = read(save(tmp_path / 'x.png', palette, transparency=2))
    np.testing.assert_array_equal(picture.image[..., 3] == 0, np.asarray(palette) == 2)
    gray = read(save(tmp_path / 'g.png', Image.fromarray(RGB[..., 0]), transparency=int(RGB[0, 0, 0])))
    assert gray.image.shape == (6, 9, 2) and gray.image[0, 0, 1] == 0 and gray.image[..., 1].max() == 255


def test_colour_order_is_rgb(tmp_path: Path) -> None:
    """Also where OpenCV, which has BGR, decodes: 16 bits."""
    for depth, white in ((np.uint8, 255), (np.uint16, 65535)):
        red = np.zeros((2, 2, 3), depth)
        red[..., 2] = white  # OpenCV's red
        cv2.imwrite(str(tmp_path / 'red.png'), red)
        assert read(tmp_path / 'red.png').image[0, 0].tolist() == [white, 0, 0]


@pytest.mark.parametrize('ending', ['.png', '.tiff'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_sixteen_bits_are_kept(ending: str, channels: int, tmp_path: Path) -> None:
    image = DEEP[..., :channels]
    swapped = image if channels == 1 else image[..., [2, 1, 0, 3][:channels]]
    cv2.imwrite(str(tmp_path / f'x{ending}'), swapped)
    found = read(tmp_path / f'x{ending}')
    np.testing.assert_array_equal(found.image, image)
    write(tmp_path / 'out.png', [found.image[:2], found.image[2:]], (6, 9, channels), 'uint16', found.meta)
    np.testing.assert_array_equal(read(tmp_path / 'out.png').image, image)
    decoded = cv2.imread(str(tmp_path / 'out.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, swapped.squeeze())


@pytest.mark.parametrize('kind', ['uint8', 'uint16'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_a_tiff_is_read_alike_by_others(channels: int, kind: str, tmp_path: Path) -> None:
    pyvips = pytest.importorskip('pyvips')
    image = np.ascontiguousarray(DEEP[..., :channels] if kind == 'uint16' else DEEP[..., :channels].astype(np.uint8))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes() if channels >= 3 else None
    meta = Meta(icc=icc, xmp=b'<x:xmpmeta/>', dpi=(300.0, 150.0))
    assert write(tmp_path / 'x.tif', [image[:2], image[2:]], (6, 9, channels), kind, meta) == []
    with tifffile.TiffFile(tmp_path / 'x.tif') as file:
        page = file.pages.first
        np.testing.assert_array_equal(page.asarray().reshape(image.shape), image)
        assert [int(each) for each in page.extrasamples] == [2] * (channels in (2, 4))
        assert page.tags[700].value == b'<x:xmpmeta/>'
    seen = pyvips.Image.new_from_file(str(tmp_path / 'x.tif'))
    np.testing.assert_array_equal(seen.numpy().reshape(image.shape), image)
    assert (round(seen.xres * 25.4), round(seen.yres * 25.4)) == (300, 150)
    assert ('icc-profile-data' in seen.get_fields() and bytes(seen.get('icc-profile-data'))) == (icc or False)
    found = read(tmp_path / 'x.tif')
    np.testing.assert_array_equal(found.image, image)
    assert (found.meta.icc, found.meta.xmp, found.meta.dpi) == (meta.icc, meta.xmp, meta.dpi)


def test_quality_is_that_of_the_file(tmp_path: Path) -> None:
    for ending in ('.jpg', '.webp'):
        sizes = []
        for quality in (10, 95, None, 100):
            write(tmp_path / f'x{ending}', [RGB], RGB.shape, 'uint8', Meta(), quality)
            sizes.append((tmp_path / f'x{ending}').stat().st_size)
        assert sizes[0] < sizes[1] == sizes[2] < sizes[3]


def test_sixteen_bits_in_gray_with_opacity_and_in_pnm(tmp_path: Path) -> None:
    with open(tmp_path / 'la.png', 'wb') as file:
        writer = PngWriter(file, 6, 9, 2, deep=True)
        writer.write(DEEP[..., :2])
        writer.close()
    np.testing.assert_array_equal(read(tmp_path / 'la.png').image, DEEP[..., :2])
    levels = RNG.integers(0, 1024, (6, 9, 3))
    (tmp_path / 'x.ppm').write_bytes(b'P6 9 6\n1023\n' + levels.astype('>u2').tobytes())
    np.testing.assert_array_equal(read(tmp_path / 'x.ppm').image, (levels * 65535 / 1023).round())


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = 'A camera'
    path = save(tmp_path / 'x.png', RGB, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    found = read(path)
    np.testing.assert_array_equal(found.image, expected)
    kept = Image.Exif()
    kept.load(found.meta.exif)
    assert kept[ExifTags.Base.Make] == 'A camera' and ExifTags.Base.Orientation not in kept

    deep = RGB.astype(np.uint16) * 257
    with open(tmp_path / 'deep.png', 'wb') as file:
        writer = PngWriter(file, 6, 9, 3, deep=True, meta=Meta(exif=exif.tobytes()))
        writer.write(deep)
        writer.close()
    np.testing.assert_array_equal(read(tmp_path / 'deep.png').image, expected.astype(np.uint16) * 257)


@pytest.mark.parametrize('ending', ['.png', '.jpg', '.webp'])
@pytest.mark.parametrize('xmp', [b'<x tiff:Orientation="6"/>', b'<x><tiff:Orientation>6</tiff:Orientation></x>'])
@pytest.mark.parametrize('in_exif', [False, True])
def test_orientation_in_xmp_is_applied_once(in_exif: bool, xmp: bytes, ending: str, tmp_path: Path) -> None:
    """Also by those who read the result."""
    exif = Image.Exif()
    if in_exif:
        exif[ExifTags.Base.Orientation] = 6
    source = save(tmp_path / 'in.jpg', RGB, exif=exif, xmp=xmp, quality=100)
    picture = read(source)
    assert picture.image.shape == (9, 6, 3)
    write(tmp_path / f'x{ending}', [picture.image], (9, 6, 3), 'uint8', picture.meta)
    assert read(tmp_path / f'x{ending}').image.shape == (9, 6, 3)
    assert ImageOps.exif_transpose(Image.open(tmp_path / f'x{ending}')).size == (6, 9)


def test_what_a_jpeg_has_no_room_for_is_left_out_and_named(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'x' * 66_000
    path = tmp_path / 'x.jpg'
    for key, value, words in (('xmp', b'x' * 65_505, '65,505 bytes is left out: JPEG has room for 65,504 bytes'),
                              ('exif', exif.tobytes(), 'EXIF data of .* JPEG has room for 65,533')):  # fmt: skip
        (note,) = write(path, [RGB], (6, 9, 3), 'uint8', Meta(dpi=(300, 300), **{key: value}))
        assert re.search(words, note), note
        found = Image.open(path)
        assert key not in found.info and found.info['dpi'] == (300, 300)
    assert not write(path, [RGB], (6, 9, 3), 'uint8', Meta(xmp=b'x' * 65_504))
    assert Image.open(path).info['xmp'] == b'x' * 65_504


def test_twelve_bits_of_a_gray_tiff_are_kept(tmp_path: Path) -> None:
    """Two levels of 12 bits in three bytes, as microscopes write them."""
    levels = RNG.integers(0, 4096, (6, 10)).astype(np.uint16)
    even, odd = levels.reshape(-1, 2).T
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=1).astype(np.uint8).tobytes()
    tags = [(256, 10), (257, 6), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 12 * 9 + 4), (277, 1), (278, 6),
            (279, len(packed))]  # fmt: skip
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    head = struct.pack('<2sHIH', b'II', 42, 8, len(tags)) + entries + bytes(4)
    (tmp_path / 'x.tif').write_bytes(head + packed)
    np.testing.assert_array_equal(read(tmp_path / 'x.tif').image[..., 0], (levels * (65535 / 4095)).round())


def test_bits_that_would_be_lost_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'x.jp2'
    cv2.imwrite(str(path), np.tile(DEEP[..., :3], (8, 8, 1)))
    with pytest.raises(RestoreError, match='16 bits a channel, of which 8 would be left'):
        read(path)
    cv2.imwrite(str(tmp_path / 'x.png'), DEEP[..., :3])
    for each in (path, tmp_path / 'x.png'):
        with pytest.raises(PictureError, match='more than 8 bits a channel'):
            read_image(each)


@pytest.mark.skipif(not features.check('avif'), reason='this Pillow has no AVIF')
def test_bits_of_an_avif(tmp_path: Path) -> None:
    """By the flags of the codec's settings, set by hand: nothing here encodes more than 8 bits."""
    path = save(tmp_path / 'x.avif', RGB)
    assert read(path).image.shape == (6, 9, 3)
    image, data = Image.open(path), bytearray(path.read_bytes())
    for flags, expected in ((0, 8), (0x40, 10), (0x60, 12)):
        data[data.find(b'av1C') + 6] = flags
        assert bits(image, bytes(data)) == expected


def test_broken_data_beside_the_levels_cost_no_picture(tmp_path: Path) -> None:
    for ending in ('.png', '.webp'):
        found = read(save(tmp_path / f'x{ending}', RGB, exif=b'Exif\0\0nonsense'))
        assert found.image.shape == RGB.shape and found.meta.exif is None
        assert found.notes == ('its EXIF data are broken (they have no header): left out',)


def test_a_picture_of_pils_that_is_cut_short(tmp_path: Path) -> None:
    cut = tmp_path / 'cut.png'
    cut.write_bytes(save(tmp_path / 'x.png', RNG.integers(0, 256, (50, 50, 3), np.uint8)).read_bytes()[:999])
    with pytest.raises(RestoreError, match='it is broken'):
        from_pil(Image.open(cut))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    given = Image.fromarray(RGB).convert('CMYK')
    found = read(save(tmp_path / 'x.tif', given))
    np.testing.assert_array_equal(found.image, np.asarray(given.convert('RGB')))
    # Black ink alone, as Adobe's JPEG holds it (inverted), is black.
    black = Image.merge('CMYK', [Image.new('L', (8, 8), level) for level in (0, 0, 0, 255)])
    assert read(save(tmp_path / 'x.jpg', black)).image.max() < 5
    broken = save(tmp_path / 'y.jpg', black, icc_profile=b'no profile')
    found = read(broken)
    assert found.image.max() < 5 and found.meta.icc is None
    assert 'CMYK profile cannot be used' in found.notes[0]


def test_cmyk_of_sixteen_bits_becomes_eight_which_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / 'x.tif', DEEP, photometric='separated')
    found = read(tmp_path / 'x.tif')
    inks = Image.frombytes('CMYK', (9, 6), (DEEP >> 8).astype(np.uint8).tobytes())
    np.testing.assert_array_equal(found.image, np.asarray(inks.convert('RGB')))
    assert found.notes == ('its 16 bits a channel become 8: CMYK is converted with 8',)


@pytest.mark.parametrize('ending', ['.png', '.jpg', '.webp', '.tif', '.bmp'])
def test_what_a_file_says_is_kept(ending: str, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'A camera'
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 9
    source = save(tmp_path / 'in.jpg', RGB, icc_profile=profile, exif=exif, dpi=(300, 300), quality=95)
    picture = read(source)
    assert picture.meta.icc == profile and picture.meta.dpi == (300, 300)
    larger = np.repeat(np.repeat(picture.image, 4, axis=0), 4, axis=1)
    path = tmp_path / f'out{ending}'
    write(path, [larger[:8], larger[8:]], larger.shape, 'uint8', picture.meta)
    result = Image.open(path)
    assert result.size == (36, 24)
    assert np.abs(np.asarray(result.convert('RGB')).astype(int) - larger).mean() < 6
    if ending != '.bmp':
        assert result.info['icc_profile'] == profile
    if ending in ('.png', '.jpg', '.tif'):
        assert tuple(round(float(each)) for each in result.info['dpi']) == (300, 300)
    if ending in ('.png', '.jpg', '.webp'):
        assert result.getexif()[ExifTags.Base.Make] == 'A camera'
        assert result.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] == 36


def test_text_of_a_png_is_kept(tmp_path: Path) -> None:
    meta = Meta(text={'Title': 'Grüße'}, xmp=b'<x:xmpmeta/>')
    write(tmp_path / 'x.png', [RGB], (6, 9, 3), 'uint8', meta)
    assert Image.open(tmp_path / 'x.png').text['Title'] == 'Grüße'
    found = read(tmp_path / 'x.png').meta
    assert found.text == meta.text and found.xmp == meta.xmp


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_png_in_rows_is_what_pil_reads(channels: int, tmp_path: Path) -> None:
    image = DEEP[..., :channels].astype(np.uint8)
    with open(tmp_path / 'x.png', 'wb') as file:
        writer = PngWriter(file, 6, 9, channels)
        for top in (0, 1, 4):
            writer.write(image[top:{0: 1, 1: 4, 4: 6}[top]])
        writer.close()
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'x.png')), image.squeeze())
    with pytest.raises(ValueError, match='lacks 5 rows'):
        writer = PngWriter(io.BytesIO(), 6, 9, channels)
        writer.write(image[:1])
        writer.close()


def test_animations_and_pages_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4, 3), level, np.uint8)) for level in (0, 99, 200)]
    for name, words in (('x.gif', 'animation'), ('x.webp', 'animation'), ('x.png', 'animation'), ('x.tif', 'pages')):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(RestoreError, match=f'it has 3 .*{words}'):
            read(tmp_path / name)
    frames[0].save(tmp_path / 'x.mpo', save_all=True, append_images=frames[1:])  # as telephones write
    assert read(tmp_path / 'x.mpo').image.max() < 5


def test_broken_files_are_named_with_the_reason(tmp_path: Path) -> None:
    whole = save(tmp_path / 'whole.png', RNG.integers(0, 256, (50, 50, 3), np.uint8)).read_bytes()
    deep = tmp_path / 'deep.png'
    write(deep, [np.repeat(DEEP, 20, axis=0)], (120, 9, 4), 'uint16', Meta())
    for name, data, words in (
        ('empty.png', b'', 'empty'), ('text.png', b'hello', 'no image'), ('cut.png', whole[:999], 'broken'),
        ('cut16.png', deep.read_bytes()[:200], 'broken'), ('floats.tif', None, 'TIFF of 32-bit floats'),
    ):  # fmt: skip
        path = tmp_path / name
        if data is None:
            Image.fromarray(np.zeros((2, 2), np.float32)).save(path)
        else:
            path.write_bytes(data)
        with pytest.raises(RestoreError, match=words):
            read(path)


@pytest.mark.parametrize(('data', 'said'), [
    (b'\0\0\0\x24ftypheic\0\0\0\0mif1heic', 'but HEIC: convert it to PNG or JPEG'),
    (b'\xff\x0a\xfa\x1f', 'but JPEG XL: convert it'), (b'8BPS\0\1', 'but a Photoshop document: convert it'),
    (b'<!DOCTYPE html><title>404', 'but a web page: get the image itself'),
    (b'no image', 'such as PNG, JPEG, WebP or TIFF'),
])  # fmt: skip
def test_a_file_of_another_format_is_named(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / 'x.jpg').write_bytes(data)
    with pytest.raises(RestoreError, match=f'no image in a known format, {said}'):
        read(tmp_path / 'x.jpg')


def test_results_that_a_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    for name, shape, kind, words in (
        ('x.jpg', (4, 4, 4), 'uint8', 'no transparency'), ('x.jpg', (4, 4, 3), 'uint16', '16 bits'),
        ('x.jpg', (4, 70_000, 3), 'uint8', '65500 pixels'), ('x.webp', (4, 4, 3), 'uint16', '16 bits'),
        ('x.png', (4, 4, 3), 'float32', 'not float32'), ('x.xyz', (4, 4, 3), 'uint8', 'ends in one of'),
    ):  # fmt: skip
        with pytest.raises(RestoreError, match=words):
            write(tmp_path / name, iter(()), shape, kind, Meta())
    assert not [*tmp_path.iterdir()]


def test_half_a_result_is_none(tmp_path: Path) -> None:
    def rows() -> Any:
        yield RGB[:2]
        raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError):
        write(tmp_path / 'x.png', rows(), (6, 9, 3), 'uint8', Meta())
    assert not [*tmp_path.iterdir()]


def test_nearest_visible_colour() -> None:
    """Against a search over all pixels."""
    image = RNG.integers(0, 256, (7, 8, 4), np.uint8)
    image[..., 3] = np.where(RNG.random((7, 8)) < 0.7, 0, 200)
    found = Picture(image).opaque()
    seen = np.argwhere(image[..., 3] > 0)
    for row, column in np.ndindex(7, 8):
        distance = ((seen - (row, column)) ** 2).sum(axis=1)
        nearest = seen[distance <= distance.min() + 1]  # OpenCV's distances are not exact
        assert any((found[row, column, :3] == image[r, c, :3]).all() for r, c in nearest)
    assert (found[..., 3] == image[..., 3]).all()
