"""One step of training, generator and discriminator, of MMagic's SRGAN and of ours, from the same weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
from mmagic.models.editors.srgan import SRGAN
from mmagic.models.losses import perceptual_loss
from mmagic.structures import DataSample
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from glean_plus.registry import MODELS
from glean_plus.training.restorer import GLEANRestorer
from glean_plus.weights.mmagic_glean import from_mmagic

# What ``train_cfg`` is for each way of training.
WAYS: Mapping[str, dict[str, bool]] = {
    'exact': {},
    'compiled': dict(channels_last=True, compiled=True),
    'compiled, recompute': dict(channels_last=True, compiled=True, recompute=True),
}
# The paper's losses and weights, on perceptual networks with the weights of seed 0, as nothing is downloaded.
COMMON = dict(
    pixel_loss=dict(type='MSELoss', loss_weight=1.0, reduction='mean'),
    gan_loss=dict(type='GANLoss', gan_type='vanilla', loss_weight=1e-2, real_label_val=1.0, fake_label_val=0),
    data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
)
LAYERS = {'21': 1.0}


def mmagic_srgan(in_size: int, out_size: int) -> SRGAN:
    """MMagic's SRGAN with its GLEAN, its StyleGAN2 discriminator and its perceptual loss, weights of seed 0."""
    network = _vgg16()
    # It knows no other weights than those that torchvision downloads.
    with mock.patch.object(perceptual_loss.vgg, 'vgg16', lambda pretrained: network):
        loss = MODELS.build(dict(type='PerceptualLoss', layer_weights=LAYERS, vgg_type='vgg16', perceptual_weight=1e-2,
                                 style_weight=0, norm_img=False, criterion='mse',
                                 pretrained='torchvision://vgg16'))  # fmt: skip
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='SRGAN', generator=dict(type='GLEANStyleGANv2', in_size=in_size, out_size=out_size),
        discriminator=dict(type='StyleGANv2Discriminator', in_size=out_size), **COMMON,
    ))  # fmt: skip
    model.perceptual_loss = loss
    return model


def restorer(in_size: int, out_size: int, train_cfg: Mapping[str, bool]) -> GLEANRestorer:
    """Ours with the same weights."""
    theirs = mmagic_srgan(in_size, out_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'vgg16.pth'
        state = _vgg16().state_dict()
        torch.save({key: value for key, value in state.items() if key.startswith('features')}, path)
        bank = dict(type='StyleGAN2Bank', out_size=out_size, mapping=False, rgb=False)
        model = MODELS.build(dict(
            type='GLEANRestorer', generator=dict(type='GLEAN', in_size=in_size, bank=bank), train_cfg=dict(train_cfg),
            discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=out_size),
            perceptual_loss=dict(type='VGGFeatureLoss', layer_weights=LAYERS, loss_weight=1e-2, weights=str(path)),
            **COMMON,
        ))  # fmt: skip
        model._build_losses(torch.device('cpu'))  # while the file is there
    model.generator.load_state_dict(from_mmagic(theirs.generator.state_dict())[0])
    model.discriminator.load_state_dict(theirs.discriminator.state_dict())
    return model


def build_step(network: str, way: str, in_size: int, out_size: int, device: str) -> Callable[[Tensor], Tensor]:
    """A function that takes one step on inputs (N, 3, H, W) and ground truths of noise, and returns its losses."""
    theirs = network == 'mmagic'
    model = mmagic_srgan(in_size, out_size) if theirs else restorer(in_size, out_size, WAYS[way])
    model = model.to(device).train()
    wrappers = OptimWrapperDict(**{
        name: OptimWrapper(torch.optim.Adam(getattr(model, name).parameters(), lr=1e-4, betas=(0.9, 0.99)))
        for name in ('generator', 'discriminator')
    })  # fmt: skip

    @torch.enable_grad()
    def step(x: Tensor) -> Tensor:
        log = model.train_step(_batch(x, out_size), wrappers)
        return torch.stack([log[name].detach().float().cpu() for name in sorted(log)])

    return step


def _batch(x: Tensor, out_size: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    truths = torch.randint(0, 256, (len(x), 3, out_size, out_size), generator=generator, dtype=torch.uint8)
    inputs = (x.cpu() * 127.5 + 127.5).round().to(torch.uint8)
    return dict(inputs=list(inputs), data_samples=[DataSample(gt_img=truth) for truth in truths])


def _vgg16() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.vgg16(weights=None)
    return network
