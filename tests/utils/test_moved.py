"""Former module paths."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from glean_plus.utils.moved import MOVED

# Paths and names as configs, checkpoints and scripts have used them.
FORMER = {
    'restore': 'Restorer',
    'restore.restorer': 'Restorer',
    'restore.errors': 'RestoreError',
    'restore.video.clip': 'Clip',
    'faces': 'FaceRestorer',
    'models': 'GLEANRestorer',
    'models.restorer': 'GLEANRestorer',
    'models.discriminator': 'StyleGAN2BankDiscriminator',
    'engine': 'WholeCheckpointHook',
    'engine.checkpoints': 'WholeCheckpointHook',
    'data': 'Settings',
    'data.readers.folder': 'read',
    'transforms': 'LoadPicture',
    'transforms.load': 'LoadPicture',
    'inversion': 'InversionError',
}


@pytest.mark.parametrize('path', sorted(MOVED))
def test_former_path_is_the_very_module(path: str) -> None:
    former, present = f'glean_plus.{path}', importlib.import_module(f'glean_plus.{MOVED[path]}')
    assert importlib.import_module(former) is present
    assert present.__name__ == present.__spec__.name == f'glean_plus.{MOVED[path]}'
    assert present.__spec__.loader.name == present.__name__


def test_former_names_in_a_new_process_with_one_note_each() -> None:
    lines = [
        'import warnings, glean_plus',
        'warnings.simplefilter("always")',
        'with warnings.catch_warnings(record=True) as notes:',
        *(f'    from glean_plus.{path} import {name}' for path, name in FORMER.items()),
        '    from glean_plus.restore.errors import RestoreError',
        'texts = [str(each.message) for each in notes if "is now glean_plus" in str(each.message)]',
        'assert len(texts) == len(set(texts)), texts',
        'assert any("restore.errors is now glean_plus.inference.errors" in text for text in texts), texts',
        'from glean_plus.models import GLEANRestorer as former',
        'from glean_plus.training.restorer import GLEANRestorer',
        'assert former is GLEANRestorer',
    ]
    result = subprocess.run([sys.executable, '-c', '\n'.join(lines)], capture_output=True, text=True)
    assert not result.returncode, result.stderr


def test_unknown_module_is_still_an_import_error() -> None:
    for path in ('glean_plus.nonsense', 'glean_plus.restore.nonsense', 'glean_plus.models.nonsense'):
        with pytest.raises(ModuleNotFoundError, match='nonsense'):
            importlib.import_module(path)
