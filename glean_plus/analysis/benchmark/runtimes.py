"""A network run by what others serve networks with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from glean_plus.export.export import OPSET
from glean_plus.export.formats import Graph, package, write_onnx
from glean_plus.export.graph import PlainGLEAN, Shape
from glean_plus.models.glean import GLEAN


def onnxruntime(network: GLEAN, channels: int) -> Callable[[Tensor], Tensor]:
    """Our export, its bank folded, by ONNX Runtime on a CPU with PyTorch's number of threads.

    Raises:
        ExportError: If one of its packages is not installed.
    """
    runtime = package('onnxruntime')
    shape = Shape(None, (network.in_size, network.in_size))
    example = torch.zeros(2, channels, network.in_size, network.in_size)
    plain = PlainGLEAN(network, shape, None)
    content = write_onnx(Graph(plain, (example,), shape, 1, 1, dict(version='benchmark'), OPSET))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    return lambda lq: torch.from_numpy(session.run(None, dict(image=lq.numpy()))[0])


def torch_compile(network: GLEAN, channels: int) -> Callable[[Tensor], Tensor]:
    """The model as it is, by TorchInductor; it is compiled at the first input."""
    compiled: Callable[[Tensor], Tensor] = torch.compile(network)
    return compiled


# Beside the speeds of `test_cfg`: each takes a network and the channels of its input.
Run = Callable[[Tensor], Tensor]
RUNTIMES: Mapping[str, Callable[[GLEAN, int], Run]] = {'onnxruntime': onnxruntime, 'torch.compile': torch_compile}
