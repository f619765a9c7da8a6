"""A trained model -> a file that restores images without this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from glean_plus.export.check import BOUND, Measured, compare
from glean_plus.export.errors import ExportError
from glean_plus.export.formats import FORMATS, Graph
from glean_plus.export.graph import Served, Shape
from glean_plus.inference.network import Network
from glean_plus.inference.source import PathLike, Source, find
from glean_plus.utils.choices import OPSET, OPSETS
from glean_plus.utils.files import sweep, whole_or_not_at_all
from glean_plus.utils.tables import markdown
from glean_plus.version import __version__
from glean_plus.weights.fetch import sha256


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: The file.
        facts: What it says of itself.
        measured: How far it is from the model.
    """

    path: Path
    facts: Mapping[str, Any]
    measured: list[Measured]

    @property
    def worst(self) -> float:
        """The largest difference, as a share of the range."""
        return max(each.difference for each in self.measured)

    def table(self) -> str:
        """What was measured, as a Markdown table, and the file."""
        rows = [('input', 'size', 'batch', 'difference, of the range')]
        rows += [(each.picture, f'{each.height}x{each.width}', str(each.batch), f'{each.difference:.1e}')
                 for each in self.measured]  # fmt: skip
        megabytes = self.path.stat().st_size / 1e6
        last = f'{self.path}: {megabytes:.1f} MB, the model to {self.worst:.1e} of the range'
        return '\n'.join([*markdown(rows), last])

    def report(self) -> dict[str, Any]:
        """The same for programs."""
        return dict(file=str(self.path), facts=self.facts, measured=[asdict(each) for each in self.measured])


def export(
    model: PathLike | Mapping[str, Any],
    out: PathLike,
    checkpoint: PathLike | None = None,
    *,
    dynamic: bool = False,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    label: int | None = None,
    opset: int = OPSET,
    overwrite: bool = False,
) -> Exported:
    """Write a model as ONNX (.onnx), as a program of ``torch.export`` (.pt2) or as TorchScript (.ts).

    The file takes ``image``, (N, 3, H, W), RGB, float32, 0 to 1, and, of a model that is given a class, ``label``,
    (N,), int64; it gives ``restored``, (N, 3, s H, s W), alike. It is compared with the model before it is there.

    Args:
        model, checkpoint: As for :class:`glean_plus.Restorer`.
        out: The file; its ending says the format.
        dynamic: Take any height and width that are multiples of the network's ``multiple`` (LightGLEAN).
        size: Height and width of the input; the model's own if None. Others are for networks that take any.
        batch: Images at a time; None for any number.
        label: Class of all images, which is then no input.
        opset: Of ONNX.
        overwrite: Replace a file that is there.

    Raises:
        ExportError: If the model cannot be exported so, or the file does not do what the model does.
        RestoreError: If there is no such model, or a label is wrong.
        WeightsError: If weights cannot be had, read, or do not fit.

    Example:
        >>> made = export('lightglean_twemoji_4x', 'emoji.ts', size=(16, 16), batch=1)
        >>> made.path.name, made.facts['scale']
        ('emoji.ts', 4)
    """
    path = Path(out)
    if path.suffix not in FORMATS:
        raise ExportError(f'{path} must end in one of {", ".join(FORMATS)}, which says the format.')
    if path.exists() and not overwrite:
        raise ExportError(f'{path} is there already: choose another name, or overwrite it.')
    if opset not in OPSETS:
        raise ExportError(f'opset is {OPSETS[0]} to {OPSETS[-1]}, not {opset}.')
    if batch is not None and batch < 1:
        raise ExportError(f'batch is 1 or more, not {batch}.')
    source = find(model, checkpoint)
    each_label = bool(source.model['generator'].get('given_class')) and label is None
    network = Network(source, 'cpu', label=0 if each_label else label)
    shape = _shape(network, dynamic, size, batch)
    served = Served(network, shape, label).eval()
    graph = Graph(
        served, _example(network, shape, each_label), shape, network.multiple, network.scale,
        _facts(source, network, shape, label, each_label), opset,
    )  # fmt: skip
    format_ = FORMATS[path.suffix]
    sweep(path)
    with whole_or_not_at_all(path) as file:
        file.write(format_.write(graph))
        file.flush()
        measured = compare(network, format_.open(Path(file.name).read_bytes()), shape, each_label)
    return Exported(path, graph.facts, measured)


def _shape(network: Network, dynamic: bool, size: tuple[int, int] | None, batch: int | None) -> Shape:
    own = (int(network.in_size), int(network.in_size))
    if not dynamic and size in (None, own):
        return Shape(batch, own)
    if dynamic and size is not None:
        raise ExportError('dynamic takes any size: leave size out.')
    if not network.any_size:
        raise ExportError(
            f'This model is bound to inputs of {own[0]}x{own[1]}: its codes are predicted, or its bank starts at 4, '
            'attends to the whole map or normalises over it. Export it without dynamic and size; larger images go '
            'through it in tiles.'
        )
    if dynamic:
        return Shape(batch, None)
    height, width = size or own
    if min(height, width) < 1 or height % network.multiple or width % network.multiple:
        raise ExportError(f'Sides must be multiples of {network.multiple}, but size is {height}x{width}.')
    return Shape(batch, (height, width))


def _example(network: Network, shape: Shape, each_label: bool) -> tuple[torch.Tensor, ...]:
    """Inputs to trace with. Free sides differ from each other and from 1, which would be taken for constants."""
    height, width = shape.size or (network.in_size, network.in_size + 2 * network.multiple)
    image = torch.rand(shape.batch or 2, 3, height, width)
    return (image, torch.zeros(len(image), dtype=torch.long)) if each_label else (image,)


def _facts(source: Source, network: Network, shape: Shape, label: int | None, each_label: bool) -> dict[str, Any]:
    size = 'any' if shape.size is None else 'x'.join(map(str, shape.size))
    facts: dict[str, Any] = dict(
        model=source.name, task=network.spec.task, scale=network.scale,
        size=size, multiple=network.multiple if shape.dynamic else 1, in_size=network.in_size,
        batch=shape.batch or 'any', channels='RGB', range='0 to 1', weights_sha256=sha256(source.checkpoint),
        version=__version__, bound=BOUND,
    )  # fmt: skip
    if each_label:
        facts['classes'] = network.spec.classes
    elif label is not None:
        facts['label'] = label
    if source.card is not None and source.card.licence:
        facts['licence'] = source.card.licence
    return facts
