"""Arrays, tensors and PIL's images <-> images in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Picture
from glean_plus.inference.read import from_pil

# Results (H, W, K) in their pictures' type, and these images -> what the caller gets.
Back = Callable[[Sequence[tuple[np.ndarray, Picture]]], Any]


def accept(given: Any) -> tuple[list[Picture], Back]:
    """What a caller gives, but for paths and lists -> images, and what turns their results into the same kind.

    Raises:
        RestoreError: If it is no image.
    """
    if isinstance(given, Image.Image):
        return [from_pil(given)], lambda results: to_pil(*results[0])
    if isinstance(given, np.ndarray):
        flat = given.ndim == 2
        image = given[..., None] if flat else given
        kept = image.astype(image.dtype.newbyteorder('='))
        return [Picture(kept)], lambda results: _flattened(results[0][0], flat)
    if isinstance(given, Tensor):
        return _accept_tensor(given)
    raise RestoreError(f'An image is a path, an array, a PIL image or a tensor, not a {type(given).__name__}.')


def _flattened(result: np.ndarray, flat: bool) -> np.ndarray:
    return result[..., 0] if flat and result.shape[2] == 1 else result


def _accept_tensor(given: Tensor) -> tuple[list[Picture], Back]:
    if given.ndim not in (3, 4) or not (given.is_floating_point() or given.dtype == torch.uint8):
        raise RestoreError(
            f'A tensor is (C, H, W) or (N, C, H, W), uint8 or floats of 0 to 1, but this is {tuple(given.shape)} of '
            f'{given.dtype}.'
        )
    batch = given.detach().cpu() if given.ndim == 4 else given.detach().cpu()[None]
    batch = batch if batch.dtype == torch.uint8 else batch.float()
    pictures = [Picture(np.ascontiguousarray(each.permute(1, 2, 0).numpy())) for each in batch]

    def back(results: Sequence[tuple[np.ndarray, Picture]]) -> Tensor:
        tensors = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image, _ in results]
        stacked = torch.stack(tensors) if given.ndim == 4 else tensors[0]
        return stacked.to(given.device, given.dtype)

    return pictures, back


def to_pil(result: np.ndarray, picture: Picture) -> Image.Image | np.ndarray:
    """Levels as PIL's image, with the profile and EXIF data; 16 bits in colour, which PIL lacks, stay an array."""
    if result.dtype != np.uint8 and result.shape[2] > 1:
        return result
    image = Image.fromarray(result[..., 0] if result.shape[2] == 1 else result)
    meta = picture.kept(result.shape[2])
    for key, value in (('icc_profile', meta.icc), ('exif', meta.exif), ('xmp', meta.xmp), ('dpi', meta.dpi)):
        if value is not None:
            image.info[key] = value
    return image

