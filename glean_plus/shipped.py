"""Where the configs and tools of this project are: in the source tree, or installed."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import glean_plus

if TYPE_CHECKING:
    from mmengine.config import Config


def data_folder(name: str) -> Path:
    """``configs`` or ``tools``: of the installed package, in ``.mim``, or of the source tree."""
    package = Path(glean_plus.__file__).parent
    installed = package / '.mim' / name
    return installed if installed.is_dir() else package.parent / name


def own_config(name: str) -> Path:
    """Where a config of ours is, or would be, by its name with or without its ending."""
    return data_folder('configs') / (name if name.endswith('.py') else f'{name}.py')


class ConfigError(ValueError):
    """A config that cannot be read."""


def config_of(path: Path) -> Config:
    """What a config file says.

    Raises:
        ConfigError: If it cannot be run; any error of it is one.
    """
    from mmengine.config import Config

    try:
        return Config.fromfile(path)
    except Exception as error:  # a config is Python, which raises anything
        text = ' '.join(str(error).split()) or 'no reason given'
        raise ConfigError(f'The config {path} cannot be read: {type(error).__name__}: {text}. Correct it.') from error


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
