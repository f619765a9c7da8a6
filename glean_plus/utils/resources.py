"""Where the configs and tools of this project are: in the source tree, or installed."""

from __future__ import annotations

from pathlib import Path

import glean_plus


def data_folder(name: str) -> Path:
    """``configs`` or ``tools``: of the installed package, in ``.mim``, or of the source tree."""
    package = Path(glean_plus.__file__).parent
    installed = package / '.mim' / name
    return installed if installed.is_dir() else package.parent / name
