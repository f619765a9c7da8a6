"""Export a trained model as a file that restores pictures without this package: `glean-plus export MODEL OUT`.

    glean-plus export lightglean_twemoji_4x emoji.onnx --dynamic
    glean-plus export work_dirs/x/iter_1000.pth model.pt2 --batch 1
    glean-plus export lightglean_twemoji_4x emoji.ts --size 64x96

The ending of OUT says the format: .onnx, .pt2 (torch.export) or .ts (TorchScript). The file takes `image`, (N, 3, H, W),
RGB, float32, 0 to 1, and gives `restored`, alike and larger; normalisation, the order of the channels and Lab are in
it. It is run on random and on smooth pictures and must give what the model gives, to 1e-4 of the range; otherwise
nothing is written.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from glean_plus.export import FORMATS, OPSET, OPSETS, Exported, ExportError, export
from glean_plus.inference import RestoreError
from glean_plus.prepare.images import save_text
from glean_plus.utils.terminal import Parser
from glean_plus.weights import WeightsError


def size_of(text: str) -> tuple[int, int]:
    """``64`` or ``64x96``, height first."""
    match = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'a side or HEIGHTxWIDTH, as 64 or 64x96, not {text!r}')
    return int(match[1]), int(match[2] or match[1])


def table(exported: Exported) -> str:
    lines = ['| picture | size | batch | difference, of the range |', '|---|---|---|---|']
    lines += [f'| {each.picture} | {each.height}x{each.width} | {each.batch} | {each.difference:.1e} |'
              for each in exported.measured]  # fmt: skip
    megabytes = exported.path.stat().st_size / 1e6
    return '\n'.join([*lines, f'{exported.path}: {megabytes:.1f} MB, the model to {exported.worst:.1e} of the range'])


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='name, checkpoint, or, with --checkpoint, config')
    parser.add_argument('out', type=Path, metavar='OUT', help=f'file, {", ".join(FORMATS)}')
    parser.add_argument('--checkpoint', help='weights of a config')
    parser.add_argument('--dynamic', action='store_true',
                        help="any height and width that are multiples of what the file's metadata says (LightGLEAN)")
    parser.add_argument('--size', type=size_of, metavar='SIDE|HxW', help="of the input, in place of the model's own (LightGLEAN)")
    parser.add_argument('--batch', type=int, metavar='N', help='pictures at a time (default: any number)')
    parser.add_argument('--label', type=int, metavar='CLASS',
                        help='class of all pictures; without it, a model that is given one takes it as an input')
    parser.add_argument('--opset', type=int, default=OPSET, metavar='N',
                        help=f'of ONNX, {OPSETS[0]} to {OPSETS[-1]} (default: %(default)s)')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT')
    parser.add_argument('--json', metavar='FILE', help='write a report; - for the standard output')
    args = parser.parse_args()
    try:
        exported = export(
            args.model, args.out, args.checkpoint, dynamic=args.dynamic, size=args.size, batch=args.batch,
            label=args.label, opset=args.opset, overwrite=args.overwrite,
        )  # fmt: skip
    except (ExportError, RestoreError, WeightsError) as error:
        sys.exit(f'export: {error}')
    except OSError as error:
        sys.exit(f'export: {args.out} cannot be written ({error.strerror or error}): choose another place.')
    print(table(exported), file=sys.stderr if args.json == '-' else sys.stdout)
    if args.json:
        report = dict(file=str(exported.path), facts=exported.facts, measured=[asdict(each) for each in exported.measured])
        text = json.dumps(report, indent=2)
        print(text) if args.json == '-' else save_text(text + '\n', Path(args.json))


if __name__ == '__main__':
    main()
