"""The configs of this project, by their names or paths."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.errors import GleanError
from glean_plus.utils.resources import data_folder
from glean_plus.weights.errors import brief

if TYPE_CHECKING:
    from mmengine.config import Config

PREFIX = 'glean_plus::'  # before the name of a config of ours, as OpenMMLab's packages have it


def own_config(name: str) -> Path:
    """The path of a config of ours, which need not be there, by its name with or without its ending."""
    return data_folder('configs') / (name if name.endswith('.py') else f'{name}.py')


def own_config_file(name: str) -> Path:
    """A config of ours, by its name below ``configs``, with or without its ending.

    Raises:
        NoConfigError: If there is none.
    """
    if (path := own_config(name)).is_file():
        return path
    raise NoConfigError(f'There is no config {name!r} in glean_plus; try {_similar(name)}.')


class NoConfigError(GleanError, FileNotFoundError):
    """There is no config of a name."""


class ConfigError(GleanError, ValueError):
    """A config that cannot be read, or does not fit what is asked."""


def config_of(path: Path) -> Config:
    """The content of a config file.

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
    """A path, or the name of one of our configs, with or without its ending, and with or without ``glean_plus::``.

    Raises:
        NoConfigError: If there is none.
    """
    name = os.fspath(given)
    if name.startswith(PREFIX):
        return own_config_file(name[len(PREFIX):])
    for path in (Path(name).expanduser(), own_config(name)):
        if path.is_file():
            return path
    raise NoConfigError(
        f'There is no config {name!r}, neither as a path nor among ours; try {_similar(name)}.'
    )


def read_config(given: str | os.PathLike[str]) -> Config:
    """The config of a path, or of the name of one of ours.

    Raises:
        NoConfigError, ConfigError: If there is none, or it cannot be read.
    """
    return config_of(config_file(given))


def apply_overrides(config: Config, overrides: Mapping[str, Any] | None) -> None:
    """Put ``--cfg-options`` into a config.

    Raises:
        ConfigError: If one does not fit it.
    """
    try:
        config.merge_from_dict(dict(overrides or {}))
    except (TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        options = brief(' '.join(overrides or ()))
        raise ConfigError(f'--cfg-options {options} does not fit the config: {brief(error)}') from error


def _similar(name: str) -> str:
    known = [path.stem for path in data_folder('configs').glob('*.py')]
    return ' or '.join(difflib.get_close_matches(Path(name).stem, known) or ['a name that `glean-plus models` lists'])
