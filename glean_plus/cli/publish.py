"""Turn a checkpoint of training into a file that this project ships: fp16 safetensors, with a card.

    glean-plus publish bank work_dirs/stylegan2_twemoji_64px/iter_16000.pth \\
        configs/weights/stylegan2_twemoji_64px.safetensors --images-per-iter 32 --command "mim train ..."
    glean-plus publish restorer work_dirs/X/iter_5000.pth configs/weights/X.safetensors --metrics X.json \\
        --images-per-iter 16 --command "mim train ..."

A bank's file has `generator_ema.*` (the averaged weights) and `discriminator.*`; a restorer's has `generator.*` alone,
its moving average where there is one.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('kind', choices=['bank', 'restorer'])
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path, help='.safetensors; the card is written beside it as .json')
    parser.add_argument('--command', required=True, help='the command that trained it')
    parser.add_argument('--images-per-iter', type=int, required=True, help='batch size times processes')
    parser.add_argument('--minutes', type=int, help='how long the training took')
    parser.add_argument('--data', choices=['all', 'people', 'photos', 'text'], default='people', help='what it was trained on (default: people)')
    parser.add_argument('--metrics', type=Path, help='JSON file of a test, as `mim test ... --out` writes it')
    parser.add_argument('--metrics-samples', type=Path, help='the same of a few images, which a test repeats')
    parser.add_argument('--note', default='', help='what a user must know, such as how small it was trained')


def run(args: argparse.Namespace) -> None:
    from glean_plus.weights.publish import publish

    publish(
        args.kind, args.checkpoint, args.out, args.command, args.images_per_iter, args.data, args.note, args.minutes,
        args.metrics, args.metrics_samples,
    )  # fmt: skip
