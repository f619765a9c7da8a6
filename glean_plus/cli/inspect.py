"""What does each part of a trained GLEAN do? The paper's Fig. 13 to 15 and their numbers, for your own model.

    glean-plus inspect configs/lightglean_twemoji_4x.py configs/weights/lightglean_twemoji_4x.safetensors
    glean-plus inspect CONFIG CHECKPOINT --number 0 --shown 12 --out work_dirs/inspected
    glean-plus inspect CONFIG CHECKPOINT MY_IMAGES --device cuda

The images are the config's own test set, or those of a folder, brought to the model's sizes. OUT/index.html is a page
with everything in it, OUT/grids/NAME.png a labelled grid of each image, OUT/numbers.csv a line of each image and
ablation, OUT/summary.json their means. A ablation that a model does not have is named with the reason.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from glean_plus.cli.commands import UsageError
from glean_plus.cli.options import add_bgr, add_device, add_overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', type=Path, help='config of a GLEAN or LightGLEAN, path or name')
    parser.add_argument('checkpoint', help='.pth or .safetensors of it, path or URL')
    parser.add_argument('images', type=Path, nargs='?', help="folder of images (default: the config's data)")
    parser.add_argument('--out', type=Path, help='folder for the results (default: work_dirs/inspected/CONFIG)')
    parser.add_argument('--set', choices=['test', 'val'], default='test', dest='which',
                        help='whose data and pipeline to take (default: %(default)s)')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--indices', type=int, nargs='+', metavar='INDEX', help='images to take')
    which.add_argument('--number', type=int, default=8,
                       help='how many to take, evenly spread; 0 for all (default: %(default)s)')
    parser.add_argument('--shown', type=int, default=8,
                        help='how many of them to show, from the first on; the numbers are of all (default: %(default)s)')
    parser.add_argument('--fusion-off', choices=['bypass', 'zeros'], default='bypass',
                        help='where an encoder feature is not fused: the block of the bank as it is, or the convolution '
                             'of the fusion on zeros (default: %(default)s)')
    parser.add_argument('--distance', choices=['st-lpips-vgg', 'st-lpips-alex', 'lpips-vgg', 'lpips-alex'],
                        default='st-lpips-vgg', help='perceptual distance; lpips needs a download (default: %(default)s)')
    add_bgr(parser)
    parser.add_argument('--seed', type=int, default=0, help='of the noise maps (default: %(default)s)')
    add_device(parser, 'cpu')
    parser.add_argument('--overwrite', action='store_true', help='replace results that are there already')
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    if args.shown < 0:
        raise UsageError(f'--shown must not be negative, but is {args.shown}')
    out = args.out or Path('work_dirs') / 'inspected' / args.config.stem
    from mmengine.registry import init_default_scope

    from glean_plus.analysis import ablation
    from glean_plus.utils.tables import aligned
    from glean_plus.weights.resources import apply_overrides, read_config

    config = read_config(args.config)
    apply_overrides(config, args.cfg_options)
    content = config.to_dict()
    init_default_scope(content.get('default_scope') or 'mmagic')
    settings = ablation.Settings(args.fusion_off, args.distance, args.seed, args.shown, args.bgr, args.device)
    ablation.check_out(out, args.overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        if args.images is None:
            source = ablation.config_source(content, args.which)
            indices: Sequence[int] = source.choose(args.indices, args.number)
            taken = f'{args.which} set of the config'
        else:
            source = ablation.folder_source(
                content, args.images, Path(scratch), args.which, args.indices, args.number
            )
            indices, taken = range(len(source)), str(args.images)
        inspection = ablation.Inspection(content['model'], args.checkpoint, settings)
        about = {'config': args.config.name, 'checkpoint': str(args.checkpoint), 'taken from': taken}
        table = inspection.run(source, indices, out, about)
    print('\n'.join(aligned(table.lines(), ' | ')))
    for switch in table.switches:
        if not switch.applies:
            print(f'{switch.label} does not apply: {switch.reason}')
    print(f'{out / "index.html"}: {len(table.rows)} images')
