"""The sound of a video: packets as they are where the new container takes their codec, else encoded again."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from glean_plus.inference.video.times import tick

if TYPE_CHECKING:
    import av

# Usual layouts: of tracks that say only how many channels they have, or whose layout an encoder does not know.
LAYOUTS = {1: 'mono', 2: 'stereo', 6: '5.1', 8: '7.1'}


class Sounds:
    """All sound tracks that can be read.

    Args:
        streams: Those of the source.
        made: Container of the result.

    Attributes:
        how: ``copied``, ``encoded again`` where the container cannot hold one as it is, or ``none``.
        left_out: Why a track is not in the result.
    """

    def __init__(self, streams: Sequence[av.AudioStream], made: av.container.OutputContainer) -> None:
        self.made, self.streams = made, list(streams)
        self.tracks: dict[int, _Copied] = {}
        self.left_out: list[str] = []
        self.mixed: list[str] = []
        self.how = 'none'

    def begin(self) -> None:
        """Add their streams to the result."""
        for number, stream in enumerate(self.streams, 1):
            name = f'sound track {number} of {len(self.streams)}'
            context = stream.codec_context
            if context is None:
                self.left_out.append(f'{name} is left out: FFmpeg has no decoder for it')
            elif not context.sample_rate or not context.layout.nb_channels:
                self.left_out.append(f'{name} is left out: it says no sample rate or no channels')
            elif _can_copy(stream, self.made):
                self.tracks[stream.index] = _Copied(name, self.made.add_stream_from_template(stream), self.made)
            else:
                output = self._encoder(name, stream)
                if output is not None:
                    self.tracks[stream.index] = _Encoded(name, output, self.made)
        if self.tracks:
            encoded = any(isinstance(track, _Encoded) for track in self.tracks.values())
            self.how = 'encoded again' if encoded else 'copied'

    def _encoder(self, name: str, stream: av.AudioStream) -> av.AudioStream | None:
        """A stream with the container's own codec, with the channels of the source, or in stereo; None if neither."""
        import av

        encoder = av.Codec(self.made.default_audio_codec, 'w')
        rates, formats = encoder.audio_rates or [stream.rate], encoder.audio_formats or []
        rate = min(rates, key=lambda rate: (rate < stream.rate, abs(rate - stream.rate)))
        own, channels = stream.layout.name, stream.layout.nb_channels
        for layout in (own, LAYOUTS.get(channels, 'stereo'), 'stereo'):
            try:
                trial = av.CodecContext.create(encoder.name, 'w')
                if not (formats and isinstance(trial, av.AudioCodecContext)):
                    continue
                trial.sample_rate, trial.layout, trial.format = rate, layout, formats[0]
                trial.open()
            except (av.FFmpegError, ValueError):
                continue
            output = self.made.add_stream(encoder.name, rate=rate)
            assert isinstance(output, av.AudioStream)  # as its codec's context is
            output.layout = layout
            if output.codec_context.layout.nb_channels != channels:
                self.mixed.append(f'{name}: {encoder.name} cannot hold its channels ({own}), which are mixed to stereo')
            return output
        self.left_out.append(f'{name} is left out: {encoder.name} cannot hold it')
        return None

    def take(self, packet: av.Packet) -> None:
        track = self.tracks.get(packet.stream_index)
        if track is not None:
            track.take(packet)

    def end(self) -> None:
        for track in self.tracks.values():
            track.end()

    def notes(self) -> Iterator[str]:
        yield from self.left_out
        yield from self.mixed
        for track in self.tracks.values():
            yield from track.notes()


def _can_copy(stream: av.AudioStream, made: av.container.OutputContainer) -> bool:
    """Whether the container takes packets of this stream: only its header says what it takes of a codec."""
    import av

    if stream.codec_context.codec.canonical_name not in made.supported_codecs:
        return False
    try:
        with av.open(io.BytesIO(), 'w', format=made.format.name) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


class _Copied:
    """A track whose packets stay as they are; times that do not increase, which containers refuse, are moved."""

    def __init__(self, name: str, output: Any, made: av.container.OutputContainer) -> None:
        self.name, self.output, self.made = name, output, made
        self.last: int | None = None
        self.moved = 0

    def take(self, packet: av.Packet) -> None:
        if packet.size:  # none: the end
            packet.stream = self.output
            self._mux(packet)

    def _mux(self, packet: av.Packet) -> None:
        time = packet.pts if packet.dts is None else packet.dts
        if self.last is not None and (time is None or time <= self.last):
            self.moved += 1
            time = self.last + tick(packet.time_base)
        self.last = packet.dts = 0 if time is None else time
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        self.made.mux(packet)

    def end(self) -> None:
        pass

    def notes(self) -> Iterator[str]:
        if self.moved:
            yield f'{self.name}: packets whose time is not after that of the one before: {self.moved}, moved after it'


class _Encoded(_Copied):
    """A track that is decoded and encoded again; packets that cannot be decoded are left out, as players do."""

    def __init__(self, name: str, output: Any, made: av.container.OutputContainer) -> None:
        super().__init__(name, output, made)
        self.kind: tuple[Any, ...] = ()
        self.resampler: Any = None
        self.broken = 0

    def take(self, packet: av.Packet[av.AudioStream]) -> None:
        import av

        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            self.broken += 1
            return
        for frame in frames:
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            if kind != self.kind:  # which may change within a track
                self._encode(None)
                context = self.output.codec_context
                self.kind, self.resampler = kind, av.AudioResampler(context.format, context.layout, context.sample_rate)
            self._encode(frame)

    def _encode(self, frame: av.AudioFrame | None) -> None:
        """None flushes the resampler."""
        for each in self.resampler.resample(frame) if self.resampler else ():
            for packet in self.output.encode(each):
                self._mux(packet)

    def end(self) -> None:
        self._encode(None)
        for packet in self.output.encode(None):
            self._mux(packet)

    def notes(self) -> Iterator[str]:
        yield from super().notes()
        if self.broken:
            yield f'{self.name}: packets that cannot be decoded: {self.broken}, left out'
