"""Export a trained model as a file that restores images without this package.

    glean-plus export lightglean_twemoji_4x emoji.onnx --dynamic
    glean-plus export work_dirs/x/iter_1000.pth model.pt2 --batch 1
    glean-plus export lightglean_twemoji_4x emoji.ts --size 64x96

The ending of OUT says the format: .onnx, .pt2 (torch.export) or .ts (TorchScript). The file takes `image`, (N, 3, H, W),
RGB, float32, 0 to 1, and gives `restored`, alike and larger; normalisation, the order of the channels and Lab are in
it. It is run on random and on smooth images and must give what the model gives, to 1e-4 of the range; otherwise
nothing is written.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from glean_plus.cli.options import add_model
from glean_plus.utils.choices import EXPORTS, OPSET, OPSETS


def size_of(text: str) -> tuple[int, int]:
    """``64`` or ``64x96``, height first."""
    match = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'a side or HEIGHTxWIDTH, as 64 or 64x96, not {text!r}')
    return int(match[1]), int(match[2] or match[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument('out', type=Path, metavar='OUT', help=f'file, {", ".join(EXPORTS)}')
    parser.add_argument('--dynamic', action='store_true',
                        help="any height and width that are multiples of what the file's metadata says (LightGLEAN)")
    parser.add_argument('--size', type=size_of, metavar='SIDE|HxW', help="of the input, in place of the model's own (LightGLEAN)")
    parser.add_argument('--batch', type=int, metavar='N', help='images at a time (default: any number)')
    parser.add_argument('--label', type=int, metavar='CLASS',
                        help='class of all images; without it, a class-conditional model takes it as an input')
    parser.add_argument('--opset', type=int, default=OPSET, metavar='N',
                        help=f'of ONNX, {OPSETS[0]} to {OPSETS[-1]} (default: %(default)s)')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT')
    parser.add_argument('--json', metavar='FILE', help='write a report; - for the standard output')


def run(args: argparse.Namespace) -> None:
    from glean_plus.export import ExportError, export
    from glean_plus.utils.files import save_json

    try:
        exported = export(
            args.model, args.out, args.checkpoint, dynamic=args.dynamic, size=args.size, batch=args.batch,
            label=args.label, opset=args.opset, overwrite=args.overwrite,
        )  # fmt: skip
    except OSError as error:
        raise ExportError(f'{args.out} cannot be written ({error.strerror or error}): choose another place.') from error
    print(exported.table(), file=sys.stderr if args.json == '-' else sys.stdout)
    if args.json == '-':
        print(json.dumps(exported.report(), indent=2))
    elif args.json:
        save_json(exported.report(), Path(args.json))
