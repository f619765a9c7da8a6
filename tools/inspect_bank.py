"""What does each part of a trained GLEAN do? The paper's Fig. 13 to 15 and their numbers, for your own model.

    python tools/inspect_bank.py configs/lightglean_twemoji_4x.py configs/weights/lightglean_twemoji_4x.safetensors
    python tools/inspect_bank.py CONFIG CHECKPOINT --number 0 --shown 12 --out work_dirs/inspected
    python tools/inspect_bank.py CONFIG CHECKPOINT MY_PICTURES --device cuda

The pictures are the config's own test set, or those of a folder, brought to the model's sizes. OUT/index.html is a page
with everything in it, OUT/grids/NAME.png a labelled grid of each picture, OUT/numbers.csv a line of each picture and
switch, OUT/summary.json their means. A switch that a model does not have is named with the reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from mmengine.registry import init_default_scope

import glean_plus  # noqa: F401
from glean_plus.cli.tools import Overrides, apply_overrides, read_config
from glean_plus.utils.devices import DeviceError
from glean_plus.utils.terminal import Parser
from glean_plus.weights import WeightsError


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='config of a GLEAN or LightGLEAN, path or name')
    parser.add_argument('checkpoint', help='.pth or .safetensors of it, path or URL')
    parser.add_argument('images', type=Path, nargs='?', help="folder of pictures (default: the config's data)")
    parser.add_argument('--out', type=Path, help='folder for the results (default: work_dirs/inspected/CONFIG)')
    parser.add_argument('--set', choices=['test', 'val'], default='test', dest='which',
                        help='whose data and pipeline to take (default: %(default)s)')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--indices', type=int, nargs='+', metavar='INDEX', help='pictures to take')
    which.add_argument('--number', type=int, default=8,
                       help='how many to take, evenly spread; 0 for all (default: %(default)s)')
    parser.add_argument('--shown', type=int, default=8,
                        help='how many of them to show, from the first on; the numbers are of all (default: %(default)s)')
    parser.add_argument('--fusion-off', choices=['bypass', 'zeros'], default='bypass',
                        help='where an encoder feature is not fused: the block of the bank as it is, or the convolution '
                             'of the fusion on zeros (default: %(default)s)')
    parser.add_argument('--distance', choices=['st-lpips-vgg', 'st-lpips-alex', 'lpips-vgg', 'lpips-alex'],
                        default='st-lpips-vgg', help='perceptual distance; lpips needs a download (default: %(default)s)')
    parser.add_argument('--bgr', action=argparse.BooleanOptionalAction,
                        help="the bank draws BGR (default: as published, for OpenMMLab's banks; no, for others)")
    parser.add_argument('--seed', type=int, default=0, help='of the noise maps (default: %(default)s)')
    parser.add_argument('--device', default='cpu', help='(default: %(default)s)')
    parser.add_argument('--overwrite', action='store_true', help='replace results that are there already')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE',
                        help='override keys of the config')
    args = parser.parse_args()
    if args.shown < 0:
        parser.error(f'--shown must not be negative, but is {args.shown}')
    if args.out is None:
        args.out = Path('work_dirs') / 'inspected' / args.config.stem
    return args


def main() -> None:
    args = parse_args()
    from glean_plus.analysis import ablation  # takes seconds: not before the arguments are right

    config = read_config(args.config)
    apply_overrides(config, args.cfg_options)
    config = config.to_dict()
    init_default_scope(config.get('default_scope') or 'mmagic')
    settings = ablation.Settings(args.fusion_off, args.distance, args.seed, args.shown, args.bgr, args.device)
    try:
        ablation.check_out(args.out, args.overwrite)
        with tempfile.TemporaryDirectory() as scratch:
            if args.images is None:
                source = ablation.config_source(config, args.which)
                indices, pictures = source.choose(args.indices, args.number), f'{args.which} set of the config'
            else:
                source = ablation.folder_source(
                    config, args.images, Path(scratch), args.which, args.indices, args.number
                )
                indices, pictures = range(len(source)), str(args.images)
            run = ablation.Inspection(config['model'], args.checkpoint, settings)
            about = {'config': args.config.name, 'checkpoint': str(args.checkpoint), 'taken from': pictures}
            table = run.run(source, indices, args.out, about)
    except (DeviceError, ablation.InspectionError, WeightsError) as error:
        sys.exit(f'inspect_bank: {error}')

    lines = table.lines()
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print(' | '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    for switch in table.switches:
        if not switch.applies:
            print(f'{switch.label} does not apply: {switch.reason}')
    print(f'{args.out / "index.html"}: {len(table.rows)} pictures')


if __name__ == '__main__':
    main()
