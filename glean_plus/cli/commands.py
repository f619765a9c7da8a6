"""The commands of ``glean-plus``, in groups. Each has a module here: its docstring, `add_arguments` and `run`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from glean_plus.errors import MissingPackageError
from glean_plus.utils.terminal import Parser, RawDescription


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        about: What it does, in a few words.
        tool: Name of the script in ``tools/`` that is the same command.
        wrong: Exit code of that script where a call is wrong.
        resumes: The same command after an interruption does what is missing.
    """

    about: str
    tool: str
    wrong: int = 1
    resumes: bool = False


GROUPS: dict[str, dict[str, Command]] = {
    'use a model': {
        'restore': Command('restore an image, a video, a folder, or what a pattern matches', 'restore', 2, resumes=True),
        'merge': Command('join the reports of the shards of a run', 'merge_reports', 2),
        'web': Command('a web page that restores images', 'web', 2),
        'models': Command('list the models that have a name', 'models', 2),
        'fetch': Command('list and fetch published weights', 'fetch_weights', resumes=True),
        'export': Command('write a model as ONNX, PyTorch program or TorchScript', 'export'),
    },
    'train a model': {
        'prepare': Command('make a data set ready for the configs', 'prepare_data', 2, resumes=True),
        'train': Command('train a model from a config', 'train'),
        'test': Command('test a checkpoint: metrics and predictions', 'test'),
        'study': Command('train and compare models over seeds', 'study', 2, resumes=True),
        'replay': Command('repeat the training step that NaN or Inf ended', 'replay'),
    },
    'look into a model': {
        'samples': Command('a grid of images of a bank', 'bank_samples'),
        'inspect': Command('what each part of a model does: images and a table', 'inspect_bank'),
        'complexity': Command('parameters and FLOPs of configs', 'complexity'),
        'benchmark': Command('time and memory beside MMagic', 'benchmark'),
        'peers': Command('quality, time and size beside trained networks of others', 'compare_peers'),
        'ocr': Command('how well restored text can be read, beside others', 'benchmark_ocr'),
        'invert': Command('restore by GAN inversion, for comparison', 'invert'),
        'fidelity': Command('measure what --fidelity does', 'fidelity'),
        'calibrate': Command('find the thresholds of the out-of-distribution scores', 'calibrate'),
    },
    'weights and data': {
        'convert': Command('convert a published generator to safetensors', 'convert_bank'),
        'publish': Command('turn a checkpoint of training into fp16 safetensors with a card, or a folder for the hub', 'export_weights'),
        'twemoji': Command('make the small data set of the examples', 'prepare_twemoji', resumes=True),
        'photos': Command('collect the photographs of the shipped models', 'prepare_photos'),
        'text': Command('render a data set of text, and pages to read', 'prepare_text', 2, resumes=True),
    },
}
COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}


class UsageError(Exception):
    """Options that contradict each other, which only ``run`` sees; reported as argparse reports a wrong one."""


def load(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f'glean_plus.cli.{name}')


def parser_of(name: str, prog: str | None = None) -> Parser:
    """The parser of a command alone."""
    module = load(name)
    parser = Parser(prog=prog, description=module.__doc__, formatter_class=RawDescription)
    module.add_arguments(parser)
    return parser


def run(name: str, arguments: list[str], prog: str | None = None) -> int:
    """Parse a command's arguments and carry it out; returns the exit code.

    Raises:
        GleanError: If the input or a setting is wrong, or a package is missing.
        SystemExit: After help, and on a wrong call.
    """
    parser = parser_of(name, prog)
    args = parser.parse_args(arguments)
    args.command_line = [name, *arguments]
    try:
        return load(name).run(args) or 0
    except UsageError as error:
        parser.error(str(error))
    except ImportError as error:
        from glean_plus.compat import TRAINING_PACKAGES, StackError, check_training_stack, missing_training_stack

        package = (error.name or '').partition('.')[0]
        if not isinstance(error, StackError) and package not in TRAINING_PACKAGES:
            raise
        try:
            check_training_stack()
        except StackError as wrong:
            raise MissingPackageError(str(wrong)) from error
        raise MissingPackageError(missing_training_stack(package)) from error
