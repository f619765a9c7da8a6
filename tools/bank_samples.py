"""Draw a grid of pictures from a StyleGAN or StyleGAN2 bank, to see that it was trained, or read, rightly.

    python tools/bank_samples.py configs/stylegan2_twemoji_64px.py configs/weights/stylegan2_twemoji_64px.safetensors x.png
    python tools/bank_samples.py CONFIG iter_16000.pth x.png --prefix generator_ema.module --truncation 0.7 --seed 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

import glean_plus  # noqa: F401
from glean_plus.engine.pictures import to_array
from glean_plus.weights import read_pretrained


def grid(pictures: torch.Tensor, columns: int) -> np.ndarray:
    """(N, C, H, W), -1 to 1 -> one picture, (rows H, columns W, 3) uint8; N must fill the rows."""
    arrays = [to_array((picture.clamp(-1, 1) + 1) * 127.5) for picture in pictures]
    rows = [np.concatenate(arrays[start:start + columns], axis=1) for start in range(0, len(arrays), columns)]
    return np.concatenate(rows, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='config of the pre-training, whose generator is the bank')
    parser.add_argument('checkpoint', help='path or URL')
    parser.add_argument('out', type=Path, help='.png')
    parser.add_argument('--prefix', default='generator_ema', help='of the keys (default: generator_ema)')
    parser.add_argument('--rows', type=int, default=4)
    parser.add_argument('--columns', type=int, default=12)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--truncation', type=float, default=1.0, help='draw codes towards the mean (default: 1, not at all)')
    args = parser.parse_args()

    init_default_scope('mmagic')
    bank = MODELS.build(Config.fromfile(args.config).model.generator.to_dict()).eval()
    bank.load(*read_pretrained(dict(checkpoint=args.checkpoint, prefix=args.prefix)))
    noise = torch.randn(args.rows * args.columns, bank.noise_size, generator=torch.Generator().manual_seed(args.seed))
    with torch.no_grad():
        pictures = bank(noise, randomize_noise=False, truncation=args.truncation)
    Image.fromarray(grid(pictures, args.columns)).save(args.out)
    print(f'{args.out}: {len(noise)} pictures of {bank.out_size} px')


if __name__ == '__main__':
    main()
