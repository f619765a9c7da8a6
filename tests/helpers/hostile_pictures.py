"""Hostile images and arrays."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from glean_plus.inference.read import read, read_animation
from glean_plus.inference.write import write
from glean_plus.metrics import FIDMetric
from glean_plus.prepare.decode import decode

from hostile_bytes import CANARY, Rng, mutated, outcome
from image_files import tiff


@functools.lru_cache
def pictures() -> dict[str, bytes]:
    values = np.random.default_rng(0)
    colours = Image.fromarray(values.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, 'x'
    found = {}

    def add(name: str, image: Image.Image, form: str, **options: Any) -> None:
        file = io.BytesIO()
        image.save(file, form, **options)
        found[name] = file.getvalue()

    add('png', colours, 'PNG', icc_profile=profile, exif=exif, dpi=(72, 72))
    add('palette.png', colours.convert('P'), 'PNG', transparency=3)
    add('deep.png', Image.fromarray(values.integers(0, 65536, (20, 24), dtype=np.uint16)), 'PNG')
    for form in ('PNG', 'GIF', 'WEBP'):
        add(f'animated.{form.lower()}', colours, form, save_all=True, append_images=[colours.rotate(90)])
    add('jpg', colours, 'JPEG', icc_profile=profile, exif=exif, dpi=(72, 72))
    add('progressive.jpg', colours, 'JPEG', progressive=True)
    add('cmyk.jpg', colours.convert('CMYK'), 'JPEG', icc_profile=profile)
    add('webp', colours, 'WEBP', icc_profile=profile, exif=exif)
    add('lossless.webp', colours.convert('RGBA'), 'WEBP', lossless=True)
    add('tif', colours, 'TIFF', compression='tiff_lzw', icc_profile=profile)
    add('deflate.tif', colours, 'TIFF', compression='tiff_adobe_deflate')
    add('deep.tif', Image.fromarray(values.integers(0, 65536, (20, 24), dtype=np.uint16)), 'TIFF')
    add('bmp', colours, 'BMP')
    add('gif', colours.convert('P'), 'GIF')
    add('ppm', colours, 'PPM')
    add('tga', colours, 'TGA', compression='tga_rle')
    add('jp2', colours, 'JPEG2000')
    for name, options in (('opacity.tif', dict(extras=(2,))), ('planes.tif', dict(extras=(0, 1), planes=True))):
        found[name] = tiff(values, 1, 16, **options)  # which PIL does not know
    found['deep.ppm'] = b'P5 24 20 65535\n' + values.bytes(960)
    found['eps'] = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 20\n%%EndComments\nshowpage\n'
    return found


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        size = struct.unpack('>I', data[at : at + 4])[0]
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def make_png(rng: Rng, data: bytes) -> bytes:
    """Chunks with right checksums, whose content, order and number are not."""
    chunks = png_chunks(data)
    for _ in range(rng.choice((1, 2, 3))):
        index = rng.randrange(len(chunks))
        name, content = chunks[index]
        how = rng.randrange(6)
        if how == 0:
            chunks[index] = (name, mutated(rng, content) if content else rng.randbytes(9))
        elif how == 1:
            chunks[index:index] = [chunks[index]] * rng.choice((1, 3, 300))
        elif how == 2:
            side = rng.choice((0, 1, 24, 3000, 50_000, 2**31 - 1, 2**32 - 1))
            head = struct.pack(
                '>IIBB', side, rng.choice((side, 1, 20)), rng.choice((1, 8, 16, 3)), rng.choice((0, 2, 3, 6))
            )
            chunks[0] = (b'IHDR', head + bytes(3))
        elif how == 3:
            text = rng.choice((zlib.compress(bytes(50 << 20)), zlib.compress(b'x'), b'\xff' * 99, b''))
            chunks.insert(
                1,
                rng.choice(
                    (
                        (b'zTXt', b'a\0\0' + text),
                        (b'iCCP', b'a\0\0' + text),
                        (b'tEXt', b'\xff\0' + text),
                        (b'iTXt', b'../k\0\1\0\0\0' + text),
                    )
                ),
            )
        elif how == 4:
            chunks.insert(
                1,
                rng.choice(
                    (
                        (b'pHYs', b'\xff' * 8 + b'\1'),
                        (b'acTL', struct.pack('>II', 2**31 - 1, 0)),
                        (b'eXIf', mutated(rng, b'Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0')),
                        (b'tRNS', rng.randbytes(7)),
                        (b'PLTE', rng.randbytes(8)),
                    )
                ),
            )
        else:
            del chunks[index]
            chunks = chunks or [(b'IEND', b'')]
    return data[:8] + b''.join(
        struct.pack('>I', len(each)) + name + each + struct.pack('>I', zlib.crc32(name + each)) for name, each in chunks
    )


def make_picture(rng: Rng, folder: Path) -> Path:
    name = rng.choice(sorted(pictures()))
    data = pictures()[name]
    path = folder / f'x.{rng.choice((name, "png"))}'
    if name.endswith('png') and rng.random() < 0.6:
        path.write_bytes(make_png(rng, data))
    elif name == 'eps' or rng.random() < 0.02:
        path.write_bytes(data)
    else:
        path.write_bytes(mutated(rng, data, list(pictures().values())))
    return path


def use_picture(path: Path, folder: Path) -> list[str]:
    found: list[Any] = []
    outcomes = [outcome(lambda: found.append(read(path))), outcome(lambda: decode(path.read_bytes()))]
    outcomes.append(f'{outcome(lambda: read_animation(path))} (animation)')
    if found and found[0].image.size < 100_000:
        image, meta = found[0].image, found[0].meta
        for ending in ('.png', '.jpg', '.webp', '.tif'):
            target = folder / f'y{ending}'
            outcomes.append(outcome(lambda target=target: write(target, [image], image.shape, image.dtype.name, meta)))
    return [f'{each} (image)' if each == 'read' else each for each in outcomes]


def pixels(path: Path) -> int:
    """That its header tells, up to PIL's limit."""
    try:
        with Image.open(path) as image:
            return min(image.width * image.height, 2 * (Image.MAX_IMAGE_PIXELS or 0))
    except Exception:  # what is no image has none
        return 0


def npy_header(rng: Rng) -> bytes:
    shape = rng.choice(
        (
            '(3, 8, 8)',
            '(1, 3, 8, 8)',
            '(3, 100000000, 1000000)',
            '(-1, 8, 3)',
            '(8, 8, 3)',
            '()',
            '(0, 3, 3)',
            '(3,)',
            '8',
            '(' * 300,
            '(9999999999999999999999, 1, 3)',
        )
    )
    kind = rng.choice(
        ("'|u1'", "'|O'", "'<f8'", "[('a', '|O')]", "'|V4000000000'", '1', "'|u1'", f'__import__("{CANARY}")')
    )
    text = (
        f"{{'descr': {kind}, 'fortran_order': {rng.choice(('False', 'True', '1'))}, 'shape': {shape}, }}".ljust(117)
        + '\n'
    )
    return (
        b'\x93NUMPY'
        + rng.choice((b'\1\0', b'\1\0', b'\2\0', b'\3\0', b'\x09\0'))
        + struct.pack('<H', len(text))
        + text.encode()
    )


def make_array(rng: Rng, folder: Path) -> Path:
    file = io.BytesIO()
    packed = rng.random() < 0.6
    if packed:
        np.savez_compressed(
            file,
            **(dict(mu=np.zeros(4), sigma=np.eye(4)) if rng.random() < 0.5 else dict(a=np.zeros((3, 8, 8), np.uint8))),
        )
        if rng.random() < 0.3:
            file = io.BytesIO()
            with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
                for name in rng.choice((('mu.npy', 'sigma.npy'), ('a.npy',), ('../../mu.npy', '/sigma.npy'))):
                    archive.writestr(name, npy_header(rng) + bytes(rng.choice((0, 192, 30 << 20))))
    else:
        np.save(file, rng.choice((np.zeros((3, 8, 8), np.uint8), np.array([{}], object))), allow_pickle=True)
    data = file.getvalue()
    how = rng.randrange(3)
    if how == 0 and not packed:
        data = npy_header(rng) + bytes(192)
    elif how == 1:
        data = mutated(rng, data)
    path = folder / ('x.npz' if packed else 'x.npy')
    path.write_bytes(data)
    return path


def use_array(path: Path, folder: Path) -> list[str]:
    return [
        outcome(lambda: decode(path.read_bytes())),
        outcome(lambda: FIDMetric(reference=str(path), features='stlpips-alex'), path.name, (ValueError,)),
    ]
