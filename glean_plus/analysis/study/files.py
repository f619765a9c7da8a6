"""JSON files that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from glean_plus.prepare.images import save_text


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, so that who reads it, or is killed writing it, never leaves half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_text(text, path)


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=1) + '\n')


def read_json(path: Path) -> Any:
    """The content, None if there is no such file."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None
