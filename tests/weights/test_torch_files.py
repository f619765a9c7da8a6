"""PyTorch's files as data, by our reader and by PyTorch's."""

from __future__ import annotations

import importlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from glean_plus import compat
from glean_plus.weights.allowed import Log, Record
from glean_plus.weights.torch_files import load_plain


@pytest.fixture(params=['load_plain', 'weights_only'])
def load(request: pytest.FixtureRequest) -> Callable[[Path], Any]:
    """Reads a file as data: by our reader, and by PyTorch's own where it knows MMEngine's logs."""
    if request.param == 'load_plain':
        return load_plain
    if not compat.has_safe_globals():
        pytest.skip('this torch has no list of safe globals')
    return lambda path: torch.load(path, weights_only=True)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_checkpoint_of_training_loads_as_it_was(
    load: Callable[[Path], Any], zipped: bool, tmp_path: Path
) -> None:
    buffer = HistoryBuffer()
    for value in (1.0, 2.0, 4.0):
        buffer.update(np.float64(value))
    layer = torch.nn.Linear(3, 2).to(torch.float64)
    optimizer = torch.optim.Adam(layer.parameters(), amsgrad=True)
    layer(torch.ones(3, dtype=torch.float64)).sum().backward()
    optimizer.step()
    numbers = [torch.tensor([1, 2]).to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.int8, torch.bool)]
    saved = dict(
        state_dict=layer.state_dict(), optimizer=optimizer.state_dict(), log=buffer, numbers=numbers,
        views=[layer.weight.data.t(), layer.weight.data[:, 1:]], own=layer.weight, dtype=torch.float16,
        device=torch.device('cpu'), size=layer.weight.shape, array=np.arange(6, dtype=np.int32).reshape(2, 3),
    )  # fmt: skip
    torch.save(saved, tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
    got = load(tmp_path / 'a.pth')
    assert got['log'].mean() == pytest.approx(7 / 3) and got['log'].statistics('current') == 4
    got['log'].update(6.0)
    assert got['log'].max() == 6
    assert (got['array'] == saved['array']).all() and got['array'].dtype == np.int32
    assert [got[key] for key in ('dtype', 'device', 'size')] == [torch.float16, torch.device('cpu'), (2, 3)]
    for key in ('numbers', 'views', 'own', 'state_dict'):
        torch.testing.assert_close(got[key], saved[key].data if key == 'own' else saved[key], rtol=0, atol=0)
    again = torch.optim.Adam(layer.parameters(), amsgrad=True)
    again.load_state_dict(got['optimizer'])
    torch.testing.assert_close(again.state_dict(), optimizer.state_dict(), rtol=0, atol=0)


class GetAttr:
    """Asks for an attribute that no checkpoint may ask for."""

    def __init__(self, owner: object, name: str) -> None:
        self.owner, self.name = owner, name

    def __reduce__(self) -> tuple:
        return getattr, (self.owner, self.name)


@pytest.mark.parametrize(
    ('owner', 'name'), [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile'), (HistoryBuffer, 'update')]
)
def test_getattr_stays_refused(
    load: Callable[[Path], Any], owner: object, name: str, tmp_path: Path
) -> None:
    torch.save(GetAttr(owner, name), tmp_path / 'a.pth')
    with pytest.raises(Exception, match='which is refused|asks for'):
        load(tmp_path / 'a.pth')


def changed_class(module: str, name: str) -> bytes:
    """A pickle that sets attributes of a class: BUILD, with a state of two parts."""
    return pickle.dumps(0, 2)[:2] + f'c{module}\n{name}\n'.encode() + b'(N}U\x04meanU\x01xstb.'


@pytest.mark.parametrize(
    ('module', 'name'),
    [
        ('mmengine.logging.history_buffer', 'HistoryBuffer'), ('collections', 'OrderedDict'), ('torch', 'Size'),
        ('torch', 'device'), ('argparse', 'Namespace'), ('torch', 'float32'),
    ],
)  # fmt: skip
def test_no_class_is_changed_by_a_file(
    load: Callable[[Path], Any], module: str, name: str, tmp_path: Path
) -> None:
    known = getattr(importlib.import_module(module), name)
    before = getattr(known, 'mean', None)
    for inside in (Log, Record):
        assert 'mean' not in vars(inside)
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as archive:
        archive.writestr('a/data.pkl', changed_class(module, name))
        archive.writestr('a/version', '3\n')
    with pytest.raises(Exception, match=r'.'):
        load(tmp_path / 'a.pth')
    assert getattr(known, 'mean', None) is before
    for inside in (Log, Record):
        assert 'mean' not in vars(inside)
