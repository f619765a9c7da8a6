"""The formats of images that are opened, whatever the ending of the file is."""

from __future__ import annotations

from PIL import Image

# PIL knows more, some of which start other programs (EPS) or read other files.
FORMATS = ('PNG', 'JPEG', 'MPO', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM', 'TGA', 'JPEG2000', 'AVIF')
KNOWN = [name for name in FORMATS if Image.init() is not None and name in Image.OPEN]

# Other files that are taken for images, by what stands at a place of theirs: what to call them, and what to do.
_CONVERT, _FETCH = 'convert it to PNG or JPEG', 'get the image itself'
_OTHERS = (
    *((4, b'ftyp' + brand, 'HEIC', _CONVERT) for brand in (b'hei', b'hev', b'mif1', b'msf1')),
    (0, b'\xff\x0a', 'JPEG XL', _CONVERT), (0, b'\0\0\0\x0cJXL ', 'JPEG XL', _CONVERT),
    (4, b'ftypcrx', 'a raw file of a camera', _CONVERT), (0, b'FUJIFILMCCD-RAW', 'a raw file of a camera', _CONVERT),
    (0, b'8BPS', 'a Photoshop document', _CONVERT), (0, b'v/1\1', 'OpenEXR', _CONVERT),
    (0, b'#?RADIANCE', 'Radiance HDR', _CONVERT), (0, b'DDS ', 'a DDS texture', _CONVERT),
    (0, b'\0\0\1\0', 'a Windows icon', _CONVERT), (0, b'%PDF', 'PDF', _CONVERT), (0, b'%!PS', 'PostScript', _CONVERT),
    (0, b'<svg', 'SVG', _CONVERT), (0, b'<!DOCTYPE html', 'a web page', _FETCH), (0, b'<html', 'a web page', _FETCH),
    (0, b'PK\3\4', 'a ZIP archive', _FETCH), (0, b'version https://git-lfs', 'a pointer of Git LFS', _FETCH),
)  # fmt: skip


def other(data: bytes) -> str:
    """What a file of none of the formats is, and what to do with it: the end of a sentence."""
    for place, magic, name, remedy in _OTHERS:
        if data.startswith(magic, place):
            return f'but {name}: {remedy}'
    return 'such as PNG, JPEG, WebP or TIFF'
