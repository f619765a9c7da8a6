"""The formats of an export: written to bytes, and opened again by what serves them."""

from __future__ import annotations

import inspect
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor, nn

from glean_plus.compat import torch_at_least
from glean_plus.export.errors import ExportError
from glean_plus.export.graph import Shape

# Images, and where each has its own class these -> results.
Run = Callable[[Tensor, Optional[Tensor]], Tensor]
# Of an export's facts in a TorchScript or PyTorch program.
FACTS = 'glean_plus.json'


@dataclass(frozen=True)
class Graph:
    """What is written.

    Attributes:
        served: Images in, images out, as :class:`Served`.
        inputs: An example: images, and their classes where these are an input.
        shape: Of the images.
        multiple: Of free heights and widths.
        scale: How much larger results are.
        facts: What the file says of itself.
        opset: Of ONNX.
    """

    served: nn.Module
    inputs: tuple[Tensor, ...]
    shape: Shape
    multiple: int
    scale: int
    facts: Mapping[str, Any]
    opset: int

    @property
    def names(self) -> list[str]:
        """Of the inputs."""
        return ['image', 'label'][:len(self.inputs)]


@dataclass(frozen=True)
class Format:
    """``write`` gives a file's content, ``open`` what runs it."""

    write: Callable[[Graph], bytes]
    open: Callable[[bytes], Run]


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch warns that its older exporters are old, and of each number that becomes a constant, as all here may."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        yield


# ---- ONNX


def write_onnx(graph: Graph) -> bytes:
    """By the exporter that all versions of PyTorch have; the facts are metadata, each as text."""
    onnx = package('onnx')
    scale, free = graph.scale, {} if graph.shape.batch else {0: 'batch'}
    image, restored = dict(free), dict(free)
    if graph.shape.dynamic:
        image |= {2: 'height', 3: 'width'}
        restored |= {2: f'{scale}*height', 3: f'{scale}*width'}
    write: Callable[..., Any] = torch.onnx.export  # its arguments, and their types, depend on the version
    older = dict(dynamo=False) if 'dynamo' in inspect.signature(write).parameters else {}
    content = io.BytesIO()
    with _quiet():
        write(
            graph.served, graph.inputs, content, input_names=graph.names, output_names=['restored'],
            dynamic_axes=dict(image=image, label=free, restored=restored), opset_version=graph.opset, **older,
        )  # fmt: skip
    model = onnx.load_from_string(content.getvalue())
    model.producer_name, model.producer_version = 'glean_plus', str(graph.facts['version'])
    onnx.helper.set_model_props(model, {key: str(value) for key, value in graph.facts.items()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def open_onnx(content: bytes) -> Run:
    session = package('onnxruntime').InferenceSession(content, providers=['CPUExecutionProvider'])

    def run(image: Tensor, label: Tensor | None) -> Tensor:
        inputs = dict(image=image.numpy()) | ({} if label is None else dict(label=label.numpy()))
        return torch.from_numpy(session.run(None, inputs)[0])

    return run


def package(name: str) -> Any:
    """A package of the extra ``export``.

    Raises:
        ExportError: If it is not installed.
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise ExportError(f"ONNX needs the package {name}: pip install 'glean_plus[export]'.") from error


# ---- PyTorch


def write_torchscript(graph: Graph) -> bytes:
    content = io.BytesIO()
    with _quiet():
        traced = torch.jit.trace(graph.served, graph.inputs, check_trace=False)
        torch.jit.save(traced, content, _extra_files={FACTS: json.dumps(graph.facts)})
    return content.getvalue()


def open_torchscript(content: bytes) -> Run:
    with _quiet():
        return _called(torch.jit.load(io.BytesIO(content), map_location='cpu'))


def write_program(graph: Graph) -> bytes:
    """By ``torch.export``, which holds sides to their multiples."""
    if not torch_at_least('2.6'):
        raise ExportError(f'A .pt2 needs PyTorch 2.6 or newer, this is {torch.__version__}: take .ts or .onnx.')
    free: dict[int, Any] = {} if graph.shape.batch else {0: torch.export.Dim('batch')}
    image = dict(free)
    if graph.shape.dynamic:
        image |= {axis: graph.multiple * torch.export.Dim(name) if graph.multiple > 1 else torch.export.Dim(name)
                  for axis, name in ((2, 'height'), (3, 'width'))}  # fmt: skip
    shapes = dict(zip(graph.names, (image, free)))
    content = io.BytesIO()
    with _quiet():
        program = torch.export.export(graph.served, graph.inputs, dynamic_shapes=shapes)
        torch.export.save(program, content, extra_files={FACTS: json.dumps(graph.facts)})
    return content.getvalue()


def open_program(content: bytes) -> Run:
    with _quiet():
        return _called(torch.export.load(io.BytesIO(content)).module())


def _called(module: Any) -> Run:
    def run(image: Tensor, label: Tensor | None) -> Tensor:
        with _quiet():
            return module(image) if label is None else module(image, label)

    return run


FORMATS: dict[str, Format] = {
    '.onnx': Format(write_onnx, open_onnx),
    '.pt2': Format(write_program, open_program),
    '.ts': Format(write_torchscript, open_torchscript),
}
