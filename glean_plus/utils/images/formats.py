"""The formats of images that are opened, whatever the ending of the file is."""

from __future__ import annotations

from PIL import Image

# PIL knows more, some of which start other programs (EPS) or read other files.
FORMATS = ('PNG', 'JPEG', 'MPO', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM', 'TGA', 'JPEG2000', 'AVIF')
KNOWN = [name for name in FORMATS if Image.init() is not None and name in Image.OPEN]
