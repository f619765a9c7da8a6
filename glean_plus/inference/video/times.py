"""Times of packets and frames: joined parts, times that are missing or do not increase, and the length of a video."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

# A packet that is so many seconds before the one before it, as FFmpeg has it, begins a new part, if as many packets
# that follow it are before that one, too; else its time alone is wrong.
BACK, FOLLOWERS = Fraction(1, 10), 2
# Frames are moved by no less than a tick of Matroska's.
TICK = Fraction(1, 1000)
# Containers that count their length from time 0, not from their first packet.
FROM_ZERO = ('matroska', 'flv', 'asf')
# A video that ends so many seconds before its own length has been cut.
CUT = 0.5
# ASF's File Properties Object: its GUID, and behind it 24 bytes, then the file's size, its date, the number of packets,
# the length and how long sending takes (100 ns), the preroll within both (ms), and flags, of which the lowest says that
# none of this counts. It stands in the header, which begins the file.
ASF_PROPERTIES = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')
ASF_FIELDS, ASF_AT, ASF_HEADER = struct.Struct('<6QI'), 16 + 8 + 16, 1 << 16


def tick(base: Fraction) -> int:
    """Shortest move of a time, in units of its time base."""
    return max(1, math.ceil(TICK / base))


class JoinedParts:
    """Packets of a file, with times that continue where the clock of a joined part begins again.

    Each stream changes to a new part on its own, as packets of both parts are mixed where they meet. All streams of a
    part are moved by the same time, so that sound and image stay together.

    Attributes:
        offsets: Seconds that each part is moved by.
    """

    def __init__(self) -> None:
        self.offsets = [Fraction(0)]
        self.part: dict[int, int] = {}  # of each stream
        self.first: dict[int, Fraction] = {}  # decoding time in seconds, of each stream
        self.latest: dict[int, Fraction] = {}  # in its part, as the file has it
        self.next: dict[int, Fraction] = {}  # moved

    def __call__(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        held: list[av.Packet] = []
        for packet in packets:
            held.append(packet)
            while held and not self._undecided(held):
                yield self._moved(held)
        while held:
            yield self._moved(held)

    def _behind(self, packet: av.Packet, by: Fraction) -> bool:
        latest = self.latest.get(packet.stream_index)
        return packet.dts is not None and latest is not None and packet.dts * packet.time_base < latest - by

    def _followers(self, held: list[av.Packet]) -> list[av.Packet]:
        first, *others = held
        same = [each for each in others if each.stream_index == first.stream_index and each.dts is not None]
        return same[:FOLLOWERS]

    def _undecided(self, held: list[av.Packet]) -> bool:
        return self._behind(held[0], BACK) and len(self._followers(held)) < FOLLOWERS

    def _moved(self, held: list[av.Packet]) -> av.Packet:
        """The first packet."""
        followers, packet = self._followers(held), held.pop(0)
        index = packet.stream_index
        if packet.dts is not None:
            time = packet.dts * packet.time_base
            if self._behind(packet, BACK) and followers and all(self._behind(each, -TICK) for each in followers):
                self._begin_part(index, time)
            self.first.setdefault(index, time)
            self.latest[index] = max(time, self.latest.get(index, time))
        offset = self.offsets[self.part.get(index, 0)]
        if packet.dts is not None:
            end = time + offset + (packet.duration or 0) * packet.time_base
            self.next[index] = max(end, self.next.get(index, end))
        if offset:
            units = round(offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + units
            packet.dts = None if packet.dts is None else packet.dts + units
        return packet

    def _begin_part(self, index: int, time: Fraction) -> None:
        if self.part.get(index, 0) + 1 == len(self.offsets):  # no other stream was first
            # Of the other streams, each is taken to begin as long after this one as it did at the start.
            begin = {each: time + first - self.first[index] for each, first in self.first.items()}
            self.offsets.append(max(self.next[each] - begin[each] for each in begin))
        self.part[index] = len(self.offsets) - 1
        self.latest[index] = time

    def notes(self) -> Iterator[str]:
        if len(self.offsets) > 1:
            yield f'its times begin again in its middle: {len(self.offsets)} parts, put one after another'


class FrameTimes:
    """Times of frames, each after the one before it.

    Args:
        rate: Frames a second, for frames without a time.

    Attributes:
        missing, moved: How many frames had no time, or one that was not after that of the frame before.
    """

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self.last: int | None = None
        self.missing = self.moved = 0

    def __call__(self, frame: av.VideoFrame, base: Fraction) -> int:
        """In units of ``base``."""
        time = frame.pts
        if time is None:
            self.missing += 1
            decoded = frame.dts
            if self.last is None:
                time = decoded or 0
            else:
                time = max(self.last + tick(base), self.last + round(1 / self.rate / base))
        elif self.last is not None and time <= self.last:
            self.moved += 1
            time = self.last + tick(base)
        self.last = time
        return time

    def notes(self) -> Iterator[str]:
        if self.missing:
            yield f'frames without a time: {self.missing}, each placed after the one before it by the frame rate'
        if self.moved:
            yield f'frames whose time is not after that of the frame before: {self.moved}, each moved to just after it'


class Length:
    """How far the packets of a file reach, against the length that it declares."""

    def __init__(self) -> None:
        self.end = 0.0
        self.latest: dict[int, float] = {}
        self.gap: dict[int, float] = {}

    def take(self, packet: av.Packet) -> None:
        time = packet.dts if packet.pts is None else packet.pts
        if time is None:
            return
        index, seconds = packet.stream_index, float(time * packet.time_base)
        latest = self.latest.get(index, seconds)
        self.gap[index] = seconds - latest if seconds > latest else self.gap.get(index, 0.0)
        self.latest[index] = max(seconds, latest)
        # Where a container has no durations, as ASF, a frame is taken to last as long as the one before it, or as the
        # frame rate says.
        duration = float((packet.duration or 0) * packet.time_base)
        if not duration and packet.stream.type == 'video':
            rate = packet.stream.average_rate or packet.stream.guessed_rate
            duration = max(self.gap[index], float(1 / rate) if rate else 0.0)
        self.end = max(self.end, seconds + duration)

    def missing(self, given: av.container.InputContainer) -> tuple[float, float]:
        """Seconds that are missing, and declared."""
        start, length = (given.start_time or 0) / 1e6, (given.duration or 0) / 1e6
        if given.format.name == 'avi':
            # FFmpeg shortens the length of a file that has been cut, but not this count. Without a cut, too, the length
            # may be too much: that of sound counts the time before it begins and gaps in it, which no packet has.
            counts = (float(each.frames * each.time_base) for each in given.streams.video
                      if each.frames and each.time_base)  # fmt: skip
            length = max(counts, default=length)
        if any(name in FROM_ZERO for name in given.format.name.split(',')):
            # Of ASF, FFmpeg gives each stream the length of the file, and adds the latest start.
            lengths = [float(each.duration * each.time_base) for each in given.streams
                       if each.duration and each.time_base]  # fmt: skip
            start, length = 0.0, min([length, *lengths])
        if given.format.name == 'asf' and not length:
            length = asf_length(Path(given.name), given.size)
        return start + length - self.end, length


def asf_length(path: Path, size: int) -> float:
    """Seconds that an ASF file declares, of which FFmpeg says none if it is shorter than it declares; 0 of others."""
    with open(path, 'rb') as file:
        header = file.read(ASF_HEADER)
    at = header.find(ASF_PROPERTIES)
    if at < 0 or at + ASF_AT + ASF_FIELDS.size > len(header):
        return 0.0
    whole, _, _, length, _, preroll, flags = ASF_FIELDS.unpack_from(header, at + ASF_AT)
    return 0.0 if flags & 1 or whole <= size else max(0.0, length / 1e7 - preroll / 1e3)
