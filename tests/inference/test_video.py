"""Videos: frames restored, sound kept; every container, sizes, turned, irregular and cut ones; the command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from glean_plus.inference import RestoreError, Restorer
from glean_plus.inference.video import frame_count, restore_video
from glean_plus.inference.video.formats import AV1, usual_priority

from conftest import ROOT
from small_restorers import photo

# 90 degrees clockwise, as a telephone held upright writes it: a, b, u, c, d, v of ISO 14496-12's matrix.
TURNED = [0, 0x10000, 0, -0x10000, 0, 0]


def make_clip(
    path: Path, sound: str | None = 'aac', frames: int = 6, size: tuple[int, int] = (12, 16), rate: int = 10,
    times: list[int] | None = None, matrix: int | None = None,
) -> Path:  # fmt: skip
    """A moving photograph with a tone: (H, W) at ``rate`` frames a second, frame i at ``times[i] / rate`` seconds."""
    height, width = size
    with av.open(str(path), 'w') as made:
        video = made.add_stream('libx264', rate=rate, options={'crf': '1'})
        video.height, video.width = size
        video.pix_fmt = 'yuv444p' if height % 2 or width % 2 else 'yuv420p'
        if matrix is not None:
            video.codec_context.colorspace, video.codec_context.color_range = matrix, 1
        audio = None
        if sound:
            audio = made.add_stream(sound, rate=48000)
            audio.layout = 'mono'
        image = photo('coffee', height, width + frames)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, i:i + width]), 'rgb24')
            frame = frame.reformat(format=video.pix_fmt, dst_colorspace=matrix)
            frame.pts, frame.time_base = (times or range(frames))[i], Fraction(1, rate)
            made.mux(video.encode(frame))
            if audio:
                tone = 0.3 * np.sin(np.arange(48000 // rate) * 0.05 + i)
                samples = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], 'fltp', 'mono')
                samples.rate, samples.pts = 48000, i * 48000 // rate
                made.mux(audio.encode(samples))
        made.mux(video.encode(None))
        if audio:
            made.mux(audio.encode(None))
    return path


def turn(path: Path) -> None:
    """Write a display matrix into an MP4, as a telephone does."""
    data = bytearray(path.read_bytes())
    at = data.index(b'tkhd') + 4 + 40
    data[at:at + 24] = b''.join(value.to_bytes(4, 'big', signed=True) for value in TURNED)
    path.write_bytes(data)


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as given:
        return [np.rot90(frame.to_ndarray(format='rgb24'), frame.rotation // 90) for frame in given.decode(video=0)]


def times_of(path: Path) -> list[float]:
    with av.open(str(path)) as given:
        return [frame.time for frame in given.decode(video=0)]


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as given:
        return [bytes(packet) for packet in given.demux(audio=0) if packet.dts is not None]


def length_of(path: Path) -> tuple[Any, float]:
    with av.open(str(path)) as given:
        return given.streams.video[0].average_rate, given.duration / 1e6


@pytest.fixture(scope='module')
def restorer() -> Restorer:
    return Restorer('lightglean_twemoji_4x', device='cpu')


def test_three_seconds_with_sound(tmp_path: Path, restorer: Restorer) -> None:
    """Length, rate and sound are the same, and each frame is what its image alone would become."""
    source, target = make_clip(tmp_path / 'in.mp4', frames=30), tmp_path / 'out.mp4'
    done: list[int] = []
    clip = restore_video(restorer, source, target, crf=1, done=done.append)
    assert (clip.frames, clip.size, clip.result_size, clip.sound) == (30, (12, 16), (48, 64), 'copied')
    assert sum(done) == 30 and max(done) == 8
    assert length_of(target) == length_of(source) == (10, pytest.approx(3))
    assert times_of(target) == times_of(source)
    assert sound_of(target) == sound_of(source) and len(sound_of(target)) > 100
    for given, made in list(zip(frames_of(source), frames_of(target)))[::10]:
        expected = restorer(given).astype(float)
        assert np.sqrt(((made - expected) ** 2).mean()) < 6  # of 255: colours have half the resolution
        assert np.sqrt(((made - expected[:, ::-1]) ** 2).mean()) > 15
    assert [*tmp_path.glob('*.part')] == []


@pytest.mark.parametrize(
    ('source', 'sound', 'target', 'how'),
    [
        ('a.mkv', 'pcm_s16le', 'b.mkv', 'copied'),
        ('a.mkv', 'aac', 'b.webm', 'encoded again'),
        ('a.mkv', 'libopus', 'b.webm', 'copied'),
        ('a.avi', None, 'b.mp4', 'none'),
    ],
)
def test_containers(
    source: str, sound: str | None, target: str, how: str, tmp_path: Path, restorer: Restorer
) -> None:
    given = make_clip(tmp_path / source, sound)
    clip = restore_video(restorer, given, tmp_path / target)
    assert clip.sound == how and clip.frames == len(frames_of(tmp_path / target)) == 6
    if how == 'copied':
        assert sound_of(tmp_path / target) == sound_of(given)
    elif how == 'encoded again':
        with av.open(str(tmp_path / target)) as made:
            heard = np.concatenate([frame.to_ndarray()[0] for frame in made.decode(audio=0)])
        assert abs(len(heard) / 48000 - 0.6) < 0.05 and 0.15 < heard.std() < 0.25  # the tone's is 0.3 / sqrt(2)


def test_odd_sides_and_quality(tmp_path: Path) -> None:
    """Enlarged by 1, as colorization does, sides stay odd; a lower crf is nearer to what was restored."""
    restorer = Restorer('lightglean_twemoji_color', device='cpu')
    source = make_clip(tmp_path / 'in.mp4', None, frames=2, size=(13, 15))
    sizes = []
    for crf in (1, 40):
        clip = restore_video(restorer, source, tmp_path / f'{crf}.mp4', crf)
        assert clip.result_size == (13, 15) and frames_of(tmp_path / f'{crf}.mp4')[0].shape == (13, 15, 3)
        expected = restorer(frames_of(source)[0]).astype(float)
        sizes.append(np.sqrt(((frames_of(tmp_path / f'{crf}.mp4')[0] - expected) ** 2).mean()))
    assert sizes[0] < 3 < sizes[1]


def test_turned_video_is_upright(tmp_path: Path, restorer: Restorer) -> None:
    source = make_clip(tmp_path / 'in.mp4', None, frames=2)
    stored = frames_of(source)[0]
    turn(source)
    assert (frames_of(source)[0] == np.rot90(stored, -1)).all()
    clip = restore_video(restorer, source, tmp_path / 'out.mp4', 1)
    assert (clip.size, clip.result_size) == ((16, 12), (64, 48))
    made = frames_of(tmp_path / 'out.mp4')[0]
    assert np.abs(made - restorer(np.ascontiguousarray(np.rot90(stored, -1))).astype(float)).mean() < 5


def test_subtitles_may_end_last(tmp_path: Path, restorer: Restorer) -> None:
    """Matroska's length covers them; they are left out."""
    source = tmp_path / 'in.mkv'
    with av.open(str(source), 'w') as made:
        video, words = made.add_stream('libx264', rate=10), made.add_stream('srt')
        video.width, video.height, video.pix_fmt = 16, 12, 'yuv420p'
        words.codec_context.subtitle_header = b'[Script Info]\r\nScriptType: v4.00+\r\n[Events]\r\n'
        for i in range(6):
            frame = av.VideoFrame.from_ndarray(np.zeros((12, 16, 3), np.uint8), 'rgb24')
            frame.pts, frame.time_base = i, Fraction(1, 10)
            made.mux(video.encode(frame))
        line = av.Packet(b'a line that stays')
        line.stream, line.pts, line.dts, line.duration, line.time_base = words, 0, 0, 5000, Fraction(1, 1000)
        made.mux(line)
        made.mux(video.encode(None))
    clip = restore_video(restorer, source, tmp_path / 'out.mkv')
    assert clip.frames == 6
    with av.open(str(tmp_path / 'out.mkv')) as given:
        assert [stream.type for stream in given.streams] == ['video']


def test_tags_in_an_old_encoding(tmp_path: Path, restorer: Restorer) -> None:
    source = make_clip(tmp_path / 'in.avi', sound=None)
    with av.open(str(source)) as given, av.open(str(tmp_path / 'tagged.avi'), 'w') as made:
        made.metadata['title'] = 'Gruesse'
        video = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                made.mux(packet)
    tagged = tmp_path / 'tagged.avi'
    data = tagged.read_bytes()
    assert data.count(b'Gruesse') == 1
    tagged.write_bytes(data.replace(b'Gruesse', b'Gr\xfc\xdfe  '))
    assert restore_video(restorer, tagged, tmp_path / 'out.mkv').frames == 6
    assert frame_count(tagged) == 6
    (tmp_path / 'cut.mp4').write_bytes(make_clip(tmp_path / 'whole.mp4').read_bytes()[:100])
    assert frame_count(tmp_path / 'cut.mp4') is None


def test_irregular_times_are_kept(tmp_path: Path, restorer: Restorer) -> None:
    source = make_clip(tmp_path / 'in.mkv', None, rate=100, times=[0, 3, 20, 21, 55, 80])
    restore_video(restorer, source, tmp_path / 'out.mp4')
    assert times_of(source) == pytest.approx([0, 0.03, 0.2, 0.21, 0.55, 0.8])
    assert times_of(tmp_path / 'out.mp4') == pytest.approx(times_of(source))


@pytest.mark.parametrize('matrix', [1, 6])
def test_colours_are_those_of_the_source_s_matrix(matrix: int, tmp_path: Path, restorer: Restorer) -> None:
    source = make_clip(tmp_path / 'in.mp4', None, frames=1, matrix=matrix)
    restore_video(restorer, source, tmp_path / 'out.mp4', 1)
    with av.open(str(tmp_path / 'out.mp4')) as made:
        frame = next(made.decode(video=0))
        assert frame.colorspace == matrix
        shown, true = frame.to_ndarray(format='rgb24'), photo('coffee', 12, 17)[:, :16]
    assert np.abs(shown.mean((0, 1)) - true.mean((0, 1))).max() < 6


def test_command(tmp_path: Path, restore: Callable[..., int], capsys: Any) -> None:
    """A folder of videos and images: a cut and a broken one are named, the rest is done, and the run goes on."""
    folder, out = tmp_path / 'in', tmp_path / 'out'
    (folder / 'more').mkdir(parents=True)
    make_clip(folder / 'a.mp4')
    make_clip(folder / 'more' / 'b.avi', 'mp3', frames=3)
    whole = make_clip(folder / 'cut.mkv', frames=30).read_bytes()
    (folder / 'cut.mkv').write_bytes(whole[:len(whole) // 2])
    (folder / 'broken.mov').write_bytes(b'no video')
    (folder / 'c.png').write_bytes((ROOT / 'docs' / 'images' / 'lightglean_twemoji_4x.png').read_bytes()[:100])
    assert restore(folder, out, '--crf', '30', '--json', tmp_path / 'run.json') == 1
    said = capsys.readouterr().err
    assert 'broken.mov: it cannot be read' in said and 'cut.mkv: it has been cut: ' in said
    assert f'{out}: 2 restored' in said and '3 failed' in said
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file()) == [
        'a.mp4', 'glean-plus.run.json', 'more/b.mkv']  # fmt: skip
    report = json.loads((tmp_path / 'run.json').read_text())
    records = {Path(record['input']).name: record for record in report['pictures']}
    assert records['a.mp4']['frames'] == 6 and records['a.mp4']['sound'] == 'copied' and report['run']['crf'] == 30
    assert restore(folder, out, '--crf', '30') == 1 and '2 there already' in capsys.readouterr().err
    assert restore(folder, out) == 2 and 'crf 30, now 17' in capsys.readouterr().err


def test_nothing_is_half_written(
    tmp_path: Path, restorer: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make_clip(tmp_path / 'in.mp4'), tmp_path / 'out.mp4'

    def interrupted(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(restorer, source, target, done=interrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in.mp4']


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (('in.mp4', 'out.png'), "The result of a video ends in one of .mp4, .mov, .mkv, .webm, not in '.png'"),
    (('in.mp4', 'out.mp4', '--crf', '99'), 'is 0 to 51, lower is better, but is 99'),
    (('in.mp4', 'out.mp4', '--compare'), 'are for images, but'),
    (('in.mp4', 'out.mp4', '--report'), 'are for images, but'),
    (('in.png', 'out.png', '--crf', '20'), 'crf is the quality of videos, but there are none'),
]  # fmt: skip


@pytest.mark.parametrize(('arguments', 'message'), REFUSED)
def test_what_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path, restore: Callable[..., int], capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / 'in.mp4', None, frames=1)
    (tmp_path / 'in.png').touch()
    assert restore(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob('out*'))


def test_without_pyav_the_way_out_is_named(
    tmp_path: Path, restorer: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / 'in.mp4', None, frames=1)
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(RestoreError, match='pip install av'):
        restore_video(restorer, source, tmp_path / 'out.mp4')


@pytest.mark.skipif(not hasattr(os, 'sched_setscheduler') or os.geteuid() != 0, reason='of root on Linux')
def test_no_encoder_leaves_real_time_threads(tmp_path: Path) -> None:
    """As SVT-AV1 does with its own and its caller's."""
    def policies() -> set[int]:
        return {os.sched_getscheduler(int(thread)) for thread in os.listdir('/proc/self/task')}

    assert policies() == {os.SCHED_OTHER}
    assert AV1.opens(64, 64, Fraction(10))
    assert policies() == {os.SCHED_OTHER}
    with av.open(str(tmp_path / 'x.mkv'), 'w') as made, usual_priority():
        stream: Any = made.add_stream(AV1.encoder, rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 64, AV1.pixels
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), 'rgb24')
        made.mux(stream.encode(frame))
        assert os.SCHED_FIFO in policies()  # else the encoder no longer does it, and usual_priority can go
    assert policies() == {os.SCHED_OTHER}
