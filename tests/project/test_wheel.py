"""The wheel: what is in it, once, and that it restores an image where nothing else of this project is."""

from __future__ import annotations

import email
import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

import glean_plus
from glean_plus import Restorer

from conftest import CONFIGS, ROOT
from small_restorers import photo

MODEL = 'lightglean_twemoji_4x'


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-W', 'ignore', 'setup.py', '-q', 'egg_info', '--egg-base', str(folder), 'build',
               '--build-base', str(folder / 'build'), 'bdist_wheel', '--dist-dir', str(folder)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob('*.whl')
    return path


def test_content(wheel: Path) -> None:
    """Modules, configs, tools and each weight file once; no documents, tests or caches. Small enough for an index."""
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        hashes = Counter(hashlib.sha256(archive.read(name)).hexdigest() for name in names if name.endswith('tensors'))
        (facts,) = (archive.read(name).decode() for name in names if name.endswith('/METADATA'))
    assert max(hashes.values()) == 1
    assert len(hashes) == len([*(CONFIGS / 'weights').glob('*.safetensors')])
    assert wheel.stat().st_size < 90e6
    tops = Counter(name.split('/')[0] for name in names)
    assert {*tops} == {'glean_plus', f'glean_plus-{glean_plus.__version__}.dist-info'}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'glean_plus').rglob('*.py')
               if '.mim' not in path.parts}  # fmt: skip
    mim = {f'glean_plus/.mim/{path.relative_to(ROOT).as_posix()}'
           for folder in ('configs', 'tools') for path in (ROOT / folder).rglob('*')
           if path.is_file() and '__pycache__' not in path.parts}  # fmt: skip
    data = {f'glean_plus/{name}' for name in (
        'py.typed', 'accel/kernel.cpp', 'web/page.html', 'web/page.css', 'web/page.js', 'web/icon.svg',
        '.mim/model-index.yml')}  # fmt: skip
    assert {name for name in names if name.startswith('glean_plus/')} == modules | mim | data
    metadata = email.message_from_string(facts)
    assert metadata['Description-Content-Type'] == 'text/markdown' and '# glean_plus' in metadata.get_payload()
    assert {'train', 'web', 'video', 'export', 'hub'} <= {*metadata.get_all('Provides-Extra')}
    required = [line for line in metadata.get_all('Requires-Dist') if 'extra' not in line]
    assert required and not any(line.startswith(('mmcv', 'mmagic')) for line in required)


def test_it_restores_an_image_on_its_own(wheel: Path, tmp_path: Path) -> None:
    """Unpacked alone, in a process that does not see this folder."""
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    image = photo('astronaut', 24, 24)
    Image.fromarray(image).save(tmp_path / 'in.png')
    program = (
        'import sys, glean_plus; print(glean_plus.__file__)\n'
        'from glean_plus.cli.main import main\n'
        f'sys.exit(main(["restore", "in.png", "out.png", "--model", "{MODEL}", "--speed", "exact"]))'
    )
    environment = os.environ | dict(PYTHONPATH=str(tmp_path / 'site'))
    command = [sys.executable, '-W', 'ignore', '-c', program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(str(tmp_path / 'site'))
    wanted = Restorer(MODEL, device='cpu', speed='exact')(image)
    assert (np.asarray(Image.open(tmp_path / 'out.png')) == wanted).all()
