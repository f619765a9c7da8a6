"""Convert a published generator, whatever known format it is in, to a bank's file: safetensors with a card beside it.

    glean-plus convert stylegan2-ffhq-config-f.pkl configs/weights/stylegan2_ffhq.safetensors
    glean-plus convert 550000.pt d.safetensors --prefix d --discriminator
    glean-plus convert biggan-deep-256-pytorch_model.bin biggan_deep.safetensors --truncation 0.4 --dtype fp16

Known: MMagic and mmgeneration (StyleGAN, StyleGAN2, BigGAN, BigGAN-deep), rosinality's and BasicSR's StyleGAN2, NVlabs'
pickles of StyleGAN, StyleGAN2 and StyleGAN2-ADA, GenForce's StyleGAN and StyleGAN2, ajbrock's BigGAN and BigGAN-deep,
huggingface's BigGAN-deep; of the StyleGAN2s and of ajbrock's BigGAN, the discriminator too. Nothing in a file is executed. A
file that does not fit its format in each key and shape is refused, and then nothing is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glean_plus.cli.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', help='path or URL: .pth, .pt, .bin, .safetensors or .pkl')
    parser.add_argument('out', type=Path, help='.safetensors; the card is written beside it as .json')
    parser.add_argument('--prefix', help='where in the file the network is, such as g_ema; the averaged one if not given')
    parser.add_argument('--discriminator', action='store_true', help='convert the discriminator')
    parser.add_argument('--truncation', type=float, default=1.0, help='whose batch statistics to take (huggingface)')
    parser.add_argument('--dtype', choices=['bf16', 'fp16', 'fp32'], help='that of the file if not given')


def run(args: argparse.Namespace) -> None:
    if args.out.suffix != '.safetensors':
        raise UsageError(f'OUT must end in .safetensors, but is {args.out}')
    from glean_plus.weights.convert import convert

    convert(args.source, args.out, args.prefix, args.discriminator, args.truncation, args.dtype)
