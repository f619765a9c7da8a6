"""The command ``glean-plus``: restores pictures, and is a front of the tools.

Exit codes: 0 everything asked for is there; 1 some pictures failed, or the report, each is named; 2 the call is wrong,
or the model, its weights or the device cannot be had, or nothing can be written, and nothing was done; 130 interrupted,
the same command goes on. Those of the tools are their own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import runpy
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.cli.face_options import add_face_arguments, given_options
from glean_plus.compat import TRAINING_PACKAGES, StackError, missing_training_stack
from glean_plus.utils.terminal import OutputError, Parser, lasting_streams, printable, program
from glean_plus.web.arguments import add_web_arguments
from glean_plus.weights.resources import DEFAULT_MODEL

if TYPE_CHECKING:
    from glean_plus.inference.base import PictureRestorer

# Command -> the tool that does it, and what that is.
TOOLS = {
    'convert': ('convert_bank', 'read a published generator in any known format and save it as safetensors'),
    'inspect': ('inspect_bank', 'what each part of a trained model does: pictures and a table'),
    'complexity': ('complexity', 'parameters and FLOPs of configs'),
    'benchmark': ('benchmark', 'time and memory beside MMagic'),
    'fetch': ('fetch_weights', 'list and fetch published weights'),
    'export': ('export', 'a trained model as ONNX, PyTorch program or TorchScript, for use without this package'),
    'invert': ('invert', 'restore by GAN inversion, for comparison'),
    'calibrate': ('calibrate', 'what the signs of failure are on pictures of a kind, and on others'),
    'fidelity': ('fidelity', 'what --fidelity does, measured'),
    'study': ('study', 'train and compare models over seeds'),
    'prepare': ('prepare_data', 'make a data set ready for the configs'),
    'samples': ('bank_samples', 'a grid of images from a bank'),
}
FAILED, WRONG, INTERRUPTED = 1, 2, 130
WEB_PACKAGES = ('gradio', 'uvicorn', 'fastapi', 'starlette')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, that of the process if None; returns the exit code. Help and wrong calls raise SystemExit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with lasting_streams():
            return _run(arguments)
    except OutputError as error:
        if str(error):
            _complain(f'The standard output cannot be written to: {error}.')
        return FAILED
    except KeyboardInterrupt:
        _complain('interrupted; the same command goes on.')
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in TOOLS:
        return _run_tool(arguments[0], arguments[1:])
    try:
        args = _parser().parse_args(arguments)
    except SystemExit as ended:
        if ended.code and (place := _report_place(arguments)):
            _write_report(dict(error='the command line is wrong', pictures=[]), place)
        raise
    if args.command == 'web':
        return _web(args)
    return _models() if args.command == 'models' else _restore(args, arguments)


def _run_tool(command: str, arguments: Sequence[str]) -> int:
    """A tool as its own process would run it, under the command's name; a sentence that it ends with is code 2."""
    from glean_plus.weights.resources import data_folder

    tool = data_folder('tools') / f'{TOOLS[command][0]}.py'
    before = sys.argv
    sys.argv = [f'glean-plus {command}', *arguments]
    try:
        with program(sys.argv[0]):
            runpy.run_path(str(tool), run_name='__main__')
    except SystemExit as ended:
        if not isinstance(ended.code, str):
            raise
        _complain(ended.code)
        return WRONG
    except ImportError as error:
        package = (error.name or '').partition('.')[0]
        if package in TRAINING_PACKAGES:
            _complain(f'{command}: {missing_training_stack(package)}')
        elif isinstance(error, StackError):
            _complain(f'{command}: {error}')
        else:
            raise
        return WRONG
    except OSError as error:
        if error.filename is None:
            raise
        _complain(f'{os.fsdecode(error.filename)} cannot be read or written ({error.strerror}): choose another place.')
        return WRONG
    finally:
        sys.argv = before
    return 0


def _complain(text: object) -> None:
    with contextlib.suppress(OSError, AttributeError):  # the standard error may be full, or closed
        print(f'glean-plus: {printable(text)}', file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    codes = (__doc__ or '').partition('Exit codes: ')[2]
    parser = Parser(
        prog='glean-plus', description='GLEAN and LightGLEAN: restore pictures with a GAN as a latent bank.',
        epilog=f'Exit codes: {" ".join(codes.split())}',
    )  # fmt: skip
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    restore = commands.add_parser(
        'restore', help='restore a picture, a video, a folder, or what a pattern matches',
        description='Restore a picture, a video, a folder of them, or what a pattern matches.',
        epilog='The same command after an interruption does what is missing. OUT/glean-plus.run.json, or OUT.run.json '
               'of a single picture, says what the results were made with.',
    )  # fmt: skip
    _add_restore_arguments(restore)
    commands.add_parser('models', help='list the models that have a name')
    web = commands.add_parser(
        'web', help='a web page that restores pictures',
        description='A web page: upload a picture, restore it, compare before and after, download.',
    )  # fmt: skip
    add_web_arguments(web)
    for name, (_, what) in TOOLS.items():
        commands.add_parser(name, help=what, add_help=False)
    return parser


def _add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('input', metavar='IN', help='picture, video, folder, or pattern in quotes')
    parser.add_argument('output', metavar='OUT', type=Path, help='picture, video, or folder')
    parser.add_argument('--model', default=DEFAULT_MODEL,
                        help='name (see `models`), checkpoint, or, with --checkpoint, config (default: %(default)s)')
    parser.add_argument('--checkpoint', help='weights of a config')
    parser.add_argument('--mode', choices=['direct', 'tiles', 'fit'],
                        help="other sizes than the model's: in one go, in blended tiles, or brought to its size "
                             '(default: the best that the model can)')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N, mps or auto (default: %(default)s)')
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32', help='(default: %(default)s)')
    parser.add_argument('--speed', choices=['exact', 'folded', 'compiled'], default='exact',
                        help='folded, or folded with a kernel that is built for this machine (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=8, metavar='N',
                        help='tiles, or pictures of one size, at a time (default: %(default)s)')
    parser.add_argument('--max-memory', default='4G', metavar='SIZE',
                        help='beside the picture and the model, as 500M; more is done in parts (default: %(default)s)')
    parser.add_argument('--seed', type=int, help="of noise maps in place of the model's own")
    parser.add_argument('--label', type=int, metavar='CLASS', help='class of the pictures, for a model that wants one')
    parser.add_argument('--consistent', type=int, nargs='?', const=5, default=0, metavar='STEPS',
                        help='bring the result back to what shrinks to its input by bicubic (default: 5 steps)')
    parser.add_argument('--fidelity', type=float, metavar='0..1',
                        help="from 0, more of the bank, through 0.5, the model's own, to 1, what shrinks to its input")
    parser.add_argument('--format', choices=['png', 'jpg', 'webp', 'tif', 'bmp'],
                        help='of results in a folder (default: png, which keeps 16 bits and transparency)')
    parser.add_argument('--crf', type=int, metavar='N',
                        help='quality of videos, 0 to 51, lower is better (default: 17)')
    parser.add_argument('--compare', action='store_true', help='write input and result side by side, too')
    parser.add_argument('--report', action='store_true',
                        help='write signs of failure with each result, and a heat map of the spread over noise draws')
    add_face_arguments(parser)
    parser.add_argument('--overwrite', action='store_true', help='restore everything anew')
    parser.add_argument('--json', type=report_file, metavar='FILE', help='write a report; - for the standard output')


def report_file(text: str) -> str:
    """FILE of ``--json``, which is overwritten; such as an image or the manifest of a run is refused."""
    from glean_plus.inference.jobs import MORE_ENDINGS
    from glean_plus.inference.video import ENDINGS
    from glean_plus.inference.write import FORMATS

    if text.lower().endswith((*FORMATS, *MORE_ENDINGS, *ENDINGS, '.run.json')):
        raise argparse.ArgumentTypeError(f'the report would overwrite {text!r}: name it NAME.json')
    return text


def _report_place(arguments: Sequence[str]) -> str | None:
    """FILE of ``--json FILE`` in a wrong command line; None where there is none that can be used."""
    parser = Parser(add_help=False)
    parser.add_argument('--json', type=report_file)
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        place: str | None = parser.parse_known_args(arguments)[0].json
        return place
    return None


def _write_report(content: dict[str, Any], place: str) -> bool:
    """Write a report to a file, or, of ``-``, to the standard output; say whether that could be done."""
    text = json.dumps(content, indent=2)
    if place == '-':
        print(text, flush=True)
        return True
    from glean_plus.prepare.images import save_text

    try:
        save_text(text + '\n', Path(place))
    except OSError as error:
        _complain(f'The report cannot be written to {place} ({error.strerror or error}).')
        return False
    return True


def _restore(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Restore, and write the report that is asked for, however that ends."""
    from glean_plus.inference.errors import RestoreError
    from glean_plus.weights import WeightsError

    if args.json not in (None, '-'):
        with contextlib.suppress(OSError, ValueError):  # which is said when it is written
            Path(args.json).unlink()  # of another run: this one may be killed
    code, content = FAILED, dict[str, Any](error='', pictures=[])
    try:
        code, content = _restore_files(args, arguments)
    except (RestoreError, WeightsError) as error:
        _complain(error)
        code, content['error'] = WRONG, str(error)
    except BaseException as error:
        content['error'] = 'interrupted' if isinstance(error, KeyboardInterrupt) else f'{type(error).__name__}: {error}'
        raise
    finally:
        if args.json and not _write_report(content, args.json):
            code = code or FAILED
    return code


def _restore_files(args: argparse.Namespace, arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and report."""
    from glean_plus.inference.jobs import find_jobs

    start = time.perf_counter()
    jobs = find_jobs(args.input, args.output, args.format and f'.{args.format}')
    face_options = given_options(args)
    from glean_plus.inference.folder import report, restore_files
    from glean_plus.inference.ood import Assessor  # these take seconds

    restorer = _restorer(args, face_options)
    began = time.perf_counter()
    records, content = restore_files(
        restorer, jobs, compare=args.compare, assessor=Assessor(restorer) if args.report else None,
        overwrite=args.overwrite, crf=args.crf, command=arguments, say=_complain,
    )  # fmt: skip
    counts = {state: sum(record.state == state for record in records) for state in ('restored', 'there', 'failed')}
    speed = counts['restored'] / max(time.perf_counter() - began, 1e-9)
    faces = f', {sum(len(record.faces or []) for record in records)} faces' if args.faces else ''
    print(f'{printable(args.output)}: {counts["restored"]} restored ({speed:.3g} pictures/s), {counts["there"]} there '
          f'already, {counts["failed"]} failed{faces}', file=sys.stderr)  # fmt: skip
    return FAILED if counts['failed'] else 0, report(records, content, time.perf_counter() - start)


def _restorer(args: argparse.Namespace, face_options: dict[str, Any]) -> PictureRestorer:
    from glean_plus.inference.restorer import Restorer

    same = dict(device=args.device, precision=args.precision, speed=args.speed, batch=args.batch,
                max_memory=args.max_memory)  # fmt: skip
    restorer = Restorer(
        args.model, args.checkpoint, mode=None if args.faces else args.mode, seed=args.seed, label=args.label,
        consistent=args.consistent, fidelity=args.fidelity, **same,
    )  # fmt: skip
    if not args.faces:
        return restorer
    from glean_plus.inference.faces import FaceRestorer

    if args.background:
        face_options['background'] = Restorer(args.background, mode=args.mode, **same)
    return FaceRestorer(restorer, **face_options)


def _web(args: argparse.Namespace) -> int:
    from glean_plus.inference.errors import RestoreError
    from glean_plus.weights import WeightsError

    try:
        from glean_plus.web.server import serve
    except ModuleNotFoundError as error:
        if error.name not in WEB_PACKAGES:
            raise
        _complain(f'The page needs {error.name}, which is not installed: pip install "glean_plus[web]"')
        return WRONG
    from glean_plus.web.settings import Settings

    try:
        serve(Settings.from_arguments(args), say=_complain)
    except (RestoreError, WeightsError) as error:
        _complain(error)
        return WRONG
    return 0


def _models() -> int:
    from glean_plus.inference.source import available
    from glean_plus.weights.fetch import cached_path

    rows = [('name', 'weights', 'data', 'licence')]
    for name, card in available().items():
        state = 'shipped' if card.url is None else 'cached' if cached_path(card).is_file() else 'a download'
        data, licence = (textwrap.shorten(text, 44, placeholder=' ...') for text in (card.data, card.licence))
        rows.append((name, state, data, licence))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print('  '.join(map(str.ljust, row, widths)).rstrip())
    print('Configs of your own: --model CONFIG.py --checkpoint FILE; a checkpoint of training: --model FILE.pth')
    return 0
