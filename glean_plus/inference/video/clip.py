"""A video restored frame by frame, from one container to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.image import Picture
from glean_plus.inference.video.formats import CONTAINERS, CRF, check_crf, check_result
from glean_plus.inference.video.frames import ALPHA_DECODERS, FrameReader
from glean_plus.inference.video.sound import Sounds
from glean_plus.inference.video.times import CUT, FrameTimes, JoinedParts, Length
from glean_plus.inference.video.write import FrameWriter
from glean_plus.utils.files import whole_or_not_at_all

if TYPE_CHECKING:
    import av

# What is done with tags, which are not used, in other than UTF-8.
TAGS = 'replace'


@dataclass(frozen=True)
class Clip:
    """What was done.

    Attributes:
        frames: How many.
        size, result_size: Height and width, upright.
        sound: ``copied``, ``encoded again`` where the container cannot hold it as it is, or ``none``; None of an
            animation, which can have none.
        notes: What is not as in the source: what was left out, and times that were changed.
    """

    frames: int
    size: tuple[int, int]
    result_size: tuple[int, int]
    sound: str | None
    notes: tuple[str, ...] = ()


def restore_video(
    restorer: PictureRestorer,
    source: Path,
    target: Path,
    crf: int = CRF,
    done: Callable[[int], object] = lambda count: None,
) -> Clip:
    """Restore each frame, in batches; the file is there once it is whole.

    Times of frames, rate, color tags and all sound that can be read are those of the source; frames are upright. More
    than 8 bits become 10, and an alpha channel stays, where the container holds them. Subtitles and other streams are
    left out.

    Args:
        restorer: What restores them.
        source: The video.
        target: That of the result, with an ending of :data:`CONTAINERS`.
        crf: Quality, 0 to 51, lower is better.
        done: Is given a number of frames when they are done.

    Raises:
        RestoreError: If PyAV is not there, the source is no video or has been cut, or it cannot be written so.
    """
    check_result(target)
    check_crf(crf)
    try:
        import av
    except ImportError as error:
        raise RestoreError('Videos need PyAV: pip install av.') from error
    try:
        with av.open(str(source), metadata_errors=TAGS) as given:
            stream = given.streams.best('video')
            if not isinstance(stream, av.VideoStream):
                raise RestoreError('it has no video stream')
            if stream.codec_context is None:
                raise RestoreError('FFmpeg has no decoder for its video stream')
            stream.thread_type = 'AUTO'
            with whole_or_not_at_all(target) as file:
                container = CONTAINERS[target.suffix.lower()].name
                with av.open(file.name, 'w', format=container) as made:
                    return _Work(restorer, given, stream, made, target, crf, done).run()
    except av.FFmpegError as error:
        damage = ': it is damaged, or has been cut' if isinstance(error, av.InvalidDataError) else ''
        why = f'{error.strerror}{damage}'
        raise RestoreError(f'it cannot be read, or its result not be written, as a video: {why}') from error


def frame_count(source: Path) -> int | None:
    """How many frames a video says it has, for a progress bar; None if it does not say, or cannot be read."""
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(source), metadata_errors=TAGS) as given:
            stream = given.streams.best('video')
            return stream.frames or None if stream else None
    except (av.FFmpegError, OSError, ValueError):
        return None


class _Work:
    """One video on its way from a container to another."""

    def __init__(
        self, restorer: PictureRestorer, given: av.container.InputContainer, stream: av.VideoStream,
        made: av.container.OutputContainer, target: Path, crf: int, done: Callable[[int], object],
    ) -> None:  # fmt: skip
        self.restorer, self.given, self.stream, self.made, self.done = restorer, given, stream, made, done
        self.target, self.crf = target, crf
        self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.decoder = _decoder(stream)
        self.sounds = Sounds(given.streams.audio, made)
        self.parts, self.times, self.length = JoinedParts(), FrameTimes(self.rate), Length()
        self.reader: Any = None
        self.writer: Any = None
        self.frames = 0

    def run(self) -> Clip:
        batch: list[tuple[av.VideoFrame, Picture]] = []
        early = []  # sound before the first frame, whose size the result must know first
        packets = self.parts(self._packets())
        for packet in packets:
            if packet.stream is not self.stream:
                early.append(packet)
            for frame in self._decoded(packet, packets):
                if self.writer is None:
                    self._begin(frame)
                picture = Picture(self.reader(frame))
                if batch and len(batch) >= self.restorer.batch_of(picture):
                    self._restore(batch)
                batch.append((frame, picture))
            if self.writer is not None:
                for sound in early:
                    self.sounds.take(sound)
                early.clear()
        if self.writer is None:
            raise RestoreError('it has no frames')
        if batch:
            self._restore(batch)
        self._check_whole()
        self.writer.end()
        self.sounds.end()
        return Clip(self.frames, self.reader.size, self.writer.size, self.sounds.how, tuple(self._notes()))

    def _packets(self) -> Iterable[av.Packet]:
        """Those of image and sound; any other stream may be what ends last."""
        kept = {self.stream.index, *(stream.index for stream in self.given.streams.audio)}
        for packet in self.given.demux():
            self.length.take(packet)
            if packet.stream_index in kept:
                yield packet

    def _decoded(self, packet: av.Packet, others: Iterable[av.Packet]) -> list[av.VideoFrame]:
        if packet.stream is not self.stream:
            return []
        try:
            return self.decoder.decode(packet if packet.size else None)
        except ValueError:  # of FFmpeg, such as half a frame at the end of what has been cut
            for _ in others:
                pass
            self._check_whole()
            raise

    def _begin(self, frame: av.VideoFrame) -> None:
        """The streams of the result; all before the first packet."""
        self.reader = FrameReader(frame)
        self.writer = FrameWriter(
            self.made, self.target.suffix.lower(), self.crf, self.rate, self.restorer.result_size(*self.reader.size),
            self.stream, frame, self.reader,
        )  # fmt: skip
        self.sounds.begin()

    def _restore(self, batch: list[tuple[av.VideoFrame, Picture]]) -> None:
        for (frame, _), result in zip(batch, self.restorer.restore_together([picture for _, picture in batch])):
            base = frame.time_base or self.stream.time_base
            if base is None:
                raise RestoreError('its video stream has no time base: its frames cannot be placed in time')
            self.writer.write(result, self.times(frame, base), base)
            self.frames += 1
        self.done(len(batch))
        batch.clear()

    def _check_whole(self) -> None:
        """A container that says how long it is must hold as much."""
        missing, length = self.length.missing(self.given)
        if missing > CUT:
            raise RestoreError(f'it has been cut: {missing:.1f} of its {length:.1f} seconds are missing')

    def _notes(self) -> Iterable[str]:
        yield from self.sounds.notes()
        yield from self.writer.notes()
        yield from self.parts.notes()
        yield from self.times.notes()
        if self.reader.resized:
            yield f'frames of another size than the first one: {self.reader.resized}, scaled to it'


def _decoder(stream: av.VideoStream) -> Any:
    """The stream's own, but for VP8 and VP9 with an alpha channel, which FFmpeg's own decoders leave out."""
    import av

    name = ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get('alpha_mode') != '1':
        return stream.codec_context
    try:
        decoder = av.CodecContext.create(name, 'r')
    except ValueError:  # not in this FFmpeg
        return stream.codec_context
    decoder.extradata = stream.codec_context.extradata
    return decoder
