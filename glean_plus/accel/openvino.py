"""A folded GLEAN run by OpenVINO, on a CPU."""

from __future__ import annotations

import functools
import importlib.util
import logging
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glean_plus.accel.folded import FoldedGLEAN, Noises
from glean_plus.errors import GleanError
from glean_plus.models.codes import codes_of
from glean_plus.models.glean import GLEAN
from glean_plus.weights.errors import brief

if TYPE_CHECKING:
    import openvino

HINTS = {'fp32': 'f32', 'bf16': 'bf16'}
# Sizes of the input whose converted networks are kept, the last used ones.
KEPT = 8


class OpenVINOError(GleanError, RuntimeError):
    """OpenVINO cannot be used here."""


def is_installed() -> bool:
    """Whether OpenVINO is there to be imported."""
    return importlib.util.find_spec('openvino') is not None


@functools.cache
def core() -> openvino.Core:
    """OpenVINO's runtime.

    Raises:
        OpenVINOError: If it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise OpenVINOError(
            f"speed='openvino' needs OpenVINO, which cannot be imported ({error}): install it by `pip install "
            "'glean_plus[openvino]'`, or take another speed."
        ) from error
    return openvino.Core()


class OpenVINOGLEAN(FoldedGLEAN):
    """A folded model that OpenVINO runs.

    It is converted at the first input of each size, and images of a batch are restored one after the other.

    Args:
        model: A GLEAN or LightGLEAN on a CPU.
        precision: ``fp32`` or ``bf16``, OpenVINO's hint for its arithmetic.

    Raises:
        OpenVINOError: If it is not installed.
        ValueError: On another device or precision.
    """

    def __init__(self, model: GLEAN, precision: str = 'fp32') -> None:
        device = next(model.parameters()).device
        if device.type != 'cpu':
            raise ValueError(f"speed='openvino' is for CPUs, but the model is on {device}: take speed='folded'.")
        if precision not in HINTS:
            raise ValueError(f"speed='openvino' has fp32 and bf16, but precision is {precision!r}.")
        core()
        super().__init__(model)
        self.hint, self.one_at_a_time = HINTS[precision], threading.Lock()
        self.converted = functools.lru_cache(KEPT)(self._convert)

    @torch.no_grad()
    def restore(
        self,
        lq: Tensor,
        embedding: Tensor | None = None,
        codes: Sequence[Tensor | None] | None = None,
        noises: Noises = None,
    ) -> Tensor:
        results = []
        for index in range(len(lq)):
            only = slice(index, index + 1)
            inputs = Inputs(
                None if embedding is None else embedding[only], None if codes is None else codes_of(codes, only), noises
            )
            tensors = [lq[only].float(), *inputs.tensors]
            with self.one_at_a_time:
                run = self.converted(inputs, tuple(tuple(each.shape) for each in tensors))
                result = run([each.contiguous().numpy() for each in tensors])[0].copy()
            results.append(torch.from_numpy(result))
        return torch.cat(results)

    def _convert(self, inputs: Inputs, shapes: tuple[tuple[int, ...], ...]) -> Any:
        """The network for inputs of these shapes.

        Raises:
            OpenVINOError: If OpenVINO cannot convert it.
        """
        import openvino

        flat = Flat(self, inputs).eval()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')  # tracing warns of each decision by a shape
            traced = torch.jit.trace(flat, tuple(torch.zeros(shape) for shape in shapes), check_trace=False)
            level = logging.root.level  # which convert_model() sets, and leaves so when it fails
            try:
                network = openvino.convert_model(traced, input=[openvino.PartialShape([*shape]) for shape in shapes])
            except Exception as error:  # of kinds that are OpenVINO's own
                raise OpenVINOError(
                    f"OpenVINO cannot convert this network: {brief(error)} Take speed='folded' or 'compiled'."
                ) from error
            finally:
                logging.root.setLevel(level)
        return core().compile_model(
            network, 'CPU', {'INFERENCE_PRECISION_HINT': self.hint, 'INFERENCE_NUM_THREADS': torch.get_num_threads()}
        )


class Inputs:
    """What a folded model takes beside the image, as a flat list of tensors; equal if they are of the same kind."""

    def __init__(self, embedding: Tensor | None, codes: Sequence[Tensor | None] | None, noises: Noises) -> None:
        self.with_embedding = embedding is not None
        self.given_codes = () if codes is None else tuple(code is not None for code in codes)
        self.noise_maps = () if noises is None else tuple((res, len(maps)) for res, maps in noises.items())
        self.tensors = [] if embedding is None else [embedding]
        self.tensors += [code for code in codes or () if code is not None]
        self.tensors += [each for maps in (noises or {}).values() for each in maps]

    def _kind(self) -> tuple[Any, ...]:
        return self.with_embedding, self.given_codes, self.noise_maps

    def __hash__(self) -> int:
        return hash(self._kind())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inputs) and self._kind() == other._kind()

    def unflatten(self, tensors: Sequence[Tensor]) -> tuple[Tensor | None, list[Tensor | None] | None, Noises]:
        """Other tensors of this kind as embedding, codes and noise maps."""
        rest = iter(tensors)
        embedding = next(rest) if self.with_embedding else None
        codes = [next(rest) if given else None for given in self.given_codes] or None
        noises = {res: [next(rest) for _ in range(number)] for res, number in self.noise_maps} or None
        return embedding, codes, noises


class Flat(nn.Module):
    """A folded model whose arguments are tensors alone."""

    def __init__(self, folded: FoldedGLEAN, inputs: Inputs) -> None:
        super().__init__()
        self.folded, self.inputs = folded, inputs

    def forward(self, lq: Tensor, *tensors: Tensor) -> Tensor:
        return FoldedGLEAN.restore(self.folded, lq, *self.inputs.unflatten(tensors))
