"""docs/glean_plus.ipynb: stored without results, and run from the first cell to the last."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import nbformat
import pytest
from documents import DOCS
from nbclient import NotebookClient

import glean_plus

NOTEBOOK = DOCS / 'glean_plus.ipynb'


def test_it_is_small_and_has_no_outputs() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    assert NOTEBOOK.stat().st_size < 10_000
    assert all(cell.outputs == [] and cell.execution_count is None for cell in book.cells if cell.cell_type == 'code')


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel of its own; what it shows is what its text says."""
    (tmp_path / 'images').symlink_to(DOCS / 'images')
    monkeypatch.setenv('PYTHONPATH', str(Path(glean_plus.__file__).parents[1]), prepend=os.pathsep)
    book = nbformat.read(NOTEBOOK, as_version=4)
    place = dict(metadata=dict(path=str(tmp_path)))
    NotebookClient(book, timeout=None, kernel_name='python3', resources=place).execute()
    results = [[output for output in cell.outputs if output.output_type == 'execute_result']
               for cell in book.cells if cell.cell_type == 'code']  # fmt: skip
    pictures = [each[0].data for each in results if each and 'image/png' in each[0].data]
    quality, agreement, difference = (
        ast.literal_eval(each[0].data['text/plain'].replace('np.float64', '').replace('np.float32', ''))
        for each in results if each and 'image/png' not in each[0].data
    )  # fmt: skip
    assert len(pictures) == 2
    assert quality['restored'] > quality['bicubic'] + 0.5
    assert agreement['made consistent'] < agreement['restored']
    assert difference <= 0.51, 'the result is rounded to integers'
    assert (tmp_path / 'photo.onnx').is_file()
