"""A benchmark over several sizes: tables, and a plot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmengine.registry import init_default_scope

from glean_plus.accel.compiler import CompilerError, compiler
from glean_plus.accel.openvino import OpenVINOError, core
from glean_plus.analysis.benchmark.compare import BenchmarkError, Measured, Setting, compare, markdown
from glean_plus.analysis.benchmark.contenders import CONTENDERS, TASKS
from glean_plus.analysis.benchmark.plot import plot
from glean_plus.export.errors import ExportError
from glean_plus.export.formats import package
from glean_plus.utils.devices import usable_device
from glean_plus.utils.files import save_text


def left_out(names: Sequence[str], device: str) -> list[str]:
    """Those that cannot run here: on another device, without a compiler, or without what runs them."""
    missing = set()
    for speed, needs in (('compiled', compiler), ('openvino', core), ('onnxruntime', _onnx)):
        try:
            needs()
        except (CompilerError, ExportError, OpenVINOError):
            missing.add(speed)
        if device != 'cpu':
            missing.add(speed)
    return [name for name in names if {*CONTENDERS[name].speed.split(', ')} & missing]


def _onnx() -> None:
    for name in ('onnx', 'onnxruntime'):
        package(name)


def benchmark(
    task: str,
    sizes: Sequence[tuple[int, int]] | None,
    only: Sequence[str] | None,
    batch: int,
    runs: int,
    device: str,
    threads: int,
    out: Path | None,
    chart: Path | None,
    note: Callable[[str], object],
) -> Iterator[str]:
    """Measure entries of a task; gives a Markdown table for each size.

    Args:
        sizes: Sides of input and output; None takes the task's.
        only: Names of entries, the first of which others are compared with; None takes all that can run.
        runs: Passes of each entry.
        out: File for the tables.
        chart: PNG of time and memory over the sizes.
        note: Gets lines on what is left out and done.

    Raises:
        BenchmarkError, DeviceError: If an entry, the device or a file cannot be used.
    """
    init_default_scope('mmagic')
    usable_device(device)
    for path in (out, chart):
        if path is not None and not path.absolute().parent.is_dir():
            raise BenchmarkError(
                f'there is no folder {path.absolute().parent} for {path.name}: make it, or choose another.'
            )
    only = only and [name.replace('bfloat16', 'bf16') for name in only]  # as they were named
    known = [name for name, contender in CONTENDERS.items() if contender.task == task]
    if unknown := [name for name in only or () if name not in known]:
        raise BenchmarkError(f'there is no contender {unknown[0]!r}; known are {", ".join(map(repr, known))}.')
    if not only and (left := left_out(known, device)):
        note(f'benchmark: left out, as they need a CPU and a C++ compiler, OpenVINO or ONNX Runtime: {", ".join(left)}')
        known = [name for name in known if name not in left]
    tables, by_size = [], dict[int, dict[str, Measured]]()
    for in_size, out_size in sizes or [TASKS[task]]:
        names = only or [name for name in known if out_size == 4 * in_size or '4x' not in name]
        setting = Setting(in_size, out_size, batch, device, threads)
        by_size[out_size], limits = compare(names, setting, runs, say=note)
        tables.append(markdown(setting, by_size[out_size], limits, names[0]))
        yield tables[-1]
    if chart is not None:
        plot(by_size, chart)
    if out is not None:
        save_text('\n\n'.join(tables) + '\n', out)
