"""Faces as files, beside the photo that they are from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glean_plus.inference.faces.find import Face
from glean_plus.inference.image import Meta
from glean_plus.inference.jobs import FACE_LIST
from glean_plus.inference.write import fitting, write
from glean_plus.utils.files import save_json


def save_faces(
    folder: Path, faces: Sequence[Face], crops: Sequence[tuple[np.ndarray, np.ndarray]], meta: Meta | None = None
) -> None:
    """Each face as it was cut out and as it was restored, numbered from 1, and what is known of them.

    Args:
        folder: Is emptied of older ones.
        faces: Of a photo.
        crops: Of each face.
        meta: Of the photo, whose colour profile the files get.
    """
    profile, _ = fitting('.png', Meta(icc=meta.icc if meta else None))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACE_LIST).unlink(missing_ok=True)
    for old in folder.glob('*.png'):
        old.unlink()
    for number, (before, after) in enumerate(crops, 1):
        for name, image in ((f'{number}.input.png', before), (f'{number}.png', after)):
            height, width, channels = image.shape
            write(folder / name, [image], (height, width, channels), image.dtype.name, profile)
    save_json([face.content() for face in faces], folder / FACE_LIST)
