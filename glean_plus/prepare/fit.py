"""An image of any shape -> the square that a bank makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FITS = {
    'crop': 'the middle square',
    'wide': 'the middle at 4:3 between black bars, as the car bank was trained (512x384 within 512x512)',
    'squeeze': 'the whole image, its aspect lost',
}


def cut(image: np.ndarray, fit: str) -> np.ndarray:
    """The part of (H, W, 3) that ``fit`` uses."""
    height, width = image.shape[:2]
    if fit == 'squeeze':
        return image
    if fit == 'crop':
        rows = columns = min(height, width)
    else:
        columns = min(width, height * 4 // 3)
        rows = columns * 3 // 4
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top:top + rows, left:left + columns]


def extent(image: np.ndarray, fit: str) -> int:
    """Pixels that the side of the square is made of: below the square's own side, the image is enlarged."""
    rows, columns = cut(image, fit).shape[:2]
    return columns if fit == 'wide' else min(rows, columns)


def fit_to(image: np.ndarray, size: int, fit: str) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) uint8, resized by MATLAB's bicubic, as GLEAN's authors did theirs."""
    import numpy as np

    part = cut(image, fit)
    shape = (size * 3 // 4, size) if fit == 'wide' else (size, size)
    if part.shape[:2] != shape:
        import torch

        from glean_plus.utils.images.arrays import quantize
        from glean_plus.utils.imresize import matlab_resize

        channels_first = torch.from_numpy(part.transpose(2, 0, 1).copy())
        part = quantize(matlab_resize(channels_first, shape).permute(1, 2, 0).numpy())
    if fit != 'wide':
        return np.ascontiguousarray(part)
    square = np.zeros((size, size, 3), np.uint8)
    top = (size - shape[0]) // 2
    square[top:top + shape[0]] = part
    return square
