"""Training that is killed, damaged or without disk space goes on to the very weights of one that is not."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint

from glean_plus.training import TrainingError, newest_whole
from glean_plus.weights import WeightsError, read_state_dict
from glean_plus.weights.integrity import damage
from glean_plus.weights.torch_files import load_plain

import killing
from conftest import forked, run_tool
from killing import differing_bytes, small_config, train, write_data


def killed(folder: Path, kills: int, processes: int) -> dict[str, Any]:
    arguments = [str(folder), str(kills), '--processes', str(processes)]
    output = forked(killing.main, arguments, cwd=folder)
    return json.loads(next(line for line in output.splitlines() if line.startswith('{"kills"')))


def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    figures = killed(tmp_path, kills=2, processes=1)
    assert figures['kills'] >= 2 and figures['bytes_lost'] == 0


@pytest.mark.soak
@pytest.mark.parametrize(('kills', 'processes'), [(100, 1), (40, 2)])
def test_many_kills(kills: int, processes: int, tmp_path: Path) -> None:
    figures = killed(tmp_path, kills, processes)
    print(f'\n{processes} processes: {figures}')
    assert figures['bytes_lost'] == 0 and figures['while_writing'] > kills // 5


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and, in ``once``, an uninterrupted training of four iterations."""
    folder = tmp_path_factory.mktemp('whole')
    train(small_config(write_data(folder / 'data'), folder / 'once', 4))
    return folder


DAMAGES = dict(
    truncated=lambda data: data[: len(data) * 2 // 3],
    empty=lambda data: b'',
    zeros=lambda data: bytes(len(data)),
    tail=lambda data: data[:-100] + bytes(100),
    flipped=lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
)


@pytest.mark.parametrize('name', DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(
    name: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (3, 4):
        (tmp_path / f'iter_{number}.pth').write_bytes((whole / 'once' / f'iter_{number}.pth').read_bytes())
    newest = tmp_path / 'iter_4.pth'
    (tmp_path / 'last_checkpoint').write_text(str(newest))
    assert newest_whole(tmp_path) == newest
    newest.write_bytes(DAMAGES[name](newest.read_bytes()))
    warnings: list[str] = []
    log = 'glean_plus.training.hooks.checkpoints.print_log'
    monkeypatch.setattr(log, lambda text, **options: warnings.append(text))
    assert newest_whole(tmp_path) == tmp_path / 'iter_3.pth'
    assert len(warnings) == 1 and 'iter_4.pth is damaged and passed over' in warnings[0]
    with pytest.raises(WeightsError, match=r'iter_4\.pth is damaged'):
        load_checkpoint(torch.nn.Linear(1, 1), str(newest))
    if name == 'flipped':  # of the others, the training that follows is the same
        train(small_config(whole / 'data', tmp_path, 4))
        assert differing_bytes(whole / 'once' / 'iter_4.pth', newest) == 0


def test_a_damaged_checkpoint_at_home_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({'a': torch.arange(64.0)}, tmp_path / 'a.pth')
    data = bytearray((tmp_path / 'a.pth').read_bytes())
    data[data.index(torch.arange(64.0).numpy().tobytes())] ^= 1
    (tmp_path / 'a.pth').write_bytes(data)
    monkeypatch.setenv('HOME', str(tmp_path))
    with pytest.raises(WeightsError, match=r'~/a\.pth is damaged: the checksum of'):
        CheckpointLoader.load_checkpoint('~/a.pth', map_location='cpu')
    with pytest.raises(FileNotFoundError, match=r'b\.pth can not be found'):
        CheckpointLoader.load_checkpoint('~/b.pth', map_location='cpu')


def test_a_record_that_is_said_to_be_a_folder_is_damage(tmp_path: Path) -> None:
    """One bit of the archive's directory; PyTorch would take what happens to be in memory for the tensor."""
    path = tmp_path / 'a.pth'
    torch.save({'a': torch.arange(64.0)}, path)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith('data/0'))
    data = bytearray(path.read_bytes())
    entry = data.rindex(name.encode()) - 46  # the directory's entry, up to the name
    assert data[entry : entry + 4] == b'PK\x01\x02'
    data[entry + 38] |= 0x10
    path.write_bytes(data)
    assert re.fullmatch(r'\S*data/0 is said to be a folder', damage(path) or '')
    with pytest.raises(WeightsError, match='data/0 is said to be a folder'):
        read_state_dict(path)


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(whole: Path, tmp_path: Path) -> None:
    """Headers and padding of the archive, which no checksum covers, included."""
    path, rng = tmp_path / 'a.pth', random.Random(0)
    state = {'a': torch.arange(64.0), 'b': torch.ones(3, dtype=torch.int64)}
    torch.save(state, path)
    data, found = path.read_bytes(), 0
    for place in rng.sample(range(len(data)), 400):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :])
        if damage(path):
            found += 1
            continue
        try:
            again = load_plain(path)
        except Exception:  # refused by PyTorch itself
            continue
        assert again.keys() == state.keys() and all(torch.equal(again[key], state[key]) for key in state), place
    assert found > 100


@pytest.mark.parametrize(('allowed', 'file'), [(4, r'iter_3\.pth'), (3, 'last_checkpoint')])
def test_a_full_disk_ends_the_training_and_leaves_what_there_was(
    allowed: int, file: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two checkpoints are written, and the note which is the newest after the first, or after both."""
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > allowed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full)
        with pytest.raises(TrainingError, match=rf'{file} of .* could not be written \(No space left on device\)'):
            train(small_config(whole / 'data', tmp_path, 4))
    assert sorted(path.name for path in tmp_path.glob('iter_*')) == ['iter_1.pth', 'iter_2.pth']
    train(small_config(whole / 'data', tmp_path, 4))
    assert differing_bytes(whole / 'once' / 'iter_4.pth', tmp_path / 'iter_4.pth') == 0


def test_a_new_checkpoint_is_whole_before_the_only_one_goes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, seen = os.replace, []

    def look(source: Any, target: Any) -> None:
        if str(target).endswith('.pth'):
            seen.append(sorted(path.name for path in tmp_path.glob('iter_*.pth')))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', look)
    train(small_config(whole / 'data', tmp_path, 3, **{'default_hooks.checkpoint.max_keep_ckpts': 1}))
    assert seen == [[], ['iter_1.pth'], ['iter_2.pth']]
    assert [path.name for path in tmp_path.glob('iter_*.pth')] == ['iter_3.pth']


def test_mmengine_s_own_hook_still_works_and_its_checkpoints_are_checked(whole: Path, tmp_path: Path) -> None:
    train(small_config(whole / 'data', tmp_path, 2, **{'default_hooks.checkpoint.type': 'CheckpointHook'}))
    assert newest_whole(tmp_path) == tmp_path / 'iter_2.pth'
    train(small_config(whole / 'data', tmp_path, 4, **{'default_hooks.checkpoint.type': 'CheckpointHook'}))
    assert differing_bytes(whole / 'once' / 'iter_4.pth', tmp_path / 'iter_4.pth') == 0


def test_the_tool_says_that_nothing_is_whole(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / 'iter_1.pth').write_bytes(b'PK')
    config = small_config(whole / 'data', tmp_path / 'work')
    config.dump(tmp_path / 'config.py')
    with pytest.raises(AssertionError, match='no checkpoint in .* that is whole'):
        run_tool('train', [str(tmp_path / 'config.py'), '--resume'], monkeypatch)
