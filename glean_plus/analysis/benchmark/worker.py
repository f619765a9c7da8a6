"""One contender in a process of its own, run on request.

Its order is a name and a size, as JSON. Of its requests, ``["run"]`` is answered with seconds, ``["image", PATH]`` by
saving its images, ``["memory"]`` with bytes. The name ``ceiling`` is a convolution of a size that suits the machine.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from glean_plus.analysis.process import answers

CEILING = 'ceiling'
# A 3x3 convolution whose maps stay in cache: channels, height, width.
CHANNELS, HEIGHT, WIDTH = 256, 16, 256


def ceiling(dtype: torch.dtype, device: str) -> tuple[Callable[[Tensor], Tensor], Tensor, float]:
    """A convolution at about the machine's limit, its input, and its multiply-adds."""
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, dtype=dtype, device=device)
    x = torch.randn(1, CHANNELS, HEIGHT, WIDTH, dtype=dtype, device=device)
    weight, x = (each.contiguous(memory_format=torch.channels_last) for each in (weight, x))
    return lambda x: F.conv2d(x, weight, padding=1), x, CHANNELS**2 * 9 * HEIGHT * WIDTH


def resident(field: str) -> int:
    """Bytes of this process's memory, ``VmRSS`` now or ``VmHWM`` at most; 0 where the system does not say."""
    status = Path('/proc/self/status')
    if not status.is_file():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Give back what is free, and let the peak begin at what is in use."""
    gc.collect()
    if sys.platform == 'linux':
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')


class Timed:
    """A contender that is run and watched.

    Args:
        before: Bytes in use before the network was built.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], x: Tensor, before: int) -> None:
        self.run, self.x, self.before = run, x, before
        self.cuda = x.is_cuda
        forget_peak()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()

    @torch.no_grad()
    def seconds(self) -> float:
        """Of one pass."""
        if self.cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            self.run(self.x)
            end.record()
            torch.cuda.synchronize()
            return start.elapsed_time(end) / 1000
        begin = time.perf_counter()
        self.run(self.x)
        return time.perf_counter() - begin

    def memory(self) -> dict[str, int]:
        """Bytes of the network at rest, and at most while it ran, both beyond what the process had before."""
        if self.cuda:
            return dict(held=torch.cuda.memory_allocated(), peak=torch.cuda.max_memory_allocated())
        peak = resident('VmHWM') - self.before
        forget_peak()
        return dict(held=resident('VmRSS') - self.before, peak=peak)


def main() -> None:
    stream = answers()
    order = json.loads(sys.argv[1])
    name, in_size, device = order['name'], order['in_size'], order['device']
    torch.set_num_threads(order['threads'])
    before = 0
    macs = 0.0
    if name.startswith(CEILING):
        run, x, macs = ceiling(getattr(torch, name.split(':')[1]), device)
    else:
        from mmengine.registry import init_default_scope

        from glean_plus.analysis.benchmark.contenders import CONTENDERS, build

        init_default_scope('mmagic')
        before = resident('VmRSS')
        run = build(CONTENDERS[name], in_size, order['out_size'], device)
        channels = 1 if CONTENDERS[name].task == 'color' else 3
        x = torch.rand(order['batch'], channels, in_size, in_size, generator=torch.Generator().manual_seed(0))
        x = (x * 2 - 1).to(device)
    timed = Timed(run, x, before)
    for line in sys.stdin:
        request, *paths = json.loads(line)
        answer: dict[str, float] = {}
        if request == 'run':
            answer = dict(seconds=timed.seconds(), macs=macs)
        elif request == 'memory':
            answer = dict(timed.memory())
        else:
            with torch.no_grad():
                torch.save(run(x).float().cpu(), *paths)
        print(json.dumps(answer), file=stream)


if __name__ == '__main__':
    main()
