"""Clips of every container, timing, orientation and depth, made and read by the `ffmpeg` command."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from glean_plus.inference.base import PictureRestorer

WIDTH, HEIGHT, FRAMES, RATE = 80, 64, 8, 10
# Of each container: FFmpeg's name, and its encoders for 8 and 10 bits, and for sound.
CONTAINERS = {
    'mp4': ('mp4', 'libx264', 'libx264', 'aac'),
    'mov': ('mov', 'libx264', 'libx264', 'aac'),
    'mkv': ('matroska', 'libx264', 'libx264', 'aac'),
    'webm': ('webm', 'libvpx-vp9', 'libvpx-vp9', 'libopus'),
    'avi': ('avi', 'mpeg4', 'ffv1', 'mp3'),
    'flv': ('flv', 'libx264', 'libx264', 'aac'),
    'ts': ('mpegts', 'libx264', 'libx264', 'aac'),
    'wmv': ('asf', 'wmv2', 'ffv1', 'wmav2'),  # one time a packet, which does not do for H.264
}
QUALITY = {
    'libx264': ['-crf', '4'], 'libvpx-vp9': ['-crf', '4', '-b:v', '0', '-deadline', 'realtime'], 'ffv1': [],
    'mpeg4': ['-q:v', '2'], 'wmv2': ['-q:v', '2'],
}  # fmt: skip
# Time of each frame, in tenths of a second.
TIMINGS = {
    'constant': range(8), 'variable': [0, 1, 4, 5, 6, 13, 14, 20], 'late': range(10, 18),
    'repeated': [0, 1, 2, 2, 3, 4, 4, 5],
}  # fmt: skip
# Display matrix a, b, c, d of ISO 14496-12.
ORIENTATIONS = {'upright': (1, 0, 0, 1), 'turned': (0, 1, -1, 0), 'mirrored': (-1, 0, 0, 1)}
DEPTHS = (8, 10)
TARGETS = ('mp4', 'mov', 'mkv', 'webm')


@dataclass(frozen=True)
class Case:
    container: str
    timing: str
    orientation: str
    depth: int

    @property
    def cannot(self) -> str:
        """Why there is no such file; empty if there is one."""
        if self.orientation != 'upright' and self.container not in ('mp4', 'mov'):
            return 'the container has no display matrix that this ffmpeg reads'
        if self.timing == 'repeated' and self.container == 'avi':
            return 'AVI has no times: each frame follows the one before it'
        if self.timing == 'repeated' and self.container == 'wmv':
            return 'FFmpeg writes no ASF file with a time twice'
        return ''


ALL = [Case(*parts) for parts in itertools.product(CONTAINERS, TIMINGS, ORIENTATIONS, DEPTHS)]


class Same(PictureRestorer):
    """Results are the images themselves."""

    scale = 1  # type: ignore[assignment]
    memory = 2**30  # type: ignore[assignment]

    def batch_of(self, picture: Any) -> int:
        return 3

    def restore_together(self, pictures: Any) -> list[np.ndarray]:
        return [picture.image for picture in pictures]

    def restoration(self, pictures: Any, assess: bool = False) -> Any:
        raise NotImplementedError

    def run_facts(self) -> dict[str, Any]:
        return {}

    def about_facts(self) -> dict[str, Any]:
        return {}


def ffmpeg(*arguments: Any) -> bytes:
    command = ['ffmpeg', '-y', '-v', 'fatal', '-threads', '1', *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def make(case: Case, folder: Path) -> Path:
    """A moving test image with a tone of two seconds."""
    name, *encoders, sound = CONTAINERS[case.container]
    encoder = encoders[case.depth == 10]
    path = folder / f'{case.timing}_{case.orientation}_{case.depth}.{case.container}'
    # Frames are encoded at distinct times, as encoders want them, and get their own on their way into the container.
    times = TIMINGS[case.timing]
    distinct = times if len(set(times)) == len(times) else range(len(times))
    chosen = '+'.join(f'eq(N,{i})*{time}' for i, time in enumerate(distinct))
    encoded = path if distinct is times else path.with_name(f'encoded.{case.container}')
    ffmpeg(
        '-f', 'lavfi', '-i', f'testsrc=size={WIDTH}x{HEIGHT}:rate={RATE}:duration={FRAMES / RATE}',
        '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000:duration=2',
        '-filter:v', f"gblur=sigma=2,settb=1/1000,setpts='({chosen})/({RATE}*TB)'", '-fps_mode', 'passthrough',
        '-c:v', encoder, *QUALITY[encoder], '-pix_fmt', 'yuv420p10le' if case.depth == 10 else 'yuv420p', '-bf', 0,
        '-threads', 1, '-color_range', 'tv', '-c:a', sound, '-ar', 48000 if sound != 'wmav2' else 44100,
        '-f', name, encoded,
    )  # fmt: skip
    if encoded != path:
        retime(encoded, path, name, times)
    if case.orientation != 'upright':
        a, b, c, d = (0x10000 * each for each in ORIENTATIONS[case.orientation])
        data = bytearray(path.read_bytes())
        at = data.index(b'tkhd') + 4 + 40
        data[at:at + 24] = b''.join(value.to_bytes(4, 'big', signed=True) for value in (a, b, 0, c, d, 0))
        path.write_bytes(data)
    return path


def retime(source: Path, target: Path, container: str, times: Sequence[int]) -> None:
    """The same packets, those of the video at other times; decoding times begin early, so that they can increase."""
    with av.open(str(source)) as given, av.open(str(target), 'w', format=container) as made:
        outputs = {stream.index: made.add_stream_from_template(stream) for stream in given.streams}
        video = given.streams.video[0]
        number = 0
        for packet in given.demux():
            if not packet.size:
                continue
            if packet.stream is video:
                packet.pts = round(Fraction(times[number], RATE) / packet.time_base)
                packet.dts = round(Fraction(number - 2, RATE) / packet.time_base)
                number += 1
            packet.stream = outputs[packet.stream_index]
            made.mux(packet)


@dataclass
class Seen:
    """A file as ffmpeg and ffprobe see it.

    Attributes:
        times: Of each frame, in seconds.
        images: (N, H, W, 3), as they are shown.
        pixels: Pixel format.
        sound: Time of the first samples, in seconds.
        samples: Of the sound, in seconds.
    """

    times: list[float] = field(default_factory=list)
    images: np.ndarray = field(default_factory=lambda: np.zeros(0))
    pixels: str = ''
    sound: float = 0.0
    samples: float = 0.0


def look(path: Path) -> Seen:
    command = [
        'ffprobe', '-v', 'error', '-print_format', 'json', '-show_entries',
        'stream=codec_type,pix_fmt,sample_rate:frame=media_type,pts_time,best_effort_timestamp_time,nb_samples',
        str(path),
    ]  # fmt: skip
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    seen, sounds = Seen(), []
    rate = next(int(each['sample_rate']) for each in found['streams'] if each['codec_type'] == 'audio')
    for frame in found['frames']:
        time = frame.get('pts_time') or frame.get('best_effort_timestamp_time')
        if frame['media_type'] == 'video':
            seen.times.append(float(time))
        else:
            sounds.append(float(time) if time else None)
            seen.samples += frame['nb_samples'] / rate
    seen.pixels = next(each['pix_fmt'] for each in found['streams'] if each['codec_type'] == 'video')
    seen.sound = next(each for each in sounds if each is not None)
    data = ffmpeg(
        '-i', path, '-map', '0:v:0', '-fps_mode', 'passthrough', '-pix_fmt', 'rgb24',
        '-f', 'image2pipe', '-c:v', 'ppm', '-',
    )  # fmt: skip
    seen.images = np.stack(list(_ppm(data)))
    return seen


def _ppm(data: bytes) -> Iterator[np.ndarray]:
    while data:
        _, size, _, rest = data.split(b'\n', 3)
        width, height = map(int, size.split())
        count = 3 * width * height
        yield np.frombuffer(rest[:count], np.uint8).reshape(height, width, 3).astype(float)
        data = rest[count:]


def increasing(times: list[float]) -> list[float]:
    """Each no less than a thousandth of a second after the one before it."""
    result: list[float] = []
    for time in times:
        result.append(max([time, *(each + 0.001 for each in result[-1:])]))
    return result


def differences(given: Seen, made: Seen, depth: int, how: str) -> list[str]:
    """What of a result is not as in its source, beyond what a container's clock and an encoder change."""
    found = []
    if len(made.times) != len(given.times) or len(made.images) != len(given.images):
        return [f'{len(given.times)} frames became {len(made.times)}']
    wanted = increasing(given.times)
    # Within two ticks of Matroska's, which has thousandths of a second.
    away = np.abs((np.array(made.times) - made.times[0]) - (np.array(wanted) - wanted[0])).max()
    if away > 0.0021:
        found.append(f'times {wanted} became {made.times}')
    # AAC begins with 1024 samples that MP4 says to drop, and Matroska does not; any encoder begins with its own.
    offset = abs((made.sound - made.times[0]) - (given.sound - given.times[0]))
    if offset > 0.03:
        found.append(f'sound begins {offset:.3f} s elsewhere')
    # Padding at the end of what a codec holds is dropped in some containers alone.
    if abs(made.samples - given.samples) > (0.03 if how == 'copied' else 0.06):
        found.append(f'{given.samples:.3f} s of sound became {made.samples:.3f}')
    if made.images.shape != given.images.shape:
        found.append(f'{given.images.shape} became {made.images.shape}')
    elif (error := np.abs(made.images - given.images).mean()) > 6:
        found.append(f'images differ by {error:.1f} of 255')
    if (depth == 10) != ('10' in made.pixels):
        found.append(f'{depth} bits became {made.pixels}')
    return found
