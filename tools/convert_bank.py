"""Convert a published generator, whatever known format it is in, to a bank's file: safetensors with a card beside it.

    python tools/convert_bank.py stylegan2-ffhq-config-f.pkl configs/weights/stylegan2_ffhq.safetensors
    python tools/convert_bank.py 550000.pt d.safetensors --prefix d --discriminator
    python tools/convert_bank.py biggan-deep-256-pytorch_model.bin biggan_deep.safetensors --truncation 0.4 --dtype fp16

Known: MMagic and mmgeneration (StyleGAN, StyleGAN2, BigGAN, BigGAN-deep), rosinality's and BasicSR's StyleGAN2, NVlabs'
pickles of StyleGAN, StyleGAN2 and StyleGAN2-ADA, GenForce's StyleGAN and StyleGAN2, ajbrock's BigGAN and BigGAN-deep,
huggingface's BigGAN-deep; of the StyleGAN2s and of ajbrock's BigGAN, the discriminator too. Nothing in a file is executed. A file that does not
fit its format in each key and shape is refused, and then nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

import glean_plus
from glean_plus.utils.terminal import Parser
from glean_plus.weights import Imported, WeightsError, import_weights, write_with_card

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
MORE = 4  # keys named for each reason


def listing(title: str, reasons: dict[str, str]) -> list[str]:
    lines = [f'{title}: {len(reasons)}']
    for reason, number in Counter(reasons.values()).items():
        keys = [key for key, why in reasons.items() if why == reason]
        more = f', and {number - MORE} more' if number > MORE else ''
        lines.append(f'  {reason}: {", ".join(keys[:MORE])}{more}')
    return lines


def report(found: Imported) -> str:
    """What was recognised, in lines."""
    arguments = found.kwargs
    size = arguments.get('out_size', arguments.get('in_size'))
    lines = [
        f'format: {found.format}' + (f', below "{found.prefix}"' if found.prefix else ''),
        f'architecture: {found.architecture}',
        f'resolution: {size}',
    ]
    rest = {key: value for key, value in arguments.items() if key not in ('channels', 'widths')}
    # BigGAN's discriminator is told by the width after each block, which halves the size but for the last.
    blocks = ((max(size >> i, 4), width) for i, width in enumerate(arguments.get('widths', ()), start=1))
    channels = arguments['channels'].items() if 'channels' in arguments else blocks
    lines.append('channels: ' + ', '.join(f'{res}: {width}' for res, width in channels))
    lines.append('arguments: ' + ', '.join(f'{key}={value!r}' for key, value in rest.items()))
    lines.append(f'matched: {found.matched} tensors of the file, {len(found.state)} of the bank')
    lines += listing('ignored', found.ignored)
    lines += listing('filled in', found.filled)
    lines.append(f'missing: {len(found.missing)}' + (f': {", ".join(found.missing[:8])}' if found.missing else ''))
    return '\n'.join(lines)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='path or URL: .pth, .pt, .bin, .safetensors or .pkl')
    parser.add_argument('out', type=Path, help='.safetensors; the card is written beside it as .json')
    parser.add_argument('--prefix', help='where in the file the network is, such as g_ema; the averaged one if not given')
    parser.add_argument('--discriminator', action='store_true', help='convert the discriminator')
    parser.add_argument('--truncation', type=float, default=1.0, help='whose batch statistics to take (huggingface)')
    parser.add_argument('--dtype', choices=sorted(DTYPES), help='that of the file if not given')
    args = parser.parse_args()
    if args.out.suffix != '.safetensors':
        parser.error(f'OUT must end in .safetensors, but is {args.out}')

    try:
        found = import_weights(args.source, args.prefix, args.discriminator, args.truncation)
    except WeightsError as error:
        sys.exit(f'convert_bank: {error}')
    print(report(found))
    if found.missing:
        sys.exit(f'convert_bank: {args.source} lacks {len(found.missing)} tensors; nothing is written.')
    top = 'discriminator' if args.discriminator else 'generator_ema'
    card: dict[str, Any] = dict(
        name=args.out.stem,
        kind='discriminator' if args.discriminator else 'bank',
        source=Path(args.source).name,
        format=found.format,
        architecture=found.architecture,
        arguments=found.kwargs,
        filled=found.filled,
        ignored=found.ignored,
        prefix=top,
        colour_order='RGB',
        value_range=[-1, 1],
        dtype=args.dtype or 'as in the source',
        version=glean_plus.__version__,
        note="The weights' licence is that of their source.",
    )
    state = {f'{top}.{key}': value for key, value in found.state.items()}
    try:
        card = write_with_card(state, args.out, card, dtype=DTYPES[args.dtype] if args.dtype else None)
    except (OSError, SafetensorError) as error:
        sys.exit(f'convert_bank: {args.out} cannot be written ({error}): choose another place.')
    print(f'{args.out}: {len(state)} tensors, {card["size"] / 1e6:.1f} MB, SHA-256 {card["sha256"]}')


if __name__ == '__main__':
    main()
