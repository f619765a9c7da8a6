"""Videos as cameras and recorders leave them: unknown sound, mirrored, joined, late, slow, 10 bits, alpha."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from video_matrix import Same

from glean_plus.inference import RestoreError
from glean_plus.inference.video import hdr, restore_video
from glean_plus.inference.video.times import Length

SIDE = 64  # from which on x265 is taken


def made(
    path: Path, codec: str = 'libx264', pixels: str = 'yuv420p', frames: int = 6, rate: int = 10, sound: str = '',
    times: Any = None, tags: tuple[int, int, int] = (2, 2, 2), opacity: bool = False, side: int = SIDE,
    noise: int = 0, options: dict[str, str] | None = None, silence: int = 0,
) -> Path:  # fmt: skip
    """Red on the left, blue in the upper half; frame i at ``times[i]`` milliseconds; ``noise`` makes files
    large; the sound begins after ``silence`` milliseconds."""
    image = np.zeros((side, side + 16, 4), np.uint8)
    image[:, :side // 2 + 8, 0] = 200
    image[:side // 2, :, 2] = 180
    image[..., 3] = np.linspace(0, 255, side)[:, None] if opacity else 255
    with av.open(str(path), 'w') as result:
        video = result.add_stream(codec, rate=rate, options=options)
        video.height, video.width, video.pix_fmt = side, side + 16, pixels
        context = video.codec_context
        context.color_primaries, context.color_trc, context.colorspace = tags
        if times is not None:
            context.time_base = Fraction(1, 1000)
        audio = result.add_stream(sound, rate=48000) if sound else None
        for i in range(frames):
            noisy = image + np.random.default_rng(i).integers(0, noise + 1, image.shape, np.uint8)
            frame = av.VideoFrame.from_ndarray(noisy, 'rgba').reformat(
                format=pixels, dst_colorspace=9 if tags[2] == 9 else None
            )
            frame.pts, frame.time_base = (i, Fraction(1, rate)) if times is None else (times[i], Fraction(1, 1000))
            result.mux(video.encode(frame))
        result.mux(video.encode(None))
        for start in range(0, 48000 * frames // rate if audio else 0, 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
            samples.sample_rate, samples.pts, samples.time_base = 48000, start + 48 * silence, Fraction(1, 48000)
            result.mux(audio.encode(samples))
        if audio:
            result.mux(audio.encode(None))
    return path


def shown(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as given:
        return [(frame.time, frame.to_ndarray(format='rgb24')) for frame in given.decode(video=0)]


def times_of(path: Path) -> list[float]:
    return [time for time, _ in shown(path)]


def go(source: Path, ending: str) -> tuple[Any, Path]:
    target = source.with_name(f'{source.name}.result{ending}')
    return restore_video(Same(), source, target, 4), target


def test_a_sound_track_that_cannot_be_decoded_is_left_out_and_named(tmp_path: Path) -> None:
    """The second track becomes one of an unknown codec: the first stays."""
    first, both = made(tmp_path / 'a.mp4', sound='aac'), tmp_path / 'both.mp4'
    with av.open(str(first)) as given, av.open(str(both), 'w') as result:
        video, audio = given.streams.video[0], given.streams.audio[0]
        outputs = [result.add_stream_from_template(each) for each in (video, audio, audio)]
        for packet in given.demux():
            if packet.size:
                stream = packet.stream
                packet.stream = outputs[stream.index]
                result.mux(packet)
                if stream is audio:
                    packet.stream = outputs[2]
                    result.mux(packet)
    data = both.read_bytes()
    at = data.rindex(b'mp4a')
    apart = data[:at] + b'apac' + data[at + 4:]
    at = apart.index(b'esds', at)
    both.write_bytes(apart[:at] + b'xsds' + apart[at + 4:])
    clip, target = go(both, '.mp4')
    assert clip.sound == 'copied' and clip.frames == 6
    assert clip.notes == ('sound track 2 of 2 is left out: FFmpeg has no decoder for it',)
    with av.open(str(target)) as given:
        assert [stream.type for stream in given.streams] == ['video', 'audio']


@pytest.mark.parametrize('matrix', [
    (1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
    (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0),
])  # fmt: skip
def test_all_orientations(matrix: tuple[int, int, int, int], tmp_path: Path) -> None:
    """ISO 14496-12: a pixel at (x, y) goes to (a x + c y, b x + d y), moved into the image."""
    source = made(tmp_path / 'in.mp4', frames=1)
    stored = shown(source)[0][1].astype(float)
    a, b, c, d = matrix
    data = bytearray(source.read_bytes())
    at = data.index(b'tkhd') + 4 + 40
    data[at:at + 24] = b''.join((0x10000 * each).to_bytes(4, 'big', signed=True) for each in (a, b, 0, c, d, 0))
    source.write_bytes(data)
    y, x = np.indices(stored.shape[:2])
    column, row = a * x + c * y, b * x + d * y
    wanted = np.zeros((np.ptp(row) + 1, np.ptp(column) + 1, 3))
    wanted[row - row.min(), column - column.min()] = stored
    _, target = go(source, '.mp4')
    result = shown(target)[0][1]
    assert result.shape == wanted.shape and np.abs(result - wanted).mean() < 4


def disordered(path: Path, times: list[int]) -> Path:
    """Frames of Motion JPEG, which no decoder puts in order, at these milliseconds."""
    source = made(path.with_name('mjpeg.mkv'), 'mjpeg', 'yuvj420p', frames=len(times))
    with av.open(str(source)) as given, av.open(str(path), 'w') as result:
        stream = result.add_stream_from_template(given.streams.video[0])
        for i, packet in enumerate(packet for packet in given.demux() if packet.size):
            packet.pts, packet.dts, packet.stream = times[i], i - len(times), stream
            result.mux(packet)
    return path


@pytest.mark.parametrize('times, wanted', [
    ([0, 100, 200, 200, 300, 400], [0, 100, 200, 201, 300, 400]),
    ([0, 100, 200, 50, 60, 400], [0, 100, 200, 201, 202, 400]),
    ([0, 300, 100, 400, 500, 600], [0, 300, 301, 400, 500, 600]),
])  # fmt: skip
@pytest.mark.parametrize('ending', ['.mp4', '.webm'])
def test_times_that_do_not_increase(times: list[int], wanted: list[int], ending: str, tmp_path: Path) -> None:
    clip, target = go(disordered(tmp_path / 'in.mkv', times), ending)
    assert times_of(target) == pytest.approx([time / 1000 for time in wanted])
    assert len(clip.notes) == 1 and 'frames whose time is not after that of the frame before' in clip.notes[0]


@pytest.mark.parametrize('sound', ['', 'aac'])
def test_joined_parts_follow_one_another(sound: str, tmp_path: Path) -> None:
    part = made(tmp_path / 'part.ts', rate=5, frames=5, sound=sound)
    (tmp_path / 'joined.ts').write_bytes(2 * part.read_bytes())
    clip, target = go(tmp_path / 'joined.ts', '.mp4')
    steps = np.diff(times_of(target))
    assert clip.frames == 10 and steps == pytest.approx(0.2, abs=0.03)
    assert any('times begin again' in note for note in clip.notes)
    assert not any('whose time' in note for note in clip.notes)
    if sound:
        with av.open(str(target)) as given:
            packets = [packet for packet in given.demux(audio=0) if packet.size]
        heard = [float(packet.pts * packet.time_base) for packet in packets]
        assert len(heard) > 90 and np.diff(heard).min() > 0 and np.diff(heard).max() < 0.06
        assert abs(heard[len(heard) // 2] - times_of(target)[5]) < 0.15


@pytest.mark.parametrize('ending, codec', [
    ('.mkv', 'libx264'), ('.webm', 'libvpx-vp9'), ('.flv', 'libx264'), ('.wmv', 'wmv2'), ('.ts', 'libx264'),
    ('.avi', 'mpeg4'), ('.mp4', 'libx264'),
])  # fmt: skip
@pytest.mark.parametrize('start, rate', [(0, 1), (5000, 10)])
def test_whole_clips_are_not_called_cut(start: int, rate: int, ending: str, codec: str, tmp_path: Path) -> None:
    """One frame a second, or beginning at five seconds."""
    times = [start + 1000 * i // rate for i in range(6)]
    source = made(tmp_path / f'in{ending}', codec, rate=rate, times=None if ending == '.avi' else times)
    clip, target = go(source, '.mp4')
    assert clip.frames == 6 and times_of(target) == pytest.approx(times_of(source))


@pytest.mark.parametrize('ending, codec, sound', [
    ('avi', 'mpeg4', 'mp3'), ('mkv', 'libx264', 'aac'), ('ts', 'libx264', 'aac'),
])  # fmt: skip
@pytest.mark.parametrize('target', ['.mp4', '.mkv'])
def test_sound_that_begins_late(ending: str, codec: str, sound: str, target: str, tmp_path: Path) -> None:
    source = made(tmp_path / f'in.{ending}', codec, frames=10, sound=sound, silence=1000)
    clip, result = go(source, target)
    assert clip.frames == 10 and clip.sound == 'copied' and clip.notes == ()
    distances = []
    for path in (source, result):
        begins = []
        for kind in ('video', 'audio'):
            with av.open(str(path)) as given:
                begins.append(next(given.decode(given.streams.best(kind))).time)
        distances.append(begins[1] - begins[0])
    assert distances[1] == pytest.approx(distances[0], abs=0.03), 'but for the samples that prime AAC'
    assert ending == 'avi' or distances[0] > 0.9, 'AVI has no times'


@pytest.mark.parametrize('ending, codec', [
    ('.mkv', 'libx264'), ('.flv', 'libx264'), ('.wmv', 'wmv2'), ('.wmv', 'mpeg4'), ('.avi', 'mpeg4'), ('.avi', 'mjpeg'),
])  # fmt: skip
@pytest.mark.parametrize('left', [0.5, 0.7])
def test_cut_clips_are(left: float, ending: str, codec: str, tmp_path: Path) -> None:
    pixels = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
    start = 0 if ending == '.flv' else 1000
    times = None if ending == '.avi' else [start + 100 * i for i in range(40)]
    source = made(tmp_path / f'in{ending}', codec, pixels, frames=40, times=times, noise=250)
    data = source.read_bytes()
    source.write_bytes(data[:int(len(data) * left)])
    with pytest.raises(RestoreError, match='it has been cut'):
        go(source, '.mp4')


@pytest.mark.parametrize('ending', ['.mp4', '.mov', '.mkv', '.webm'])
def test_ten_bits_of_hdr_stay(ending: str, tmp_path: Path) -> None:
    """BT.2020 with PQ; a flat area of each half has the levels that it had."""
    source = made(tmp_path / 'in.mp4', 'libx264', 'yuv420p10le', tags=(9, 16, 9))
    clip, target = go(source, ending)
    levels = []
    for path in (source, target):
        with av.open(str(path)) as given:
            context = given.streams.video[0].codec_context
            frame = next(given.decode(video=0))
            assert context.pix_fmt == 'yuv420p10le'
            assert (context.color_primaries, context.color_trc, context.colorspace) == (9, 16, 9)
            levels.append(frame.to_ndarray(format='rgb48le', src_colorspace=9)[[16, 48, 16], [16, 16, 64]] / 257)
    assert clip.notes == () and np.abs(levels[0] - levels[1]).max() < 3


@pytest.mark.parametrize('frames', [1, 2, 3])
def test_clips_of_few_frames_of_ten_bits(frames: int, tmp_path: Path) -> None:
    """Fewer than x265 looks ahead: several times, as what went wrong was by what the memory had held."""
    source = made(tmp_path / 'in.mkv', 'ffv1', 'yuv420p10le', frames=frames, side=96, noise=50)
    for _ in range(12):
        clip, target = go(source, '.mp4')
        with av.open(str(target)) as given:
            packets = [packet for packet in given.demux() if packet.size]
        times = sorted(packet.pts * packet.time_base for packet in packets)
        assert times == pytest.approx(times_of(source)) and clip.notes == ()
        assert all(-1 < packet.dts * packet.time_base <= packet.pts * packet.time_base for packet in packets)


MASTERED = 'G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)'


def static_metadata(path: Path) -> list[dict[str, Any]]:
    """Of the first frame, as ffprobe has it."""
    command = ['ffprobe', '-v', 'error', '-show_frames', '-of', 'json', '-read_intervals', '%+#1', str(path)]
    frame = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)['frames'][0]
    wanted = ('Mastering display metadata', 'Content light level metadata')
    return sorted((each for each in frame.get('side_data_list', []) if each['side_data_type'] in wanted),
                  key=lambda each: str(each['side_data_type']))  # fmt: skip


def fractions(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: float(Fraction(value)) if '/' in str(value) else value for key, value in metadata.items()}


@pytest.mark.parametrize('ending', ['.mp4', '.mkv', '.webm'])
def test_display_and_light_levels_of_hdr_stay(ending: str, tmp_path: Path) -> None:
    parameters = f'log-level=none:hdr10=1:master-display={MASTERED}:max-cll=1000,400'
    source = made(tmp_path / 'in.mp4', 'libx265', 'yuv420p10le', tags=(9, 16, 9),
                  options={'x265-params': parameters})  # fmt: skip
    given = static_metadata(source)
    assert [each['side_data_type'] for each in given] == ['Content light level metadata', 'Mastering display metadata']
    assert given[0]['max_content'] == 1000 and given[1]['red_x'] == '34000/50000'
    clip, target = go(source, ending)
    result = static_metadata(target)
    assert clip.notes == () and len(result) == 2
    for before, after in zip(given, result):
        assert fractions(after) == pytest.approx(fractions(before), rel=1e-3, abs=1e-4)


def test_display_and_light_levels_that_an_encoder_does_not_take_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made(tmp_path / 'in.mp4', 'libx265', 'yuv420p10le', tags=(9, 16, 9),
                  options={'x265-params': 'log-level=none:hdr10=1:max-cll=1000,400'})  # fmt: skip
    monkeypatch.delitem(hdr.ENCODERS, 'libx265')
    clip, _ = go(source, '.mp4')
    assert clip.notes == ('libx265 does not take this of its frames, which is left out: content light levels',)


def test_small_frames_of_ten_bits(tmp_path: Path) -> None:
    clip, target = go(made(tmp_path / 'in.mkv', 'libx264', 'yuv420p10le', side=32), '.mp4')
    with av.open(str(target)) as given:
        assert given.streams.video[0].codec_context.pix_fmt == 'yuv420p10le' and clip.notes == ()


@pytest.mark.parametrize('ending', ['.mov', '.mkv', '.webm', '.mp4'])
def test_an_alpha_channel_stays_or_is_named(ending: str, tmp_path: Path) -> None:
    source = made(tmp_path / 'in.mov', 'qtrle', 'argb', opacity=True)
    clip, target = go(source, ending)
    if ending == '.mp4':
        assert clip.notes == ('its alpha channel is left out, as .mp4 does not hold it: take one of .mov, .mkv, .webm',)
        return
    with av.open(str(target)) as given:
        stream = given.streams.video[0]
        decoder = stream.codec_context
        if ending == '.webm':
            assert stream.metadata['alpha_mode'] == '1'
            decoder = av.CodecContext.create('libvpx-vp9', 'r')
        frame = next(frame for packet in given.demux(stream) for frame in decoder.decode(packet))
    opacity = frame.to_ndarray(format='rgba')[..., 3]
    assert np.abs(opacity - np.linspace(0, 255, SIDE)[:, None]).max() < 6 and clip.notes == ()
    if ending == '.webm':  # and such a result is read with its alpha channel
        again, _ = go(target, '.mov')
        assert again.notes == ()


def test_the_command_names_what_is_left_out(tmp_path: Path, restore: Callable[..., int], capsys: Any) -> None:
    source = made(tmp_path / 'in.mp4', frames=2, sound='aac', side=16)
    source.write_bytes(source.read_bytes().replace(b'mp4a', b'apac').replace(b'esds', b'xsds'))
    assert restore(source, tmp_path / 'out.mp4') == 0
    assert f'{source}: sound track 1 of 1 is left out' in capsys.readouterr().err


@pytest.mark.parametrize(('name', 'declared', 'base'), [
    ('avi', 2_000_000, Fraction(1, 10)), ('matroska,webm', 9_000_000, Fraction(1, 100)),
])  # fmt: skip
def test_a_stream_without_a_time_base_says_nothing_of_the_length(name: str, declared: int, base: Fraction) -> None:
    """PyAV gives None for a time base that FFmpeg does not know; the other stream is of 3 seconds."""
    known = SimpleNamespace(frames=30, duration=300, time_base=base)
    unknown = SimpleNamespace(frames=9, duration=9, time_base=None)

    class Streams(list):
        video = (unknown, known)

    container = SimpleNamespace(
        start_time=None, duration=declared, format=SimpleNamespace(name=name), streams=Streams([unknown, known])
    )
    assert Length().missing(container)[1] == 3.0


@pytest.mark.skipif(not hasattr(os, 'sched_setscheduler') or os.geteuid() != 0, reason='of root on Linux')
def test_an_encoder_that_sound_opens_leaves_no_real_time_threads(tmp_path: Path) -> None:
    """SVT-AV1 makes its caller's thread a real-time one when it is opened, be it for a packet of the sound."""
    source = made(tmp_path / 'in.mkv', pixels='yuv420p10le', sound='libopus', times=[*range(500, 1100, 100)])
    clip, target = go(source, '.webm')
    with av.open(str(target)) as given:
        assert 'av1' in given.streams.video[0].codec_context.codec.long_name.lower() and len(given.streams.audio) == 1
    assert {os.sched_getscheduler(int(thread)) for thread in os.listdir('/proc/self/task')} == {os.SCHED_OTHER}
