"""A web page: upload an image, restore it, compare before and after, download."""

from __future__ import annotations

import argparse

from glean_plus.cli.options import add_computation
from glean_plus.errors import MissingPackageError
from glean_plus.utils.terminal import complain

PACKAGES = ('fastapi', 'starlette', 'pydantic', 'uvicorn', 'h11')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes and counts stay as they are typed: :class:`glean_plus.web.settings.Settings` reads and checks them."""
    parser.add_argument('--host', default='127.0.0.1',
                        help='address to listen at; any but a loopback one is open to others (default: %(default)s)')
    parser.add_argument('--port', type=int, default=7860, help='0 takes a free one (default: %(default)s)')
    parser.add_argument('--root-path', default='', metavar='PATH',
                        help='where a proxy shows the page: a path, as /restore, or better its whole address')
    parser.add_argument('--model', action='append', default=[], metavar='FILE',
                        help='a checkpoint to offer beside the models that are here; can be repeated')
    add_computation(parser, 'as of `restore`')
    parser.add_argument('--max-upload', default='20M', metavar='SIZE', help='of a file (default: %(default)s)')
    parser.add_argument('--max-pixels', default='2M', metavar='COUNT',
                        help='of an image before it is restored (default: %(default)s)')
    parser.add_argument('--max-memory', default='4G', metavar='SIZE',
                        help='of a restoration, beside the image and the model (default: %(default)s)')
    parser.add_argument('--max-store', default='2G', metavar='SIZE',
                        help='of all temporary files together (default: %(default)s)')
    parser.add_argument('--concurrency', type=int, default=1, metavar='N',
                        help='images that are restored at a time (default: %(default)s)')
    parser.add_argument('--queue', type=int, default=16, metavar='N',
                        help='jobs that wait, and uploads that are open, at most (default: %(default)s)')
    parser.add_argument('--keep', type=float, default=30, metavar='MINUTES',
                        help='that an image stays after its last use (default: %(default)s)')


def run(args: argparse.Namespace) -> None:
    """Serve the page until the process ends."""
    try:
        from glean_plus.web.server import serve
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        text = f'The page needs {error.name}, which is not installed: pip install "glean_plus[web]"'
        raise MissingPackageError(text) from error
    from glean_plus.web.settings import Settings

    serve(Settings.from_arguments(args), say=complain)
