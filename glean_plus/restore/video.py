"""Videos: every frame restored, the sound kept as it is, whole or not there. Needs PyAV (``pip install av``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glean_plus.files import whole_or_not_at_all
from glean_plus.restore.base import PictureRestorer
from glean_plus.restore.errors import RestoreError
from glean_plus.restore.picture import Picture

if TYPE_CHECKING:
    import av

# Ending of a result -> FFmpeg's container and encoder, and options of the encoder.
CONTAINERS: dict[str, tuple[str, str, dict[str, str]]] = {
    '.mp4': ('mp4', 'libx264', {}),
    '.mov': ('mov', 'libx264', {}),
    '.mkv': ('matroska', 'libx264', {}),
    '.webm': ('webm', 'libvpx-vp9', {'b': '0'}),
}
# Besides these, what can be read; results are .mkv, which takes any sound.
ENDINGS = (*CONTAINERS, '.m4v', '.avi', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.3gp')
OTHER = '.mkv'
# x264's and VP9's quality, which is the lower the better.
CRF, MOST_CRF = 17, 51
# FFmpeg's numbers of the matrices between RGB and YUV (0 is RGB itself, 2 not said), and of the usual range.
BT709, BT601, UNKNOWN, LIMITED = 1, 6, (0, 2), 1
# Of a video that does not say which it has: from so many rows on, players take BT.709.
HIGH_DEFINITION = 720
# What is done with tags, which are not used, in other than UTF-8.
TAGS = 'replace'
# A video that ends so many seconds before its own length has been cut.
CUT = 0.5


@dataclass(frozen=True)
class Clip:
    """What was done.

    Attributes:
        frames: How many.
        size, result_size: Height and width, upright.
        sound: ``copied``, ``encoded anew`` where the container cannot hold it as it is, or ``none``.
    """

    frames: int
    size: tuple[int, int]
    result_size: tuple[int, int]
    sound: str


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


def restore_video(
    restorer: PictureRestorer,
    source: Path,
    target: Path,
    crf: int = CRF,
    done: Callable[[int], object] = lambda count: None,
) -> Clip:
    """Restore each frame, in batches; the file is there once it is whole.

    Times of frames, rate, colour matrix and range, and all sound are those of the source; frames are upright and have 8
    bits. Subtitles and other streams are left out.

    Args:
        restorer: Who does it.
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
            if stream is None:
                raise RestoreError('it has no video stream')
            stream.thread_type = 'AUTO'
            with whole_or_not_at_all(target) as file:
                container = CONTAINERS[target.suffix.lower()][0]
                with av.open(file.name, 'w', format=container) as made:
                    return _Work(restorer, given, stream, made, target, crf, done).run()
    except av.FFmpegError as error:
        raise RestoreError(f'it cannot be read, or its result not be written, as a video: {error.strerror}') from error


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
        self.sounds = _Sounds(given.streams.audio, made)
        self.video: Any = None
        self.frames = 0
        self.end = 0.0

    def run(self) -> Clip:
        batch: list[tuple[av.VideoFrame, Picture]] = []
        early = []  # sound before the first frame, whose size the result must know first
        streams = self.given.streams
        for packet in self.given.demux([self.stream, *streams.audio, *streams.subtitles]):
            if packet.pts is not None:
                self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream in streams.subtitles:  # which may be what ends last
                continue
            if packet.stream is not self.stream:
                early.append(packet)
            for frame in packet.decode() if packet.stream is self.stream else ():
                picture = Picture(_upright(frame))
                if self.video is None:
                    self._begin(frame, picture)
                if batch and len(batch) >= self.restorer.at_once(picture):
                    self._restore(batch)
                batch.append((frame, picture))
            if self.video is not None:
                for sound in early:
                    self.sounds.take(sound)
                early.clear()
        if self.video is None:
            raise RestoreError('it has no frames')
        if batch:
            self._restore(batch)
        self._check_whole()
        self.made.mux(self.video.encode(None))
        self.sounds.end()
        return Clip(self.frames, self.size, (self.video.height, self.video.width), self.sounds.how)

    def _begin(self, frame: av.VideoFrame, picture: Picture) -> None:
        """The streams of the result; all before the first packet."""
        height, width = self.size = picture.image.shape[:2]
        scale = self.restorer.scale
        _, encoder, options = CONTAINERS[self.target.suffix.lower()]
        video = self.made.add_stream(encoder, rate=self.rate, options={**options, 'crf': str(self.crf)})
        video.height, video.width = scale * height, scale * width
        # Halved colours need even sides.
        video.pix_fmt = 'yuv444p' if video.height % 2 or video.width % 2 else 'yuv420p'
        self.matrix, self.range = _matrix(frame), frame.color_range or LIMITED
        source, context = self.stream.codec_context, video.codec_context
        context.colorspace, context.color_range = self.matrix, self.range
        context.color_primaries, context.color_trc = source.color_primaries, source.color_trc
        context.time_base = self.stream.time_base
        if source.sample_aspect_ratio:
            turned = frame.rotation % 180
            context.sample_aspect_ratio = 1 / source.sample_aspect_ratio if turned else source.sample_aspect_ratio
        self.sounds.begin()
        self.video = video

    def _restore(self, batch: list[tuple[av.VideoFrame, Picture]]) -> None:
        import av

        for (frame, _), result in zip(batch, self.restorer.restore([picture for _, picture in batch])):
            picture = av.VideoFrame.from_ndarray(result, 'rgb24').reformat(
                format=self.video.pix_fmt, dst_colorspace=self.matrix, dst_color_range=self.range
            )
            base = frame.time_base or self.stream.time_base
            picture.time_base = base
            picture.pts = frame.pts if frame.pts is not None else round(self.frames / self.rate / base)
            self.made.mux(self.video.encode(picture))
            self.frames += 1
        self.done(len(batch))
        batch.clear()

    def _check_whole(self) -> None:
        """A container that says how long it is must hold as much."""
        start, length = (self.given.start_time or 0) / 1e6, (self.given.duration or 0) / 1e6
        missing = start + length - self.end
        if missing > CUT:
            raise RestoreError(f'it has been cut: {missing:.1f} of its {length:.1f} seconds are missing')


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3), RGB, 8 bits."""
    image = frame.to_ndarray(format='rgb24', src_colorspace=_matrix(frame))
    if frame.rotation % 90:
        raise RestoreError(f'it is turned by {frame.rotation} degrees, which is no multiple of 90')
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90))


def _matrix(frame: av.VideoFrame) -> int:
    """What its YUV was made with; where it does not say, what players take."""
    if frame.colorspace not in UNKNOWN:
        return int(frame.colorspace)
    return BT709 if frame.height >= HIGH_DEFINITION else BT601


class _Sounds:
    """The sound of a video: packets as they are where the new container takes their codec, else encoded anew."""

    def __init__(self, streams: Any, made: av.container.OutputContainer) -> None:
        self.made, self.streams = made, list(streams)
        self.outputs: dict[int, tuple[Any, bool]] = {}
        self.how = 'none'

    def begin(self) -> None:
        """Their streams in the result."""
        import av

        encoder = av.Codec(self.made.default_audio_codec, 'w')
        for stream in self.streams:
            copied = stream.codec_context.codec.canonical_name in self.made.supported_codecs
            if copied:
                output = self.made.add_stream_from_template(stream)
            else:
                rates = encoder.audio_rates or [stream.rate]
                rate = min(rates, key=lambda rate: (rate < stream.rate, abs(rate - stream.rate)))
                output = self.made.add_stream(encoder.name, rate=rate)
                output.layout = stream.layout
            self.outputs[stream.index] = (output, copied)
        if self.outputs:
            self.how = 'copied' if all(copied for _, copied in self.outputs.values()) else 'encoded anew'

    def take(self, packet: av.Packet) -> None:
        output, copied = self.outputs[packet.stream.index]
        if not copied:
            for frame in packet.decode():
                self.made.mux(output.encode(frame))
        elif packet.dts is not None:  # none: the end
            packet.stream = output
            self.made.mux(packet)

    def end(self) -> None:
        for output, copied in self.outputs.values():
            if not copied:
                self.made.mux(output.encode(None))
