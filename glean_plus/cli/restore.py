"""Restore an image, an animation, a video, a folder of them, or what a pattern matches.

The same command after an interruption does what is missing. OUT/glean-plus.run.json, or OUT.run.json of a single image,
says what the results were made with.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.cli.commands import UsageError
from glean_plus.cli.faces import add_face_arguments, given_options
from glean_plus.cli.options import add_computation
from glean_plus.cli.workers import devices_of, restore_on
from glean_plus.errors import GleanError
from glean_plus.utils.choices import DEFAULT_MODEL
from glean_plus.utils.terminal import Parser, complain
from glean_plus.utils.text import printable

if TYPE_CHECKING:
    from glean_plus.inference.base import PictureRestorer
    from glean_plus.inference.jobs import Jobs
    from glean_plus.inference.reports import Records
    from glean_plus.inference.shards import Shard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scored=True)  # results have scores, where records have room for them
    parser.add_argument('input', metavar='IN', nargs='?',
                        help='image, video, folder, pattern in quotes, or - for a list of files on the standard input')
    parser.add_argument('output', metavar='OUT', type=_place, help='image, video, or folder')
    parser.add_argument('--list', metavar='FILE', help='instead of IN: the files that it names, one a line')
    parser.add_argument('--model', default=DEFAULT_MODEL,
                        help='name (see `models`), checkpoint, or, with --checkpoint, config (default: %(default)s)')
    parser.add_argument('--checkpoint', help='weights of a config')
    parser.add_argument('--mode', choices=['direct', 'tiles', 'fit'],
                        help="other sizes than the model's: in one go, in blended tiles, or brought to its size "
                             '(default: the best that the model can)')
    add_computation(
        parser,
        'exact: as trained; the others give the same up to rounding in less time: folded; compiled, with a kernel that '
        'is built for this machine; openvino; auto, the fastest here',
        'or a list of them, as cuda:0,cuda:1, or all GPUs: all, with a process for each ',
    )
    parser.add_argument('--batch', type=int, default=8, metavar='N',
                        help='tiles, or on a GPU images of one size, at a time (default: %(default)s)')
    parser.add_argument('--max-memory', default='4G', metavar='SIZE',
                        help='beside the image and the model, as 500M; more is done in parts (default: %(default)s)')
    parser.add_argument('--seed', type=int, help="of noise maps in place of the model's own")
    parser.add_argument('--label', type=int, metavar='CLASS', help='class of the images, for a model that wants one')
    parser.add_argument('--consistent', type=int, nargs='?', const=5, default=0, metavar='STEPS',
                        help='bring the result back to what shrinks to its input by bicubic (default: 5 steps)')
    parser.add_argument('--fidelity', type=float, metavar='0..1',
                        help="from 0, more of the bank, through 0.5, the model's own, to 1, what shrinks to its input")
    parser.add_argument('--outscale', type=float, metavar='S',
                        help="how many times larger results are (default: the model's scale); its result is resized")
    parser.add_argument('--format', choices=['png', 'jpg', 'webp', 'tif', 'bmp', 'gif'],
                        help='of results in a folder (default: png, which keeps 16 bits and transparency, and webp of '
                             'animated GIF and WebP)')
    parser.add_argument('--quality', type=int, metavar='N', help='of JPEG and WebP, 1 to 100 (default: 95)')
    parser.add_argument('--crf', type=int, metavar='N',
                        help='quality of videos, 0 to 51, lower is better (default: 17)')
    parser.add_argument('--compare', action='store_true', help='write input and result side by side, too')
    parser.add_argument('--report', action='store_true',
                        help='write signs of failure with each result, and a heat map of the spread over samples of the noise')
    add_face_arguments(parser)
    parser.add_argument('--shard', nargs='?', const='auto', metavar='I/N',
                        help='restore the I-th of N shares of a folder, other processes the others; without a value, by the '
                             'place in a SLURM array, or by RANK and WORLD_SIZE')
    parser.add_argument('--engine', choices=['ray'],
                        help='restore a folder, or one of an object store, as s3://BUCKET/IN, on a cluster: ray, Ray Data')
    parser.add_argument('--address', metavar='HOST:PORT',
                        help='of the cluster (default: RAY_ADDRESS, else that of this machine, which is started if needed)')
    parser.add_argument('--overwrite', action='store_true', help='restore everything again')
    parser.add_argument('--json', type=_report_file, metavar='FILE', help='write a report; - for the standard output')
    parser.add_argument('--records', type=_records_file, metavar='FILE.jsonl',
                        help='append what happened to each file as a line of JSON, while it runs')


def run(args: argparse.Namespace) -> int:
    """Restore, and write the report that is asked for, however that ends."""
    if args.json not in (None, '-'):
        with contextlib.suppress(OSError, ValueError):  # which is said when it is written
            Path(args.json).unlink()  # of another run: this one may be killed
    code, content = 1, dict[str, Any](error='')
    with contextlib.ExitStack() as stack:
        records: Records | None = None
        try:
            if args.json or args.records:
                records = stack.enter_context(contextlib.closing(_records(args)))
            code, content = _restore_files(args, records)
        except GleanError as error:
            code, content['error'] = 2, str(error)
            complain(error)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            content['error'] = 'interrupted' if stopped else f'{type(error).__name__}: {error}'
            raise
        finally:
            if records is not None and args.records and not _ended(records, content):
                code = code or 1
            if args.json and not _write_report(content, args.json, records or ()):
                code = code or 1
    return code


def report_wrong_call(arguments: Sequence[str]) -> None:
    """Write the report of a command line that cannot be parsed, if it names a place for one."""
    if place := _report_place(arguments):
        _write_report(dict(error='the command line is wrong'), place)


def _records(args: argparse.Namespace) -> Records:
    from glean_plus.inference.reports import Records

    return Records(args.records and Path(args.records), None if args.json in (None, '-') else Path(args.json))


def _ended(records: Records, content: dict[str, Any]) -> bool:
    """Write the last line of the records; say if that cannot be done."""
    try:
        records.end(content)
    except GleanError as error:
        complain(error)
        return False
    return True


def _restore_files(args: argparse.Namespace, records: Records | None) -> tuple[int, dict[str, Any]]:
    """Exit code, and what is known of the whole run."""
    from glean_plus.cli.cluster import check_engine, restore_on_cluster
    from glean_plus.inference.shards import parse_shard

    start = time.perf_counter()
    if (args.input is None) == (args.list is None):
        raise UsageError('give IN and OUT, or OUT and --list FILE' + ('' if args.input is None else ', not both'))
    check_engine(args)
    if args.engine is not None:
        return restore_on_cluster(args, records)
    devices = devices_of(args.device)
    if len(devices) > 1:
        return restore_on(devices, args, records)
    jobs = jobs_of(args, None if args.shard is None else parse_shard(args.shard))
    face_options = given_options(args)
    from glean_plus.inference.folder import restore_files
    from glean_plus.inference.ood import assessor_of  # these take seconds
    from glean_plus.inference.rescale import check_outscale

    if args.outscale is not None:
        check_outscale(args.outscale)
    restorer = restorer_of(args, devices[0], face_options, scored=records is not None)
    assessor = assessor_of(restorer) if args.report else None
    began = time.perf_counter()
    counts, content = restore_files(
        restorer, jobs, compare=args.compare, assessor=assessor, overwrite=args.overwrite, crf=args.crf,
        quality=args.quality, command=args.command_line, say=complain, **({} if records is None else dict(record=records.add)),
    )  # fmt: skip
    say_counts(args, counts, time.perf_counter() - began)
    return 1 if counts['failed'] else 0, dict(content, seconds=time.perf_counter() - start)


def jobs_of(args: argparse.Namespace, shard: Shard | None = None) -> Jobs:
    """The files that are asked for."""
    from glean_plus.inference.jobs import find_jobs, read_list

    listing = '-' if args.input == '-' else args.list
    return find_jobs(args.input if listing is None else read_list(listing), args.output, ending_of(args), shard)


def ending_of(args: argparse.Namespace) -> str | None:
    return args.format and f'.{args.format}'


def say_counts(args: argparse.Namespace, counts: Counter[str], seconds: float) -> None:
    speed = counts['restored'] / max(seconds, 1e-9)
    faces = f', {counts["faces"]} faces' if args.faces else ''
    print(f'{printable(args.output)}: {counts["restored"]} restored ({speed:.3g} images/s), {counts["there"]} there '
          f'already, {counts["failed"]} failed{faces}', file=sys.stderr)  # fmt: skip


def restorer_of(
    args: argparse.Namespace, device: str, face_options: dict[str, Any], scored: bool
) -> PictureRestorer:  # fmt: skip
    """What restores; ``scored``: results have scores, if this process's are wanted."""
    from glean_plus.inference.rescale import Rescaler

    restorer = _restorer(args, device, face_options)
    restorer.scored = args.scored and scored
    return restorer if args.outscale in (None, restorer.scale) else Rescaler(restorer, args.outscale)


def _restorer(args: argparse.Namespace, device: str, face_options: dict[str, Any]) -> PictureRestorer:
    from glean_plus.inference.restorer import Restorer

    same = dict(device=device, precision=args.precision, speed=args.speed, batch=args.batch,
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


def _place(text: str) -> Path | str:
    """OUT, a path, or an address in an object store, which no path keeps as it is."""
    return text if '://' in text else Path(text)


def _records_file(text: str) -> str:
    """FILE of ``--records``, which is continued: nothing else may be."""
    if not text.lower().endswith('.jsonl'):
        raise argparse.ArgumentTypeError(f'records are JSON lines: name the file NAME.jsonl, not {text!r}')
    return text


def _report_file(text: str) -> str:
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
    parser.add_argument('--json', type=_report_file)
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        place: str | None = parser.parse_known_args(arguments)[0].json
        return place
    return None


def _write_report(content: dict[str, Any], place: str, records: Iterable[bytes] = ()) -> bool:
    """Write a report to a file, or, of ``-``, to the standard output; say whether that could be done."""
    from glean_plus.inference.reports import json_report, save_report

    if place == '-':
        for part in json_report(content, records):
            print(part.decode(), end='')
        sys.stdout.flush()
        return True
    try:
        save_report(content, records, Path(place))
    except OSError as error:
        complain(f'The report cannot be written to {place} ({error.strerror or error}).')
        return False
    return True
