"""What `--max-memory` bounds, and that what it cannot bound is refused before the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glean_plus.analysis.benchmark.worker import forget_peak, resident
from glean_plus.inference import RestoreError, Restorer, tiling
from glean_plus.inference.channels import Layers
from glean_plus.inference.memory import LivePeak, parse_bytes

from conftest import ROOT
from small_restorers import photo

pytestmark = pytest.mark.usefixtures('exact_speed')


def test_a_line_needs_no_more_rows_than_it_has(light_checkpoint: Path) -> None:
    """Its tiles are as high as the model's input, its result only as high as itself."""
    line = np.repeat(photo('coffee', 1, 60), 20, axis=1)
    whole, parts = (Restorer(light_checkpoint, device='cpu', mode='tiles', max_memory=size) for size in ('4G', '1M'))
    np.testing.assert_array_equal(whole(line), parts(line))
    layers = Layers(gray=False, alpha=False, white=255)
    with LivePeak() as live:
        for _ in tiling.strips(parts.network, [line], layers, 'tiles', parts.limits):
            pass
    assert live.peak <= parts.limits.memory


def test_rows_at_a_time_change_nothing(light_checkpoint: Path) -> None:
    image = photo('chelsea', 70, 200)
    for options in ({}, dict(consistent=2), dict(mode='fit')):
        many, few = (Restorer(light_checkpoint, device='cpu', mode=options.get('mode', 'tiles'), max_memory=memory,
                              consistent=options.get('consistent', 0)) for memory in ('4G', '1M'))  # fmt: skip
        assert few.limits.rows(400, 10**6) < 64
        np.testing.assert_allclose(many(image).astype(int), few(image).astype(int), atol=1)


def test_a_picture_that_is_too_wide_is_refused_before_the_work(light_checkpoint: Path) -> None:
    restorer = Restorer(light_checkpoint, device='cpu', max_memory='1M')
    with pytest.raises(RestoreError, match='3000 pixels wide needs 12 MB: raise the memory, now 1 MB'):
        restorer(np.zeros((20, 3000, 3), np.uint8))


def peak_of(width: int, height: int, memory: str) -> None:
    """Print the bytes that a restoration takes at most, beside a small one's."""
    from glean_plus.inference.restorer import Restorer

    restorer = Restorer('lightglean_twemoji_4x', device='cpu', max_memory=memory)
    rows = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(rows).save('in.png')
    restorer(np.zeros((16, 16, 3), np.uint8))
    from glean_plus.inference.folder import restore_files
    from glean_plus.inference.jobs import find_jobs

    forget_peak()
    before = resident('VmRSS')
    counts, _ = restore_files(restorer, find_jobs('in.png', Path('out.png')))
    assert counts['restored'] == 1
    print('peak', resident('VmHWM') - before)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != 'linux', reason='the peak is read from /proc')
@pytest.mark.parametrize('width, height, memory', [(60000, 1, '200M'), (1, 60000, '200M'), (6000, 200, '500M')])
def test_the_peak_is_within_what_was_allowed(width: int, height: int, memory: str, tmp_path: Path) -> None:
    # A process of its own: a forked one would take what the tests before have freed, and its peak hardly rise. The
    # system's ru_maxrss does not serve: a new program inherits the peak of the process that started it.
    code = f'from {__name__} import peak_of; peak_of({width}, {height}, {memory!r})'
    paths = os.pathsep.join([str(ROOT), *sys.path])
    output = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path, env=os.environ | dict(PYTHONPATH=paths),
        check=True, text=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    peak = int(next(line for line in output.splitlines() if line.startswith('peak')).split()[1])
    print(f'{width}x{height} at {memory}: {peak / 2**20:.0f} MB')
    assert 2**20 < peak <= parse_bytes(memory) + 6 * width * height  # the file, and the image in it
