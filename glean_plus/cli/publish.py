"""Turn a checkpoint of training into fp16 safetensors with a card, or into a folder for the Hugging Face hub.

    glean-plus publish bank work_dirs/stylegan2_twemoji_64px/iter_16000.pth \\
        configs/weights/stylegan2_twemoji_64px.safetensors --images-per-iter 32 --command "mim train ..."
    glean-plus publish restorer work_dirs/X/iter_5000.pth configs/weights/X.safetensors --metrics X.json \\
        --images-per-iter 16 --command "mim train ..."
    glean-plus publish restorer work_dirs/X/iter_5000.pth X --repo OWNER/X --samples photos/*.png --licence mit \\
        --trained-on "my photographs" --images-per-iter 16 --command "mim train ..."

A bank's file has `generator_ema.*` (the averaged weights) and `discriminator.*`; a restorer's has `generator.*` alone,
its moving average where there is one, and the config of its network. A folder has these weights, the config of the
training, sample images and a model card with the metrics.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('kind', choices=['bank', 'restorer'])
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path, help='.safetensors, with the card beside it as .json; or a folder to upload')
    parser.add_argument('--command', required=True, help='the command that trained it')
    parser.add_argument('--images-per-iter', type=int, required=True, help='batch size times processes')
    parser.add_argument('--minutes', type=int, help='how long the training took')
    parser.add_argument('--data', choices=['all', 'people', 'photos', 'text'], default='people', help='what it was trained on (default: people)')
    parser.add_argument('--trained-on', metavar='TEXT', help='other images than those of --data')
    parser.add_argument('--licence', metavar='TEXT', help='of the weights, such as apache-2.0, and what limits their use')
    parser.add_argument('--metrics', type=Path, help='JSON file of a test, as `mim test ... --out` writes it')
    parser.add_argument('--metrics-samples', type=Path, help='the same of a few images, which a test repeats')
    parser.add_argument('--note', default='', help='what a user must know, such as how small it was trained')
    parser.add_argument('--repo', metavar='OWNER/REPO', help='for the model card of a folder')
    parser.add_argument('--samples', type=Path, nargs='+', default=[], metavar='IMAGE', help='inputs to show there, restored')
    parser.add_argument('--test-set', default='held-out images', metavar='TEXT', help='what --metrics was measured on (default: %(default)s)')


def run(args: argparse.Namespace) -> None:
    from glean_plus.analysis.hub_folder import publish_any

    publish_any(
        args.kind, args.checkpoint, args.out, repo=args.repo, samples=args.samples, test_set=args.test_set,
        command=args.command, images_per_iter=args.images_per_iter, data=args.data, note=args.note,
        minutes=args.minutes, metrics=args.metrics, metrics_samples=args.metrics_samples, trained_on=args.trained_on,
        licence=args.licence,
    )  # fmt: skip
