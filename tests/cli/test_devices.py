"""One command on several devices of a machine: here, twice the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glean_plus.cli.main import main

from small_restorers import photo


def test_two_processes_make_what_one_makes(light_checkpoint: Path, tmp_path: Path, capfd: Any) -> None:
    """A broken image among them; then one result is missing, and the names come in a list."""
    source, report, records = tmp_path / 'in', tmp_path / 'run.json', tmp_path / 'run.jsonl'
    source.mkdir()
    for i in range(12):
        Image.fromarray(photo('chelsea', 8, 8 + i % 2, i, i)).save(source / f'{i:02d}.png')
    (source / '05.png').write_bytes(b'no image')
    options = ['--model', str(light_checkpoint), '--speed', 'exact', '--batch', '1']
    two = [str(tmp_path / 'two'), *options, '--device', 'cpu,cpu']
    assert main(['restore', str(source), str(tmp_path / 'one'), *options, '--device', 'cpu']) == 1
    capfd.readouterr()
    assert main(['restore', str(source), *two, '--json', str(report), '--records', str(records)]) == 1
    said = capfd.readouterr().err
    assert '2 devices: 11 restored, 0 there already, 1 failed' in said and said.count('05.png: it is no image') == 1
    results = {path.name: path.read_bytes() for path in (tmp_path / 'one').glob('*.png')}
    assert len(results) == 11 and results == {path.name: path.read_bytes() for path in (tmp_path / 'two').glob('*.png')}
    content = json.loads(report.read_text())
    assert sorted(Path(each['input']).name for each in content['pictures']) == [f'{i:02d}.png' for i in range(12)]
    assert sorted(each['shard'] for each in content['about']) == ['1/2', '2/2']
    assert content['run'] == json.loads((tmp_path / 'two' / 'glean-plus.run.1-of-2.json').read_text())['run']
    assert len(records.read_text().splitlines()) == 13
    assert all(each['lr_psnr'] > 0 for each in content['pictures'] if each['state'] == 'restored')

    (tmp_path / 'two' / '03.png').unlink()
    (tmp_path / 'names').write_text('\n'.join(str(source / f'{i:02d}.png') for i in range(12) if i != 5))
    assert main(['restore', *two, '--list', str(tmp_path / 'names')]) == 0
    assert '2 devices: 1 restored, 10 there already, 0 failed' in capfd.readouterr().err


@pytest.mark.parametrize('device, words', [
    ('cpu,cuda:77', 'cannot be used'), ('cpu,abacus', 'no device'),
    pytest.param('all', 'There is no GPU here', marks=pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU')),
])  # fmt: skip
def test_devices_that_are_not_there(device: str, words: str, tmp_path: Path, capsys: Any) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / 'in.png')
    assert main(['restore', str(tmp_path), str(tmp_path / 'out'), '--device', device]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / 'out').exists()
