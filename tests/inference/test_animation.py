"""Animations restored: frames, times and loops as independent decoders find them, formats, damage, and the command."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from animations import by_ffmpeg, by_vips, png_times, save
from PIL import Image, ImageCms

from glean_plus.inference import RestoreError, Restorer
from glean_plus.inference.animation import restore_animation
from glean_plus.inference.base import PictureRestorer, Restored
from glean_plus.inference.frame_writers import WebpWriter
from glean_plus.inference.image import Meta, Picture
from glean_plus.inference.read import FIRST_FRAME, read
from glean_plus.inference.rescale import Rescaler
from glean_plus.inference.write import FEW_COLOURS, write

from small_restorers import photo

TIMES = [40, 10, 250, 30, 70, 100, 20, 500, 60, 90, 110, 1000]  # milliseconds
ENDINGS = ['gif', 'webp', 'png']
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


class Doubler(PictureRestorer):
    """In place of a network: pixels become 2 x 2."""

    scale = 2
    memory = 2**30

    def __init__(self, at_once: int = 1) -> None:
        self.batch, self.batches = at_once, list[int]()

    def batch_of(self, picture: Picture) -> int:
        return self.batch

    def restoration(self, pictures: Sequence[Picture], assess: bool = False) -> Restored:
        return _Doubled(self, pictures, pictures[0].layers)

    def run_facts(self) -> dict[str, Any]:
        return {}

    about_facts = run_facts


class _Doubled(Restored):
    restorer: Doubler

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        self.restorer.batches.append(len(self.pictures))
        yield [doubled(picture.image) for picture in self.pictures]


def doubled(image: np.ndarray) -> np.ndarray:
    return image.repeat(2, axis=0).repeat(2, axis=1)


def moving(count: int = 12, height: int = 12, width: int = 16) -> list[np.ndarray]:
    """A photograph that moves, (H, W, 3) each."""
    whole = photo('coffee', height, width + count)
    return [np.ascontiguousarray(whole[:, i:i + width]) for i in range(count)]


def cartoon(count: int = 6) -> list[np.ndarray]:
    """A few colours, of which a part moves; two frames are the same."""
    frames = [np.full((12, 16, 3), (200, 30, 90), np.uint8) for _ in range(count)]
    for i, frame in enumerate(frames):
        frame[3:6, 2 * (i - (i == 2)):][:, :4] = 20, 150, 10 + (i != 2) * i
    frames[2] = frames[1].copy()
    return frames


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(float(np.square(a.astype(float) - b).mean()), 1e-9))


def found_in(path: Path) -> tuple[list[np.ndarray], list[int], int]:
    """Frames (H, W, 3 or 4), milliseconds and plays of a result, by decoders that share nothing with the package."""
    if path.suffix != '.png':
        return by_vips(path)
    times, plays = png_times(path)
    return by_ffmpeg(path), [round(1000 * over / under) for over, under in times], plays


@pytest.mark.parametrize('ending', ENDINGS)
def test_twelve_frames_with_unequal_times(ending: str, light_checkpoint: Path, tmp_path: Path) -> None:
    restorer = Restorer(light_checkpoint, device='cpu', speed='exact')
    source, target = save(tmp_path / f'in.{ending}', moving(), TIMES, plays=3), tmp_path / f'out.{ending}'
    clip = restore_animation(restorer, source, target)
    frames, times, plays = found_in(target)
    assert (len(frames), times, plays) == (12, TIMES, 3)
    assert clip.frames == 12 and clip.size == (12, 16) and clip.result_size == (24, 32) and clip.sound is None
    given = by_ffmpeg(source) if ending != 'webp' else by_vips(source)[0]
    for frame, before in zip(frames, given):
        alone = restorer(np.ascontiguousarray(before[..., :3]))
        if ending == 'png':
            np.testing.assert_array_equal(frame[..., :3], alone)
        else:  # what the format loses of a still image
            write(tmp_path / f'still.{ending}', [alone], alone.shape, 'uint8', Meta())
            still = np.asarray(Image.open(tmp_path / f'still.{ending}').convert('RGB'))
            assert psnr(frame[..., :3], alone) > psnr(still, alone) - 0.5


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('given', ENDINGS)
@pytest.mark.parametrize('plays', [0, 1, 5])
def test_every_format_into_every_other(given: str, ending: str, plays: int, tmp_path: Path) -> None:
    times = [40, 0, 250, 30, 70, 65000]
    frames = [frame if given == 'gif' else frame + np.uint8(i) for i, frame in enumerate(moving(6))]
    source = save(tmp_path / f'in.{given}', frames, times, plays)
    restore_animation(Doubler(), source, tmp_path / f'out.{ending}')
    found, found_times, found_plays = found_in(tmp_path / f'out.{ending}')
    assert (len(found), found_times, found_plays) == (6, times, plays)
    expected = by_vips(source)[0] if given != 'png' else by_ffmpeg(source)
    for frame, before in zip(found, expected):
        if ending == 'png':
            np.testing.assert_array_equal(frame[..., :3], doubled(before[..., :3]))
        assert psnr(frame[..., :3], doubled(before[..., :3])) > 30


@pytest.mark.parametrize('ending', ['gif', 'png'])
def test_few_colours_stay_and_equal_frames_stay_apart(ending: str, tmp_path: Path) -> None:
    frames, times = cartoon(), [50, 60, 70, 80, 90, 100]
    source = tmp_path / 'in.webp'
    source.write_bytes(webp_of(frames, times))
    clip = restore_animation(Doubler(), source, tmp_path / f'out.{ending}')
    found, found_times, _ = found_in(tmp_path / f'out.{ending}')
    assert found_times == times and not clip.notes
    for frame, before in zip(found, frames, strict=True):
        np.testing.assert_array_equal(frame[..., :3], doubled(before))


def webp_of(frames: Sequence[np.ndarray], times: Sequence[int]) -> bytes:
    """Without loss; PIL would join equal frames."""
    height, width = frames[0].shape[:2]
    data = b'VP8X' + np.array([10, 2], '<u4').tobytes() + three(width - 1) + three(height - 1)
    data += b'ANIM' + np.array([6, 0], '<u4').tobytes() + bytes(2)
    for frame, time in zip(frames, times):
        still = io.BytesIO()
        Image.fromarray(frame).save(still, 'WEBP', lossless=True)
        part = bytes(6) + three(width - 1) + three(height - 1) + three(time) + b'\2' + still.getvalue()[12:]
        data += b'ANMF' + np.array([len(part)], '<u4').tobytes() + part
    return b'RIFF' + np.array([len(data) + 4], '<u4').tobytes() + b'WEBP' + data


def three(number: int) -> bytes:
    return number.to_bytes(3, 'little')


@pytest.mark.parametrize('ending', ENDINGS)
def test_transparency_is_kept(ending: str, tmp_path: Path) -> None:
    frames = [np.dstack([frame, np.zeros((12, 16), np.uint8)]) for frame in cartoon()]
    for i, frame in enumerate(frames):
        frame[2:9, i:i + 7, 3] = 255
        frame[4, i + 1, 3] = 90 if ending != 'gif' else 255
    source = save(tmp_path / 'in.png', frames, [50] * 6)
    clip = restore_animation(Doubler(), source, tmp_path / f'out.{ending}')
    found, times, _ = found_in(tmp_path / f'out.{ending}')
    given = [frame for frame in by_ffmpeg(source)]
    assert len(found) == len(given) and sum(times) == 300 and not clip.notes
    for frame, before in zip(found, given):
        np.testing.assert_array_equal(frame[..., 3], doubled(before)[..., 3])
        seen = frame[..., 3] == 255
        assert psnr(frame[seen], doubled(before)[seen]) > (22 if ending == 'webp' else 100)

    if ending == 'gif':  # which has pixels that are opaque or not
        frames[0][..., 3] = 100
        clip = restore_animation(Doubler(), save(tmp_path / 'in.png', frames, [50] * 6), tmp_path / 'out.gif')
        assert clip.notes == (FEW_COLOURS,)


def test_grays_stay_gray(tmp_path: Path) -> None:
    frames = [frame[..., :1] for frame in moving(4)]
    restore_animation(Doubler(), save(tmp_path / 'in.gif', frames, [50] * 4), tmp_path / 'out.png')
    assert Image.open(tmp_path / 'out.png').mode == 'L'
    restore_animation(Doubler(), tmp_path / 'out.png', tmp_path / 'out.gif')
    for frame, before in zip(by_vips(tmp_path / 'out.gif')[0], frames, strict=True):
        np.testing.assert_array_equal(frame[..., :1], doubled(doubled(before)))


def test_times_that_a_format_lacks_are_rounded_without_drift(tmp_path: Path) -> None:
    source = tmp_path / 'in.webp'
    source.write_bytes(webp_of(moving(12), [33] * 12))
    clip = restore_animation(Doubler(), source, tmp_path / 'out.gif')
    times = by_vips(tmp_path / 'out.gif')[1]
    assert {*times} == {30, 40} and abs(sum(times) - 12 * 33) <= 5 and 'times of frames are rounded' in clip.notes[0]
    assert not restore_animation(Doubler(), source, tmp_path / 'out.png').notes

    source.write_bytes(webp_of(moving(2), [2**24 - 1, 20]))  # more than four hours
    assert restore_animation(Doubler(), source, tmp_path / 'out.webp').notes == ()
    assert by_vips(tmp_path / 'out.webp')[1] == [2**24 - 1, 20]
    restore_animation(Doubler(), source, tmp_path / 'out.gif')
    assert by_vips(tmp_path / 'out.gif')[1] == [655350, 20]
    restore_animation(Doubler(), source, tmp_path / 'out.png')
    (over, under), _ = png_times(tmp_path / 'out.png')[0]
    assert abs(Fraction(over, under) - Fraction(2**24 - 1, 1000)) < 0.2


@pytest.mark.parametrize('ending', ['webp', 'png'])
def test_profile_and_metadata_are_kept(ending: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, 'a title'
    options = dict(icc_profile=PROFILE, exif=exif.tobytes())
    if ending == 'webp':
        options['xmp'] = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    source = save(tmp_path / f'in.{ending}', moving(3), [50] * 3, **options)
    assert restore_animation(Doubler(), source, tmp_path / f'out.{ending}').notes == ()
    with Image.open(tmp_path / f'out.{ending}') as result:
        assert result.size == (24, 32) and result.info['icc_profile'] == PROFILE  # upright
        assert result.getexif()[0x010E] == 'a title' and 0x0112 not in result.getexif()
        assert result.info.get('xmp') == options.get('xmp')
    notes = restore_animation(Doubler(), source, tmp_path / 'out.gif').notes
    assert [note.split(' of ')[0] for note in notes[:2]] == ['its colour profile', 'its EXIF data']


def test_one_frame_is_an_image(tmp_path: Path, restore: Callable[..., int]) -> None:
    for ending in ENDINGS:
        source = save(tmp_path / f'one.{ending}', moving(1), [500])
        assert restore(source, tmp_path / f'{ending}.gif') == 0
        with Image.open(tmp_path / f'{ending}.gif') as image:
            assert image.n_frames == 1 and image.size == (32, 24)


@pytest.mark.parametrize('ending', ENDINGS)
def test_a_broken_frame_is_named_and_nothing_is_written(
    ending: str, tmp_path: Path, restore: Callable[..., int], capsys: Any
) -> None:  # fmt: skip
    whole = save(tmp_path / f'whole.{ending}', moving(), TIMES).read_bytes()
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / f'cut.{ending}').write_bytes(whole[:2 * len(whole) // 3])
    (tmp_path / 'in' / f'whole.{ending}').write_bytes(whole)
    assert restore(tmp_path / 'in', tmp_path / 'out') == 1
    said = capsys.readouterr().err
    assert f'cut.{ending}: ' in said and ('broken' in said or 'cut short' in said) and 'Traceback' not in said
    assert [path.stem for path in (tmp_path / 'out').iterdir() if path.suffix != '.json'] == ['whole']


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    peaks = []
    for count in (8, 80):
        rng = np.random.default_rng(0)
        frames = [rng.integers(0, 256, (100, 150, 3), np.uint8) for _ in range(count)]
        source = save(tmp_path / 'in.webp', frames, [50] * count, lossless=False, quality=1)
        for ending in ENDINGS:
            tracemalloc.start()
            restore_animation(Doubler(at_once=4), source, tmp_path / f'out.{ending}')
            peaks.append(tracemalloc.get_traced_memory()[1] - source.stat().st_size)
            tracemalloc.stop()
    frame = 200 * 300 * 3
    for few, many in zip(peaks[:3], peaks[3:]):
        assert many < few + 4 * frame


def test_frames_are_restored_in_batches_where_the_restorer_makes_them(tmp_path: Path) -> None:
    restorer, done = Doubler(at_once=5), list[int]()
    restore_animation(restorer, save(tmp_path / 'in.gif', moving(), TIMES), tmp_path / 'out.png', done=done.append)
    assert restorer.batches == done == [5, 5, 2]


def test_other_scales(tmp_path: Path) -> None:
    source = save(tmp_path / 'in.gif', moving(), TIMES)
    clip = restore_animation(Rescaler(Doubler(), 1.5), source, tmp_path / 'out.webp')
    assert clip.result_size == (18, 24) == by_vips(tmp_path / 'out.webp')[0][0].shape[:2]


def test_what_cannot_be_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / 'in.gif', moving(3), [50] * 3)
    with pytest.raises(RestoreError, match=r"ends in one of .gif, .webp, .png, .apng, not in '.jpg'"):
        restore_animation(Doubler(), source, tmp_path / 'out.jpg')
    Image.fromarray(moving(1)[0]).save(tmp_path / 'still.jpg')
    with pytest.raises(RestoreError, match='no GIF, PNG, WebP or AVIF'):
        restore_animation(Doubler(), tmp_path / 'still.jpg', tmp_path / 'out.png')
    with pytest.raises(RestoreError, match='3 frames, an animation, which `glean-plus restore` restores'):
        read(source)
    long = save(tmp_path / 'long.png', [np.zeros((1, 8200, 3), np.uint8), np.ones((1, 8200, 3), np.uint8)], [50] * 2)
    with pytest.raises(RestoreError, match='16383 pixels a side at most, the result 16400: take .png'):
        restore_animation(Doubler(), long, tmp_path / 'out.webp')
    begin = WebpWriter._begin

    def nearly_full(writer: WebpWriter, count: int, plays: int) -> None:
        begin(writer, count, plays)
        writer.size = 2**32 - 200

    monkeypatch.setattr(WebpWriter, '_begin', nearly_full)
    with pytest.raises(RestoreError, match='a WebP has 4 GiB at most'):
        restore_animation(Doubler(), source, tmp_path / 'out.webp')
    assert not [*tmp_path.glob('out*')]


def test_a_folder_of_animations_and_images(tmp_path: Path, restore: Callable[..., int], capsys: Any) -> None:
    (tmp_path / 'in').mkdir()
    for name in ('a.gif', 'b.webp', 'c.png'):
        save(tmp_path / 'in' / name, moving(3), [50, 60, 70])
    for name in ('d.gif', 'e.webp', 'f.png'):
        Image.fromarray(moving(1)[0]).save(tmp_path / 'in' / name)
    out, records = tmp_path / 'out', tmp_path / 'run.jsonl'
    assert restore(tmp_path / 'in', out, '--records', records) == 0
    names = sorted(path.name for path in out.iterdir() if path.suffix != '.json')
    assert names == ['a.webp', 'b.webp', 'c.png', 'd.png', 'e.png', 'f.png']
    for name in names[:3]:
        assert found_in(out / name)[1] == [50, 60, 70]
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    frames = {Path(line['input']).name: line['frames'] for line in lines if 'input' in line}
    assert frames == {'a.gif': 3, 'b.webp': 3, 'c.png': 3, 'd.gif': None, 'e.webp': None, 'f.png': None}
    assert restore(tmp_path / 'in', out) == 0
    assert '0 restored' in capsys.readouterr().err  # a second run finds all there

    for ending in ('png', 'gif'):
        out = tmp_path / ending
        assert restore(tmp_path / 'in', out, '--format', ending) == 0
        for name in 'abc':
            assert found_in(out / f'{name}.{ending}')[1] == [50, 60, 70]
        for name in 'def':
            with Image.open(out / f'{name}.{ending}') as image:
                assert not image.is_animated
    assert FEW_COLOURS in capsys.readouterr().err


def test_a_format_of_still_images_has_the_first_frame(tmp_path: Path, restore: Callable[..., int], capsys: Any) -> None:
    source = save(tmp_path / 'in.gif', moving(3), [50] * 3)
    for ending in ('jpg', 'tif', 'bmp'):
        assert restore(source, tmp_path / f'out.{ending}') == 0
        assert FIRST_FRAME in capsys.readouterr().err
        with Image.open(tmp_path / f'out.{ending}') as image:
            assert image.size == (32, 24) and getattr(image, 'n_frames', 1) == 1


def test_what_is_beside_the_result_is_of_the_first_frame(
    tmp_path: Path, restore: Callable[..., int], capsys: Any
) -> None:  # fmt: skip
    (tmp_path / 'in').mkdir()
    save(tmp_path / 'in' / 'a.gif', moving(3), [50] * 3)
    assert restore(tmp_path / 'in', tmp_path / 'out', '--compare', '--report') == 0
    assert 'of its first frame alone' in capsys.readouterr().err
    with Image.open(tmp_path / 'out' / 'compare' / 'a.png') as both:
        assert both.size == (64, 24)
    assert 'verdict' in json.loads((tmp_path / 'out' / 'report' / 'a.json').read_text())
    assert len(by_vips(tmp_path / 'out' / 'a.webp')[0]) == 3
    assert restore(tmp_path / 'in', tmp_path / 'out', '--compare', '--report') == 0
    assert '1 there already' in capsys.readouterr().err


def test_quality_is_that_of_webp(tmp_path: Path, restore: Callable[..., int]) -> None:
    source = save(tmp_path / 'in.gif', moving(3), [50] * 3)
    for quality in (5, 100):
        assert restore(source, tmp_path / f'{quality}.webp', '--quality', quality) == 0
    assert (tmp_path / '5.webp').stat().st_size < 0.7 * (tmp_path / '100.webp').stat().st_size


def test_avif_is_read(tmp_path: Path) -> None:
    frames = moving(3)
    try:
        save(tmp_path / 'in.avif', frames, [50, 60, 70], quality=100)
    except (KeyError, OSError):
        pytest.skip('this PIL writes no AVIF')
    restore_animation(Doubler(), tmp_path / 'in.avif', tmp_path / 'out.webp')
    found, times, plays = by_vips(tmp_path / 'out.webp')
    assert (len(found), times, plays) == (3, [50, 60, 70], 0)
