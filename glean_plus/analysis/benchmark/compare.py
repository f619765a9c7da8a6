"""Several contenders side by side, and the table of what they took."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glean_plus.analysis.benchmark.contenders import CONTENDERS, config_of
from glean_plus.analysis.benchmark.worker import CEILING, CHANNELS
from glean_plus.analysis.complexity import complexity
from glean_plus.analysis.process import JSONProcess
from glean_plus.errors import GleanError
from glean_plus.utils import tables

COLUMNS = (
    '', 's', 'times faster', 'peak memory', 'times less', 'at rest', 'share of the limit', 'largest difference', 'PSNR',
)  # fmt: skip


class BenchmarkError(GleanError, RuntimeError):
    """A contender that could not be run."""


@dataclass(frozen=True)
class Setting:
    """One size: what each contender restores."""

    in_size: int
    out_size: int
    batch: int = 1
    device: str = 'cpu'
    threads: int = 2


@dataclass
class Measured:
    """Time, memory and error of one contender."""

    seconds: list[float] = field(default_factory=list)  # of each pass of a batch
    # Bytes beyond the process without it: at most while it runs, and at rest.
    peak: int = 0
    held: int = 0
    # Largest difference to the images of the contender with its weights, as a share of their range, or to a loss of
    # the first step, as a share of it; None where there is none.
    difference: float | None = None
    psnr: float | None = None  # the same as a PSNR in dB, with that range as the peak
    macs: float | None = None  # multiply-adds of the batch; None if they are not known

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Worker(JSONProcess):
    """A contender's process."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        super().__init__('glean_plus.analysis.benchmark.worker', dict(name=name, **asdict(setting)), {})

    def ask(self, *request: str) -> dict[str, Any]:
        """Raises BenchmarkError if the process has ended."""
        self.send(request)
        answer = self.receive()
        if answer is None:
            raise BenchmarkError(f'{self.name} ended with {self.process.wait()}; its error is above.')
        return answer


def compare(
    names: Sequence[str], setting: Setting, runs: int, say: Callable[[str], object] = print
) -> tuple[dict[str, Measured], dict[str, float]]:
    """Run contenders in turns, so that what else the machine does falls on all of them.

    Args:
        names: Of :data:`CONTENDERS`.
        runs: Passes of each that count; one before them does not.

    Returns:
        What each took, and the multiply-adds a second of the machine's limit by type.

    Raises:
        BenchmarkError: If a contender cannot be run, or has no such size.
    """
    found = {name: Measured(macs=_macs(name, setting)) for name in names}
    limits: dict[str, list[float]] = {'float32': [], 'bfloat16': []}
    workers = {name: Worker(name, setting) for name in names}
    workers |= {f'{CEILING}:{dtype}': Worker(f'{CEILING}:{dtype}', setting) for dtype in limits}
    try:
        with tempfile.TemporaryDirectory() as folder:
            images: dict[str, Tensor] = {}
            for name in names:
                path = Path(folder) / 'image.pth'
                workers[name].ask('image', str(path))
                images[name] = torch.load(path)
                say(f'{name}: ready')
        _compare_images(found, images)
        for number in range(runs):
            for name in names:
                found[name].seconds.append(workers[name].ask('run')['seconds'])
            for dtype, rates in limits.items():
                answers = [workers[f'{CEILING}:{dtype}'].ask('run') for _ in range(10)]
                rates.append(max(answer['macs'] / answer['seconds'] for answer in answers))
            say(f'round {number + 1} of {runs}')
        for name in names:
            memory = workers[name].ask('memory')
            found[name].peak, found[name].held = int(memory['peak']), int(memory['held'])
    finally:
        for worker in workers.values():
            worker.close()
    return found, {dtype: statistics.median(rates) for dtype, rates in limits.items()}


def _macs(name: str, setting: Setting) -> float | None:
    config = config_of(CONTENDERS[name], setting.in_size, setting.out_size)
    if config is None:
        return None
    try:
        return complexity(config).macs * setting.batch
    except ValueError as error:
        raise BenchmarkError(f'{name} cannot restore {setting.in_size} to {setting.out_size}: {error}') from error


def _compare_images(found: Mapping[str, Measured], images: Mapping[str, Tensor]) -> None:
    for name, measured in found.items():
        other = CONTENDERS[name].same_as
        if other is not None and other in images:
            error = images[name] - images[other]
            if CONTENDERS[name].task == 'train':  # losses, of which one may be a thousandth of another
                measured.difference = float((error / images[other]).abs().max())
                continue
            extent = images[other].max() - images[other].min()
            measured.difference = float(error.abs().max() / extent)
            measured.psnr = float(-10 * (error.square().mean() / extent**2).log10())


def markdown(
    setting: Setting, found: Mapping[str, Measured], limits: Mapping[str, float], reference: str
) -> str:
    """The table, with ratios to a reference."""
    base = found[reference]
    lines = [
        f'{setting.in_size} -> {setting.out_size}, batch {setting.batch}, {setting.device}, {setting.threads} threads, '
        f'PyTorch {torch.__version__}; medians of {len(base.seconds)} passes in turns. Limit, as a 3x3 convolution of '
        f'{CHANNELS} channels reaches it: ' + ', '.join(f'{rate / 1e9:.0f} G multiply-adds/s in {dtype}'
                                                    for dtype, rate in limits.items()) + '.',
        '',
    ]  # fmt: skip
    rows = [COLUMNS]
    for name, each in found.items():
        dtype = 'bfloat16' if CONTENDERS[name].precision == 'bf16' else 'float32'
        share = '' if each.macs is None else f'{each.macs / each.median / limits[dtype]:.2f}'
        rows.append((
            name, f'{each.median:.3g}', f'{base.median / each.median:.2f}', f'{each.peak / 1e6:,.0f} MB',
            f'{base.peak / max(each.peak, 1):.2f}', f'{each.held / 1e6:,.0f} MB', share,
            '' if each.difference is None else f'{each.difference:.0e}',
            '' if each.psnr is None else f'{each.psnr:.1f} dB',
        ))  # fmt: skip
    return '\n'.join([*lines, *tables.markdown(rows)])
