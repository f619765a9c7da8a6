"""The examples in docstrings are run, and give what stands there."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

import pytest
import torch

from glean_plus import export, inference, metrics, models
from glean_plus.inference import faces

SHOWN = [
    inference.Restorer, faces.FaceRestorer, export.export, models.GLEAN,
    *(getattr(models, name) for name in models.__all__ if name.endswith('Bank') and name != 'LatentBank'),
    *(getattr(metrics, name) for name in metrics.__all__),
]  # fmt: skip


@pytest.mark.parametrize('thing', SHOWN, ids=lambda thing: thing.__name__)
def test_example(thing: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {**vars(sys.modules[thing.__module__]), 'torch': torch}
    (example,) = doctest.DocTestFinder(recurse=False).find(thing, thing.__name__, globs=names)
    assert example.examples, 'there is no example'
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert outcome.attempted == len(example.examples) and not outcome.failed
