"""Videos against the `ffmpeg` command: container x timing x orientation x depth, all of them in `make soak`."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from video_matrix import ALL, CONTAINERS, TARGETS, TIMINGS, Case, Same, differences, increasing, look, make

from glean_plus.inference.video import restore_video

pytestmark = pytest.mark.skipif(
    not shutil.which('ffmpeg') or not shutil.which('ffprobe'), reason='the ffmpeg command is not installed'
)
POSSIBLE = [case for case in ALL if not case.cannot]


def problems(case: Case, targets: tuple[str, ...], folder: Path) -> list[str]:
    """What comes out otherwise than it went in."""
    source = make(case, folder)
    given = look(source)
    assert len(given.times) == len(TIMINGS[case.timing])
    found = []
    for target in targets:
        result = source.with_name(f'{source.name}.{target}')
        clip = restore_video(Same(), source, result, 4)
        named = any('time is not after' in note for note in clip.notes)
        kept = increasing(given.times) == given.times
        wrong = differences(given, look(result), case.depth, clip.sound)
        wrong += [] if named != kept else [f'notes {clip.notes} of times {given.times}']
        found += [f'{case} -> {target}: {each}' for each in wrong]
    return found


def test_the_sources_are_what_they_should_be(tmp_path: Path) -> None:
    """Frames have the times asked for, but for a constant; a turned one has its sides exchanged."""
    for timing, times in TIMINGS.items():
        seen = look(make(Case('mkv', timing, 'upright', 8), tmp_path))
        assert [round(10 * time) for time in seen.times] == list(times)
        assert seen.images.shape == (8, 64, 80, 3) and seen.samples == pytest.approx(2, abs=0.05)
    upright = seen.images
    assert abs(upright[:, :, ::-1] - upright).mean() > 15
    turned, mirrored = (
        look(make(Case('mp4', 'constant', each, 8), tmp_path)).images for each in ('turned', 'mirrored')
    )
    assert turned.shape == (8, 80, 64, 3) and abs(mirrored[:, :, ::-1] - upright).mean() < 3


@pytest.mark.parametrize(
    ('case', 'target'),
    # Each container once, then others, all by chance; where a case cannot be, the matrix in `make soak` says so.
    [
        (random.Random(container).choice([case for case in POSSIBLE if case.container == container]), TARGETS[i % 4])
        for i, container in enumerate(CONTAINERS)
    ]
    + [(case, random.Random(i).choice(TARGETS)) for i, case in enumerate(random.Random(3).sample(POSSIBLE, 4))],
    ids=lambda each: each if isinstance(each, str) else '-'.join(map(str, vars(each).values())),
)
def test_some(case: Case, target: str, tmp_path: Path) -> None:
    assert problems(case, (target,), tmp_path) == []


@pytest.mark.soak
def test_all(tmp_path: Path) -> None:
    """Every combination, to every container of results; what cannot be made is counted, with its reason."""
    found, tried = [], 0
    for case in POSSIBLE:
        tried += len(TARGETS)
        folder = tmp_path / '-'.join(map(str, vars(case).values()))
        folder.mkdir()
        try:
            found += problems(case, TARGETS, folder)
        except Exception as error:  # the others have their turn
            found.append(f'{case}: {type(error).__name__}: {error}')
        shutil.rmtree(folder)
    print(f'{tried} combinations of source and result tried, {len(found)} differ')
    for reason, count in Counter(case.cannot for case in ALL if case.cannot).items():
        print(f'{count} of {len(ALL)} sources do not exist: {reason}')
    print(*found, sep='\n')
    assert not found
