"""Tiny restorers as checkpoints of training leave them, config inside: seconds to restore a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmagic.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from conftest import shake

CHANNELS = {4: 8, 8: 8, 16: 8, 32: 4}
PREPROCESSOR = dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)


def generator_config(light: bool, **parts: Any) -> dict[str, Any]:
    """16 -> 32: a LightGLEAN, or a whole GLEAN with predicted codes."""
    bank = dict(
        type='StyleGAN2Bank', out_size=32, start_res=16 if light else 4, style_channels=6, num_mlps=2,
        channels=CHANNELS, mapping=False, rgb=False,
    )  # fmt: skip
    decoder = dict(type='GLEANDecoder', width_ratio=0.5, last_channels=None)
    encoder = dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4)
    return dict(type='GLEAN', in_size=16, bank=bank, encoder=encoder, decoder=decoder) | parts


def write_checkpoint(path: Path, generator: dict[str, Any], preprocessor: dict[str, Any] | None = None) -> Path:
    """What `mim train` writes, of random weights: the moving average, the generator, and the config as text."""
    init_default_scope('mmagic')
    torch.manual_seed(1)
    model = dict(
        type='GLEANRestorer', generator=generator, ema=dict(decay=0.9), pixel_loss=dict(type='MSELoss'),
        data_preprocessor=preprocessor or PREPROCESSOR,
    )
    restorer = MODELS.build(model)
    if hasattr(restorer.generator, 'bank'):
        shake(restorer.generator.bank, 0.3)
    shake(restorer.generator_ema)
    if hasattr(getattr(restorer.generator_ema, 'codes', None), 'linear'):  # predicted codes hardly differ at the start
        restorer.generator_ema.codes.linear.weight.data *= 30
    config = Config(dict(model=model, default_scope='mmagic'))
    torch.save(dict(state_dict=restorer.state_dict(), meta=dict(cfg=config.pretty_text, iter=3)), path)
    return path


def write_checkpoints(folder: Path) -> dict[str, Path]:
    """A LightGLEAN (``light``), a whole GLEAN (``whole``) and a LightGLEAN of colorization (``color``)."""
    color = generator_config(
        True, in_size=32, decoder=dict(type='ColorizationHead', mid_channels=4),
        encoder=dict(type='GLEANEncoder', in_channels=1, num_rrdbs=1, rrdb_channels=8, growth_channels=4),
    )  # fmt: skip
    return dict(
        light=write_checkpoint(folder / 'light.pth', generator_config(True)),
        whole=write_checkpoint(folder / 'whole.pth', generator_config(False)),
        color=write_checkpoint(folder / 'color.pth', color, dict(type='ColorizationDataPreprocessor')),
    )


def photo(name: str, height: int, width: int, top: int = 60, left: int = 100) -> np.ndarray:
    """A part of one of scikit-image's photographs, (H, W, 3) uint8."""
    from skimage import data

    return np.ascontiguousarray(getattr(data, name)()[top:top + height, left:left + width, :3])
