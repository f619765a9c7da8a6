"""Sphinx: `make docs` builds docs/_build/html without the network, and takes warnings as errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ['COLUMNS'] = '100'  # of the commands' help

from glean_plus.cli.commands import GROUPS, parser_of  # noqa: E402
from glean_plus.version import __version__  # noqa: E402

project = 'glean_plus'
author = copyright = 'the glean_plus contributors'
version = release = __version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
exclude_patterns = ['_build']
myst_heading_anchors = 3
myst_enable_extensions = ['colon_fence']

autodoc_mock_imports = ['ray']  # which need not be installed
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_class_signature = 'separated'
napoleon_numpy_docstring = False

html_theme = 'furo'
html_title = f'glean_plus {version}'
html_show_sourcelink = False
html_copy_source = False


def command_reference(app: Any, name: str, source: list[str]) -> None:
    """Append the help of each command to reference/commands.md."""
    if name != 'reference/commands':
        return
    for title, group in GROUPS.items():
        source[0] += f'\n## {title.capitalize()}\n'
        for command, about in group.items():
            text = parser_of(command, f'glean-plus {command}').format_help()
            source[0] += f'\n### {command}\n\n{about.about.capitalize()}; as a script, `tools/{about.tool}.py`.\n'
            source[0] += f'\n```text\n{text}```\n'


def setup(app: Any) -> None:
    app.connect('source-read', command_reference)
