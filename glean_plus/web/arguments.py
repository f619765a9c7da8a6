"""The options of ``glean-plus web``."""

from __future__ import annotations

import argparse


def add_web_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes and counts stay as they are typed: :class:`glean_plus.web.settings.Settings` reads and checks them."""
    parser.add_argument('--host', default='127.0.0.1',
                        help='address to listen at; any but a loopback one is open to others (default: %(default)s)')
    parser.add_argument('--port', type=int, default=7860, help='0 takes a free one (default: %(default)s)')
    parser.add_argument('--root-path', default='', metavar='PATH',
                        help='where a proxy shows the page: a path, as /restore, or better its whole address')
    parser.add_argument('--model', action='append', default=[], metavar='FILE',
                        help='a checkpoint to offer beside the models that are here; can be repeated')
    parser.add_argument('--device', default='auto', help='cpu, cuda, cuda:N, mps or auto (default: %(default)s)')
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32', help='(default: %(default)s)')
    parser.add_argument('--speed', choices=['exact', 'folded', 'compiled'], default='exact',
                        help='as of `restore` (default: %(default)s)')
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
