"""Where the configs and tools of this project are: in the source tree, or installed."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import glean_plus


def data_folder(name: str) -> Path:
    """``configs`` or ``tools``: of the installed package, in ``.mim``, or of the source tree."""
    package = Path(glean_plus.__file__).parent
    installed = package / '.mim' / name
    return installed if installed.is_dir() else package.parent / name


def own_config(name: str) -> Path:
    """Where a config of ours is, or would be, by its name with or without its ending."""
    return data_folder('configs') / (name if name.endswith('.py') else f'{name}.py')


def config_file(given: str | os.PathLike[str]) -> Path:
    """A path, or the name of one of our configs, with or without its ending.

    Raises:
        FileNotFoundError: If there is none.
    """
    name = os.fspath(given)
    for path in (Path(name).expanduser(), own_config(name)):
        if path.is_file():
            return path
    known = [path.stem for path in data_folder('configs').glob('*.py')]
    close = difflib.get_close_matches(Path(name).stem, known) or ['a name that `glean-plus models` lists']
    raise FileNotFoundError(
        f'There is no config {name!r}, neither as a path nor among ours; try {" or ".join(close)}.'
    )
