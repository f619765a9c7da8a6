"""The command ``glean-plus``, and what the scripts in ``tools/`` are.

Exit codes: 0 everything asked for is there; 1 some images failed, or the report, each is named; 2 the call is wrong,
or the model, its weights or the device cannot be had, or nothing can be written, and nothing was done; 130 interrupted,
the same command resumes. Those of the tools are their own.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from glean_plus.cli.commands import COMMANDS, GROUPS, run
from glean_plus.errors import GleanError
from glean_plus.utils.tables import aligned
from glean_plus.utils.terminal import OutputError, Parser, RawDescription, complain, lasting_streams
from glean_plus.utils.text import printable
from glean_plus.version import __version__

FAILED, WRONG, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, that of the process if None; returns the exit code. Help and wrong calls raise SystemExit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = arguments[0] if arguments else ''
    try:
        with lasting_streams():
            return _run(name, arguments)
    except OutputError as error:
        return _output_failed(error)
    except KeyboardInterrupt:
        return _interrupted(name)


def _run(name: str, arguments: list[str]) -> int:
    try:
        if name in COMMANDS:
            return run(name, arguments[1:], f'glean-plus {name}')
        _front().parse_args(arguments)
        _front().error('COMMAND comes first')
    except GleanError as error:
        complain(error)
    except OSError as error:
        if error.filename is None:
            raise
        complain(f'{os.fsdecode(error.filename)} cannot be read or written ({error.strerror}): choose another place.')
    except SystemExit as ended:
        if ended.code and name not in {*COMMANDS} - {'restore'}:
            from glean_plus.cli.restore import report_wrong_call

            report_wrong_call(arguments)
        raise
    return WRONG


def _interrupted(name: str) -> int:
    resumes = name in COMMANDS and COMMANDS[name].resumes
    complain('interrupted; the same command resumes.' if resumes else 'interrupted.')
    return INTERRUPTED


def _output_failed(error: OutputError) -> int:
    if str(error):
        complain(f'The standard output cannot be written to: {error}.')
    return FAILED


def tool(command: str) -> Callable[[Sequence[str] | None], int]:
    """The ``main`` of a script in ``tools/``: the command, with exit codes of its own, and its errors to be raised."""

    def script(arguments: Sequence[str] | None = None) -> int:
        own = COMMANDS[command]
        try:
            with lasting_streams():
                return run(command, list(sys.argv[1:] if arguments is None else arguments))
        except OutputError as error:
            return _output_failed(error)
        except KeyboardInterrupt:
            return _interrupted(command)
        except GleanError as error:
            if own.wrong == FAILED:
                sys.exit(f'{own.tool}: {error}')
            print(f'{own.tool}: {printable(error)}', file=sys.stderr)
            return own.wrong

    return script


def _front() -> Parser:
    """The parser of a command line that has no command."""
    groups = [f'{title}:\n' + '\n'.join(f'  {line}' for line in aligned([(n, c.about) for n, c in group.items()]))
              for title, group in GROUPS.items()]  # fmt: skip
    codes = ' '.join((__doc__ or '').partition('Exit codes: ')[2].split())
    parser = Parser(
        prog='glean-plus', usage='%(prog)s COMMAND ...', formatter_class=RawDescription,
        description='GLEAN and LightGLEAN: restore images with a GAN as a latent bank.\n\n' + '\n\n'.join(groups),
        epilog=textwrap.fill(f'glean-plus COMMAND --help lists the options of a command. Exit codes: {codes}', 100),
    )  # fmt: skip
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help=argparse.SUPPRESS)
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument('--print-completion', action=_Completion, choices=['bash', 'zsh', 'tcsh'],
                        help='print a script that completes commands and options in a shell')
    return parser


class _Completion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *others: Any) -> None:
        from glean_plus.cli.completion import completion

        print(completion(others[1]))
        parser.exit()
