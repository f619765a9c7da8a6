"""How fast and how exactly a trained network is run: ``speed`` and ``precision``, the same words everywhere."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from glean_plus.accel import compiler, openvino
from glean_plus.accel.compiler import CompilerError
from glean_plus.utils.choices import SPEEDS

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

    from glean_plus.models.glean import GLEAN

PRECISIONS: Mapping[str, torch.dtype] = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
# Former spellings of a speed that is none of these words.
FORMER: Mapping[str, tuple[str, str]] = {
    'folded-bfloat16': ('folded', 'bf16'),
    'compiled-bfloat16': ('compiled', 'bf16'),
}
TORCH_COMPILE = 'torch.compile'
logger = logging.getLogger('glean_plus')


def check_words(speed: str, precision: str, where: str = '') -> tuple[str, str]:
    """``speed`` and ``precision`` in the present words.

    Raises:
        ValueError: If one of them is none of :data:`SPEEDS` or :data:`PRECISIONS`; ``where`` is put before its name.
    """
    if speed in FORMER:
        if precision not in ('fp32', FORMER[speed][1]):
            raise ValueError(f"{where}speed={speed!r} contradicts {where}precision={precision!r}: take speed="
                             f'{FORMER[speed][0]!r}, and the precision by itself.')  # fmt: skip
        given, (speed, precision) = speed, FORMER[speed]
        _log_once(f'{where}speed={given!r} is deprecated: take speed={speed!r} with precision={precision!r}.')
    elif speed == TORCH_COMPILE:
        _log_once(f'{where}speed={speed!r} is deprecated: take another speed, or torch.compile() itself.')
    elif speed not in SPEEDS:
        raise ValueError(f'{where}speed must be one of {", ".join(SPEEDS)}, but is {speed!r}.')
    if precision not in PRECISIONS:
        raise ValueError(f'{where}precision must be one of {", ".join(PRECISIONS)}, but is {precision!r}.')
    return speed, precision


def take_words(settings: dict[str, Any]) -> tuple[str, str]:
    """Take ``speed`` and ``precision`` out of a ``test_cfg``; the former ``fold=True`` is speed='folded'.

    Raises:
        ValueError: On other values, or if both ``fold`` and ``speed`` are given.
    """
    fold = settings.pop('fold', None)
    if fold not in (None, False, True):
        raise ValueError(f"test_cfg.fold must be True or False, but is {fold!r}: leave it out and set speed='folded'.")
    if fold and 'speed' in settings:
        raise ValueError("test_cfg has both fold and speed: leave out fold, which is a former word for speed='folded'.")
    if fold is not None:
        _log_once(f"test_cfg.fold={fold} is deprecated: take test_cfg.speed={'folded' if fold else 'exact'!r}.")
    speed = settings.pop('speed', 'folded' if fold else 'exact')
    return check_words(str(speed), str(settings.pop('precision', 'fp32')), 'test_cfg.')


def can_be_folded(network: nn.Module) -> TypeGuard[GLEAN]:
    """Whether a network has a ``fold`` as GLEAN has."""
    return hasattr(network, 'fold')


def at_speed(network: nn.Module, speed: str, precision: str = 'fp32') -> nn.Module:
    """A network as it is to be run.

    ==========  ========================================================================================================
    exact       the module itself; in half precision under :func:`arithmetic`
    folded      plain convolutions with constant weights, on any device: equal up to rounding
    compiled    folded, with a kernel built by this machine's C++ compiler, on a CPU
    openvino    folded and converted by OpenVINO, on a CPU
    auto        the fastest of them that works here, see :func:`resolve`
    ==========  ========================================================================================================

    Args:
        network: In evaluation mode, its weights final.
        speed: One of :data:`SPEEDS`.
        precision: One of :data:`PRECISIONS`, of the arithmetic.

    Raises:
        CompilerError: If the kernel for ``compiled`` cannot be built.
        OpenVINOError: If OpenVINO is not installed.
        TypeError: If the network cannot be folded.
        ValueError: If the device cannot run it so.
    """
    speed, precision = check_words(speed, precision)
    if speed == 'auto':
        speed = resolve(network, precision)
    dtype = PRECISIONS[precision]
    if speed == 'exact':
        return network
    if speed == TORCH_COMPILE:
        optimized: Any = torch.compile(network)  # a module, but its type is that of a function
        return optimized
    if not can_be_folded(network):
        raise TypeError(f'speed={speed!r} needs a network that can be folded, but this is a {type(network).__name__}.')
    if speed == 'openvino':
        return openvino.OpenVINOGLEAN(network, precision)
    return network.fold(dtype, speed == 'compiled')


def resolve(network: nn.Module, precision: str = 'fp32') -> str:
    """The speed that ``auto`` stands for.

    On a CPU ``compiled``, if this machine has built the kernel or can; ``openvino``, if it is installed; else
    ``folded``. Until the kernel is built, which is done in the background, it is one of the others. Networks that
    cannot be folded are run ``exact``.
    """
    if not can_be_folded(network):
        return 'exact'
    if next(network.parameters()).device.type != 'cpu':
        return 'folded'
    other = 'openvino' if openvino.is_installed() else 'folded'
    if precision == 'fp16':
        return 'folded'
    try:
        if compiler.is_built():
            compiler.library()
            return 'compiled'
        compiler.build_in_background()
        _log_once(f"The compiled kernel is being built in the background; until then speed is {other!r}.")
    except CompilerError as error:
        _log_once(f"speed is {other!r}, not 'compiled': {error}")
    return other


def arithmetic(device: torch.device, speed: str, precision: str) -> AbstractContextManager[Any]:
    """The context that a network of :func:`at_speed` is to be called in: autocast, for ``exact`` in half precision."""
    if speed != 'exact' or precision == 'fp32':
        return nullcontext()
    return torch.autocast(device.type, PRECISIONS[precision])


@functools.cache
def _log_once(message: str) -> None:
    logger.warning(message)
