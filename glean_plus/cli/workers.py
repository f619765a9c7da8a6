"""A restoration on several devices of one machine: a process for each, which restores a shard, and one report."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import copy
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.errors import GleanError
from glean_plus.utils.terminal import complain, lasting_streams

if TYPE_CHECKING:
    from glean_plus.inference.reports import Records

LOOK = 0.5  # seconds between looks at what has been restored


def devices_of(text: str) -> list[str]:
    """The devices of ``cuda:0,cuda:1``, or all GPUs of ``all``; a single one otherwise.

    Raises:
        DeviceError: If one cannot be used, or there are no GPUs.
    """
    if text != 'all' and ',' not in text:
        return [text]
    import torch

    from glean_plus.utils.devices import DeviceError, usable_device

    names = [f'cuda:{i}' for i in range(torch.cuda.device_count())] if text == 'all' else text.split(',')
    if not names:
        raise DeviceError('There is no GPU here, so --device all finds nothing: take cpu.')
    for name in names:
        if name != 'auto':
            usable_device(name)
    return names


def restore_on(devices: Sequence[str], args: argparse.Namespace, records: Records | None) -> tuple[int, dict[str, Any]]:
    """Exit code, and what is known of the whole run, as :mod:`glean_plus.cli.restore` has them of one process."""
    from tqdm import tqdm

    from glean_plus.inference.reports import count_states

    with tempfile.TemporaryDirectory(prefix='glean-plus.') as folder, tqdm(unit='image') as bar:
        parts = [Path(folder) / f'{i}.jsonl' for i in range(len(devices))]
        calls = _calls(devices, args, parts, Path(folder), scored=records is not None)
        context = multiprocessing.get_context('spawn')
        workers = [context.Process(target=_work, args=(call, len(devices)), daemon=True) for call in calls]
        for worker in workers:
            worker.start()
        followed = [_follow(part) for part in parts]
        states, ends = dict[str, int](), list[dict[str, Any]]()
        running = [worker.sentinel for worker in workers]
        while running:
            ended = wait(running, timeout=LOOK)
            running = [each for each in running if each not in ended]
            for lines in followed:
                for line in next(lines):
                    content = count_states(line, states)
                    if content is not None:
                        ends.append(content)
                        continue
                    bar.update()
                    if records is not None:
                        records.add_line(line)
        for worker in workers:
            worker.join()
    return _joined(devices, [worker.exitcode or 0 for worker in workers], ends, states)


def _calls(
    devices: Sequence[str], args: argparse.Namespace, parts: Sequence[Path], folder: Path, scored: bool
) -> Iterator[argparse.Namespace]:
    """What each process is asked for."""
    from glean_plus.inference.jobs import read_list
    from glean_plus.inference.shards import Shard, parse_shard

    whole = Shard(1, 1) if args.shard is None else parse_shard(args.shard)
    listing = args.list
    if args.input == '-' or listing == '-':
        listing = str(folder / 'names')
        Path(listing).write_bytes(os.fsencode('\n'.join(read_list('-'))))
    for i, (device, part) in enumerate(zip(devices, parts)):
        call = copy(args)
        call.device, call.json, call.records, call.scored = device, None, str(part), scored
        call.shard = str(Shard((whole.index - 1) * len(devices) + i + 1, whole.count * len(devices)))
        call.input, call.list = (args.input, None) if listing is None else (None, listing)
        yield call


def _work(args: argparse.Namespace, count: int) -> None:
    """In a process of its own, which ends when the one that started it does."""
    os.environ['TQDM_DISABLE'] = '1'  # which tqdm reads when it is imported
    import torch

    from glean_plus.cli.restore import run

    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    if 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    code = 130
    with suppress(KeyboardInterrupt), lasting_streams():
        code = run(args)
    sys.exit(code)


def _follow(path: Path) -> Iterator[list[bytes]]:
    """The whole lines that have come to a file since the last look."""
    rest = b''
    while not path.exists():
        yield []
    with open(path, 'rb') as file:
        while True:
            *lines, rest = (rest + file.read()).split(b'\n')
            yield [line + b'\n' for line in lines]


def _joined(
    devices: Sequence[str], codes: Sequence[int], ends: Sequence[dict[str, Any]], states: dict[str, int]
) -> tuple[int, dict[str, Any]]:
    whole = [end for end in ends if not end.get('error')]
    for device, code in zip(devices, codes):
        if code not in (0, 1, 2):
            complain(f'The process on {device} ended early (exit code {code}); the same command resumes.')
    if not whole or len(whole) < len(codes):
        errors = [end['error'] for end in ends if end.get('error')] or ['a process ended early']
        if all(code == 2 for code in codes):
            raise WorkersError(errors[0])
        return 1, dict(error=errors[0])
    counts = ', '.join(f'{states.get(state, 0)} {what}' for state, what in
                       (('restored', 'restored'), ('there', 'there already'), ('failed', 'failed')))
    print(f'{len(devices)} devices: {counts}', file=sys.stderr)
    return max(codes), dict(
        run=whole[0]['run'], about=[end['about'] for end in whole], seconds=max(end['seconds'] for end in whole)
    )


class WorkersError(GleanError):
    """No process could restore anything; each has said why."""
