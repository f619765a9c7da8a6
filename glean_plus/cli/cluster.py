"""A restoration on a cluster, by the engine that ``--engine`` names."""

from __future__ import annotations

import argparse
import os
import socket
import time
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glean_plus.cli.commands import UsageError
from glean_plus.cli.faces import given_options
from glean_plus.cli.restore import ending_of, jobs_of, restorer_of, say_counts
from glean_plus.inference.errors import RestoreError
from glean_plus.utils.terminal import complain

if TYPE_CHECKING:
    from glean_plus.inference.reports import Records

FILES = ('model', 'checkpoint', 'detector', 'background')  # options that may name one


def check_engine(args: argparse.Namespace) -> None:
    """Refuse what the engine cannot keep.

    Raises:
        UsageError: On options of an engine without one.
        RestoreError: On options, and places, that it does not take.
    """
    addresses = [place for place in (args.input, args.output) if place is not None and '://' in str(place)]
    if args.engine is None:
        if args.address is not None:
            raise UsageError('--address is of a cluster: give --engine ray, or leave it out')
        if addresses:
            raise RestoreError(f'{addresses[0]} is in an object store, which --engine ray reads and writes: give that.')
        return
    if args.shard is not None:
        raise RestoreError('Ray divides the files among its processes: leave --shard out.')
    if ',' in args.device or args.device == 'all' or args.device.startswith('cuda:'):
        raise RestoreError(f'Ray gives each process a GPU or CPU: take auto, cuda or cpu, not --device {args.device}.')
    if not addresses:
        return
    if len(addresses) < 2:
        raise RestoreError(f'{addresses[0]} is in an object store, and so must be both of IN and OUT, or neither.')
    given = dict(list=args.list, compare=args.compare, report=args.report, save_faces=args.save_faces, crf=args.crf)
    if names := [f'--{name.replace("_", "-")}' for name, value in given.items() if value]:
        raise RestoreError(f'In an object store there are images and results alone: leave {", ".join(names)} out.')


def restore_on_cluster(args: argparse.Namespace, records: Records | None) -> tuple[int, dict[str, Any]]:
    """Exit code, and what is known of the whole run, as :mod:`glean_plus.cli.restore` has them of one process."""
    start = time.perf_counter()
    begin, face_options = _beginning(args), given_options(args)
    _check_reachable(args.address or os.environ.get('RAY_ADDRESS', ''))
    from glean_plus.inference.batches import AT_HAND, Setup
    from glean_plus.inference.ray import connected, restore_files
    from glean_plus.inference.rescale import check_outscale

    if args.outscale is not None:
        check_outscale(args.outscale)
    call = copy(args)
    for name in FILES:  # the processes have other folders
        if (value := getattr(args, name)) is not None and os.path.exists(value):
            setattr(call, name, os.path.abspath(value))
    face_options |= {name: getattr(call, name) for name in FILES if name in face_options}
    make = partial(restorer_of, call, args.device, face_options, records is not None)
    setup = Setup(
        make, Path.cwd(), compare=args.compare, report=args.report, crf=args.crf, quality=args.quality,
        at_hand=max(AT_HAND, args.batch),
    )  # fmt: skip
    with connected(args.address, args.device) as num_gpus:
        began = time.perf_counter()
        record = (lambda each: None) if records is None else records.add
        counts, content = restore_files(setup, begin, num_gpus, complain, record)
    say_counts(args, counts, time.perf_counter() - began)
    return 1 if counts['failed'] else 0, dict(content, seconds=time.perf_counter() - start)


def _check_reachable(address: str) -> None:
    """Ray itself would try for a quarter of an hour.

    Raises:
        RestoreError: If nothing listens at HOST:PORT.
    """
    host, colon, port = address.rpartition(':')
    if not colon or '/' in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise RestoreError(f'No cluster can be reached at {address}: {error}.') from error


def _beginning(args: argparse.Namespace) -> Any:
    """What begins the run, once it is known what restores."""
    from glean_plus.inference.batches import begin_in_folder
    from glean_plus.inference.stores import Store, begin_in_store

    same = dict(overwrite=args.overwrite, quality=args.quality, command=args.command_line)
    if isinstance(args.output, Path):
        return partial(begin_in_folder, jobs=jobs_of(args), compare=args.compare, report=args.report, crf=args.crf, **same)
    source, out = (Store.at(str(place)) for place in (args.input, args.output))
    return partial(begin_in_store, source=source, out=out, ending=ending_of(args) or '.png', **same)
