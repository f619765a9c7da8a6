"""Containers of videos, and the encoders that a result can have in each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from glean_plus.inference.errors import RestoreError

# x264's and VP9's quality, which is the lower the better.
CRF, MOST_CRF = 17, 51


@dataclass(frozen=True)
class Coding:
    """An encoder and the pixels that it is given.

    Attributes:
        encoder: FFmpeg's name.
        pixels: Pixel format.
        odd_pixels: Pixel format where a side is odd, which subsampled chroma cannot have; empty if there is none.
        bits: Of a channel.
        alpha: It has an alpha channel.
        crf: Its quality is set by a CRF.
        least: Shortest side in pixels.
        options: Further options.
    """

    encoder: str
    pixels: str
    odd_pixels: str = ''
    bits: int = 8
    alpha: bool = False
    crf: bool = True
    least: int = 1
    options: Mapping[str, str] = field(default_factory=dict)

    def pixels_of(self, height: int, width: int) -> str:
        return self.odd_pixels if height % 2 or width % 2 else self.pixels

    def opens(self, height: int, width: int, rate: Fraction) -> bool:
        """Whether this FFmpeg has the encoder, and it takes this size and rate."""
        import av

        pixels = self.pixels_of(height, width)
        if not pixels or min(height, width) < self.least:
            return False
        try:
            context = av.CodecContext.create(self.encoder, 'w')
            if not isinstance(context, av.VideoCodecContext):
                return False
            context.height, context.width, context.pix_fmt = height, width, pixels
            context.framerate, context.time_base = rate, 1 / rate
            context.options = {**self.options}
            with usual_priority():
                context.open()
        except (av.FFmpegError, ValueError):
            return False
        return True


@contextmanager
def usual_priority() -> Iterator[None]:
    """While entered, an encoder may begin: threads that it makes real-time ones are none afterwards.

    SVT-AV1 does so for root, even with its caller's thread, and the machine has time for nothing else.
    """
    tasks = Path('/proc/self/task')
    if not tasks.is_dir():  # no Linux
        yield
        return
    before = {task.name for task in tasks.iterdir() if _is_real_time(task.name)}
    try:
        yield
    finally:
        for task in tasks.iterdir():
            if task.name not in before and _is_real_time(task.name):
                with suppress(ProcessLookupError):
                    os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))


def _is_real_time(thread: str) -> bool:
    with suppress(ProcessLookupError):
        return os.sched_getscheduler(int(thread)) in (os.SCHED_FIFO, os.SCHED_RR)
    return False  # it has ended


@dataclass(frozen=True)
class Container:
    """A format of results: FFmpeg's name, and what it holds, the usual first."""

    name: str
    codings: tuple[Coding, ...]

    def candidates(self, bits: int, alpha: bool) -> Iterator[Coding]:
        """Codings for a source of so many bits, with an alpha channel or without one: those that keep most come first.

        Those of another number of bits than needed, or with an alpha channel that is not needed, are larger.
        """
        deep = bits > 8
        yield from sorted(
            self.codings,
            key=lambda each: (alpha and not each.alpha, deep and each.bits == 8, each.alpha, each.bits),
        )


X264 = Coding('libx264', 'yuv420p', 'yuv444p')
X264_DEEP = Coding('libx264', 'yuv420p10le', 'yuv444p10le', 10)
# x265 4.2 writes beyond its memory where a frame is smaller than a coding tree unit, which has 64 pixels.
X265 = Coding('libx265', 'yuv420p10le', 'yuv444p10le', 10, least=64, options={'x265-params': 'log-level=none'})
PRORES = Coding('prores_ks', 'yuva444p10le', 'yuva444p10le', 10, alpha=True, crf=False, options={'profile': '4444'})
VP9 = Coding('libvpx-vp9', 'yuv420p', 'yuv444p', options={'b': '0'})
VP9_DEEP = Coding('libvpx-vp9', 'yuv420p10le', 'yuv444p10le', 10, options={'b': '0'})
VP9_ALPHA = Coding('libvpx-vp9', 'yuva420p', alpha=True, options={'b': '0'})
AV1 = Coding('libsvtav1', 'yuv420p10le', bits=10)

# Ending of a result -> what it can be. PyAV's own FFmpeg has VP9 with 8 bits alone, others have it with 10.
CONTAINERS = {
    '.mp4': Container('mp4', (X264, X265, X264_DEEP)),
    '.mov': Container('mov', (X264, X265, X264_DEEP, PRORES)),
    '.mkv': Container('matroska', (X264, X265, X264_DEEP, PRORES)),
    '.webm': Container('webm', (VP9, VP9_DEEP, AV1, VP9_ALPHA)),
}
# Besides these, what can be read; results are .mkv, which takes any sound.
ENDINGS = (*CONTAINERS, '.m4v', '.avi', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.3gp')
OTHER = '.mkv'


def is_video(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def result_ending(path: Path) -> str:
    """Ending of the result of this video, in a folder."""
    ending = path.suffix.lower()
    return ending if ending in CONTAINERS else OTHER


def check_result(path: Path) -> None:
    """Raise RestoreError if no video can be written to this file."""
    if path.suffix.lower() not in CONTAINERS:
        raise RestoreError(f'The result of a video ends in one of {", ".join(CONTAINERS)}, not in {path.suffix!r}.')


def check_crf(crf: int) -> None:
    if not 0 <= crf <= MOST_CRF:
        raise RestoreError(f'The quality (crf) of a video is 0 to {MOST_CRF}, lower is better, but is {crf}.')
