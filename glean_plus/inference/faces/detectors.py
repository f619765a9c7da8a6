"""Detectors of faces with five landmarks."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glean_plus.inference.errors import RestoreError
from glean_plus.inference.faces.find import Detector, Face
from glean_plus.inference.source import PathLike
from glean_plus.weights import Card, WeightsError, local_copy, read_state_dict
from glean_plus.weights.fetch import cached_path, is_address, sha256
from glean_plus.weights.strict import load_strict

RETINAFACE = Card(
    name='retinaface_resnet50',
    kind='network',
    data='WIDER FACE',
    licence='MIT (biubug6/Pytorch_Retinaface); images: WIDER FACE, non-commercial research',
    colour_order='bgr',
    value_range=(0, 255),
    sha256='6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d',
    url='https://github.com/xinntao/facexlib/releases/download/v0.1.0/detection_Resnet50_Final.pth',
    size=109_497_761,
    source='facexlib 0.3.0 detection/__init__.py; hash and size: as several projects that pin this file publish them',
)
NAMES = ('auto', 'retinaface', 'mtcnn')
MTCNN_PACKAGE = 'facenet-pytorch'
BY_HAND = f'pip install --no-deps {MTCNN_PACKAGE}==2.6.0'
LEAST = 0.5  # score of what is a face at all; what is restored is chosen later
SMALLEST = 20  # pixels: of a face for MTCNN, and of an image that it takes


class RetinaFace:
    """RetinaFace with a ResNet-50 (Deng et al., CVPR 2020), as facexlib builds it.

    Args:
        weights: State dict of it; None takes the published one (109 MB).
        device: Where it runs.

    Raises:
        WeightsError: If its weights cannot be had, or do not fit.
    """

    def __init__(self, weights: PathLike | Card | None = None, device: torch.device | str = 'cpu') -> None:
        from facexlib.detection.retinaface import RetinaFace as Network

        file = local_copy(RETINAFACE if weights is None else weights)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # it asks torchvision in an old way
            self.network = Network('resnet50', device=torch.device(device))
        state = {key.removeprefix('module.'): value for key, value in read_state_dict(file).items()}
        load_strict(self.network, state, str(file), 'RetinaFace (ResNet-50)')
        self.facts: Mapping[str, Any] = dict(name='retinaface', weights=sha256(file))

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> list[Face]:
        rows = self.network.detect_faces(np.ascontiguousarray(image[..., ::-1]), LEAST)
        return [Face.from_arrays(row[:4], row[4], row[5:].reshape(5, 2)) for row in rows]


class MTCNN:
    """MTCNN (Zhang et al., 2016) of the package facenet-pytorch, which has its weights inside.

    Args:
        device: Where it runs.

    Raises:
        RestoreError: If the package is not installed.
    """

    def __init__(self, device: torch.device | str = 'cpu') -> None:
        if importlib.util.find_spec('facenet_pytorch') is None:
            raise RestoreError(
                f'The detector mtcnn is in a package that is not installed: {BY_HAND} (without its dependencies, '
                'which would bring an old PyTorch).'
            )
        from facenet_pytorch import MTCNN as Network

        self.network = Network(keep_all=True, min_face_size=SMALLEST, device=torch.device(device))
        self.facts: Mapping[str, Any] = dict(name='mtcnn', version=metadata.version(MTCNN_PACKAGE))

    def __call__(self, image: np.ndarray) -> list[Face]:
        if min(image.shape[:2]) < SMALLEST:
            return []
        boxes, scores, points = self.network.detect(image, landmarks=True)
        if boxes is None:
            return []
        return [Face.from_arrays(*each) for each in zip(boxes, scores, points) if each[1] >= LEAST]


def is_here() -> bool:
    """Whether ``auto`` finds a detector without a download."""
    return cached_path(RETINAFACE).is_file() or importlib.util.find_spec('facenet_pytorch') is not None


def choose_detector(name: PathLike, device: torch.device | str = 'cpu') -> Detector:
    """A detector by its name.

    Args:
        name: ``retinaface``, ``mtcnn``, a path or URL of RetinaFace's weights, or ``auto``: RetinaFace where its
            weights are there, else MTCNN where it is installed, else RetinaFace, which is fetched.
        device: Where it runs.

    Raises:
        RestoreError: If there is no such detector, or its package is missing.
        WeightsError: If its weights cannot be had, or do not fit.
    """
    if name == 'auto':
        there = cached_path(RETINAFACE).is_file() or importlib.util.find_spec('facenet_pytorch') is None
        name = 'retinaface' if there else 'mtcnn'
    if name == 'mtcnn':
        return MTCNN(device)
    if name == 'retinaface':
        try:
            return RetinaFace(device=device)
        except WeightsError as error:
            raise WeightsError(f'{error} Or take the detector mtcnn ({BY_HAND}).') from error
    if not is_address(name) and not Path(name).expanduser().is_file():
        raise RestoreError(f'The detector is one of {", ".join(NAMES)}, or a file of weights, not {str(name)!r}.')
    return RetinaFace(name, device)
