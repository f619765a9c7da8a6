"""Completion of the command in a shell."""

from __future__ import annotations

from pathlib import Path

from glean_plus.cli.commands import COMMANDS, load
from glean_plus.errors import MissingPackageError
from glean_plus.utils.terminal import Parser

# Arguments that are no paths by their type, but name a file or a folder.
FILES = ('IN', 'FILE', 'FOLDER', 'MODEL', 'config', 'configs', 'checkpoint', 'source', 'model')


def completion(shell: str) -> str:
    """A script for bash, zsh or tcsh.

    Raises:
        MissingPackageError: If the package that writes it is missing.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        text = 'Completion needs shtab, which is not installed: pip install "glean_plus[completion]"'
        raise MissingPackageError(text) from error
    parser = Parser(prog='glean-plus')
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.about)
        load(name).add_arguments(one)
        for action in one._actions:
            if action.type is Path or {action.metavar, action.dest} & {*FILES}:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))
