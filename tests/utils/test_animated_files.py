"""Frames of animated files, composed as FFmpeg and libvips compose them; times, loops, and damage."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from animations import by_ffmpeg, by_vips, chunk, random_gif, random_png, save, visible
from PIL import Image

from glean_plus.utils.images import apng, gif
from glean_plus.utils.images.animation import is_animated, read_animation
from glean_plus.utils.images.errors import ImageFileError, SeveralFramesError
from glean_plus.utils.images.frames import composed
from glean_plus.utils.images.image import load

RNG = np.random.default_rng(3)
FRAMES = [RNG.integers(0, 256, (6, 8, 3), np.uint8) for _ in range(4)]
TIMES = [40, 70, 1000, 20]


def test_gifs_are_composed_as_by_ffmpeg() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        data = random_gif(rng)
        found = [visible(frame) for frame, _ in composed(gif.parts(data), *gif.size(data))]
        expected = by_ffmpeg(io.BytesIO(data))
        assert len(found) == len(expected)
        for frame, other in zip(found, expected):
            np.testing.assert_array_equal(frame, other)


def test_a_gif_whose_frames_leave_its_canvas_is_cut_to_it(tmp_path: Path) -> None:
    (tmp_path / 'x.gif').write_bytes(gif_of(FRAMES[0], FRAMES[1], size=(5, 4)))
    found = [*read_animation(tmp_path / 'x.gif').frames()]
    for frame, expected in zip(found, FRAMES[:2]):
        np.testing.assert_array_equal(frame, expected[:4, :5])


def test_pngs_are_composed_as_by_ffmpeg() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        data = random_png(rng)
        found = [visible(frame) for frame, _ in composed(apng.parts(data), 7, 5)]
        expected = by_ffmpeg(io.BytesIO(data))
        assert len(found) == len(expected) == 4
        for frame, other in zip(found, expected):
            np.testing.assert_array_equal(frame, other)


def test_webps_are_composed_as_by_libvips(tmp_path: Path) -> None:
    frames = [FRAMES[0].copy() for _ in range(4)]
    for i, frame in enumerate(frames):
        frame[i:i + 2, 2:5] = i
    path = save(tmp_path / 'x.webp', frames, TIMES)
    expected, times, _ = by_vips(path)
    assert times == TIMES
    for frame, other in zip(read_animation(path).frames(), expected):
        np.testing.assert_array_equal(frame, other[..., :3])


@pytest.mark.parametrize('ending', ['gif', 'webp', 'png'])
@pytest.mark.parametrize('plays', [0, 1, 3])
def test_times_and_loops(ending: str, plays: int, tmp_path: Path) -> None:
    path = save(tmp_path / f'x.{ending}', FRAMES, TIMES, plays)
    found = read_animation(path)
    assert found.times == tuple(Fraction(time, 1000) for time in TIMES) and found.plays == plays
    assert found.channels == (0, 1, 2) and not found.notes and len([*found.frames()]) == 4
    if ending != 'png':  # which libvips takes for a still image
        assert by_vips(path)[1:] == (TIMES, plays)


def test_times_of_a_png_are_exact_fractions(tmp_path: Path) -> None:
    data = save(tmp_path / 'x.png', FRAMES, TIMES).read_bytes()
    places = [at for at in range(len(data)) if data[at:at + 4] == b'fcTL']
    for at, time in zip(places, [(1, 30), (1001, 30000), (7, 0), (65535, 1)]):
        content = data[at + 4:at + 24] + struct.pack('>HH', *time) + data[at + 28:at + 30]
        data = data[:at - 4] + chunk(b'fcTL', content) + data[at + 34:]
    (tmp_path / 'x.png').write_bytes(data)
    expected = (Fraction(1, 30), Fraction(1001, 30000), Fraction(7, 100), Fraction(65535))
    assert read_animation(tmp_path / 'x.png').times == expected


@pytest.mark.parametrize('ending', ['gif', 'webp', 'png'])
def test_opacity_and_grays(ending: str, tmp_path: Path) -> None:
    columns = [np.where(np.arange(8) < i, 0, 255) for i in range(4)]
    hidden = [np.dstack([frame, np.tile(each, (6, 1))]).astype(np.uint8) for frame, each in zip(FRAMES, columns)]
    options = dict(disposal=2) if ending == 'gif' else {}
    found = read_animation(save(tmp_path / f'a.{ending}', hidden, TIMES, **options))
    assert found.channels == (0, 1, 2, 3)
    for frame, expected in zip(found.frames(), hidden):
        np.testing.assert_array_equal(frame[..., 3], expected[..., 3])
    shown = [np.dstack([frame, np.full((6, 8), 255, np.uint8)]) for frame in FRAMES]
    found = read_animation(save(tmp_path / f'b.{ending}', shown, TIMES))
    assert found.channels == (0, 1, 2)  # all is opaque, whatever its kind
    grays = [frame[..., :1] for frame in FRAMES]
    found = read_animation(save(tmp_path / f'c.{ending}', grays, TIMES))
    assert found.channels == ((0, 1, 2) if ending == 'webp' else (0,))  # a WebP has no grays
    for frame, expected in zip(found.frames(), grays):
        np.testing.assert_array_equal(frame, np.broadcast_to(expected, frame.shape))


def test_sixteen_bits_become_eight_and_the_still_image_is_no_frame(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / 'x.png'), 'w', format='apng') as made:
        stream = made.add_stream('apng', rate=10)
        stream.width, stream.height, stream.pix_fmt = 8, 6, 'rgb48be'
        for frame in FRAMES:
            made.mux(stream.encode(av.VideoFrame.from_ndarray(frame, 'rgb24').reformat(format='rgb48be')))
        made.mux(stream.encode(None))
    found = read_animation(tmp_path / 'x.png')
    assert found.notes == ('its 16 bits a channel become 8',)
    for frame, expected in zip(found.frames(), FRAMES):
        assert abs(frame.astype(int) - expected).max() <= 1

    images = [Image.fromarray(frame) for frame in FRAMES]
    images[0].save(tmp_path / 'y.png', save_all=True, append_images=images[1:], default_image=True, duration=TIMES[1:])
    found = read_animation(tmp_path / 'y.png')
    assert len(found.times) == 3 and 'viewers without animation' in found.notes[0]
    np.testing.assert_array_equal(next(found.frames()), FRAMES[1])


def test_orientation_is_applied_to_each_frame(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for ending in ('webp', 'png'):
        found = read_animation(save(tmp_path / f'x.{ending}', FRAMES, TIMES, exif=exif.tobytes()))
        for frame, expected in zip(found.frames(), FRAMES):
            np.testing.assert_array_equal(frame, np.rot90(expected, -1))


def gif_of(*frames: np.ndarray, size: tuple[int, int] = (8, 6)) -> bytes:
    from PIL.GifImagePlugin import getdata

    parts = (getdata(Image.fromarray(frame).quantize(256), include_color_table=True, duration=50) for frame in frames)
    return struct.pack('<6sHHBBB', b'GIF89a', *size, 0x70, 0, 0) + b''.join(b''.join(part) for part in parts) + b';'


def test_damage_names_the_frame(tmp_path: Path) -> None:
    whole = gif_of(*FRAMES)
    starts = [len(gif_of(*FRAMES[:i])) - 1 for i in range(5)]
    cut = tmp_path / 'x.gif'
    for end in range(starts[2] + 30, starts[3] - 1, 37):
        cut.write_bytes(whole[:end])
        with pytest.raises(ImageFileError, match=r'cut short|frame 3 is broken'):
            read_animation(cut)
    cut.write_bytes(whole[:starts[3]])  # between two frames
    assert len(read_animation(cut).times) == 3 and 'end is missing' in read_animation(cut).notes[0]

    data = save(tmp_path / 'x.png', FRAMES, TIMES).read_bytes()
    places = [at for at in range(len(data)) if data[at:at + 4] == b'fdAT']
    for wrong in (places[1] + 20, places[1] + 60):
        cut.write_bytes(data[:wrong] + bytes([data[wrong] ^ 0x55]) + data[wrong + 1:])
        with pytest.raises(ImageFileError, match='frame 3 is damaged: the checksum of fdAT is wrong'):
            read_animation(cut)
    cut.write_bytes(data[:places[1] - 4])
    with pytest.raises(ImageFileError, match='frame 3 is broken'):
        read_animation(cut)
    cut.write_bytes(data[:places[1] - 42])
    with pytest.raises(ImageFileError, match='cut short: 2 of its 4 frames are there'):
        read_animation(cut)
    cut.write_bytes(b'RIFF')
    with pytest.raises(ImageFileError, match='header is broken'):
        read_animation(cut)


def test_a_png_that_claims_more_frames_than_it_has_costs_no_memory(tmp_path: Path) -> None:
    path = save(tmp_path / 'x.png', FRAMES, TIMES)
    data = path.read_bytes()
    at = data.index(b'acTL') - 4
    path.write_bytes(data[:at] + chunk(b'acTL', struct.pack('>II', 2**31 - 1, 0)) + data[at + 20:])
    with pytest.raises(ImageFileError, match='4 of its 2147483647 frames'):
        read_animation(path)


def test_what_is_animated_is_found_by_headers(tmp_path: Path) -> None:
    for ending in ('gif', 'webp'):
        assert is_animated(save(tmp_path / f'x.{ending}', FRAMES, TIMES))
        Image.fromarray(FRAMES[0]).save(tmp_path / f'y.{ending}')
        assert not is_animated(tmp_path / f'y.{ending}')
    assert not is_animated(tmp_path / 'none.gif')


def test_the_first_of_several_frames_is_taken_where_that_is_asked_for(tmp_path: Path) -> None:
    for ending in ('gif', 'webp', 'png'):
        data = save(tmp_path / f'x.{ending}', FRAMES, TIMES).read_bytes()
        np.testing.assert_array_equal(load(data, several=True).image, FRAMES[0])
        with pytest.raises(SeveralFramesError, match='4 frames'):
            load(data)
