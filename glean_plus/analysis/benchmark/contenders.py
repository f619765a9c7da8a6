"""What is compared: networks that restore (N, 3, in_size, in_size) to (N, 3, out_size, out_size)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmagic.models.editors.esrgan.rrdb_net import RRDBNet
from mmagic.models.editors.glean import GLEANStyleGANv2
from mmagic.registry import MODELS
from torch import Tensor, nn

from glean_plus.models.speed import at_speed
from glean_plus.weights.mmagic_glean import from_mmagic

# Of noise, which new weights leave at 0, so that its work would not show in a comparison of pictures.
NOISE_STRENGTH = 0.1


@dataclass(frozen=True)
class Contender:
    """One network in one way of running it.

    Attributes:
        network: ``mmagic`` (GLEANStyleGANv2), ``glean``, ``lightglean`` or ``esrgan`` (RRDBNet, 4x only).
        speed: As in ``test_cfg``: how the network is run.
        same_as: The contender whose weights it has, so that its pictures can be compared.
    """

    network: str
    speed: str = 'exact'
    same_as: str | None = None


CONTENDERS: Mapping[str, Contender] = {
    'MMagic GLEAN': Contender('mmagic'),
    'GLEAN': Contender('glean', same_as='MMagic GLEAN'),
    'GLEAN, folded': Contender('glean', 'folded', 'MMagic GLEAN'),
    'GLEAN, compiled': Contender('glean', 'compiled', 'MMagic GLEAN'),
    'GLEAN, folded, bfloat16': Contender('glean', 'folded-bfloat16', 'MMagic GLEAN'),
    'GLEAN, compiled, bfloat16': Contender('glean', 'compiled-bfloat16', 'MMagic GLEAN'),
    'LightGLEAN': Contender('lightglean'),
    'LightGLEAN, folded': Contender('lightglean', 'folded', 'LightGLEAN'),
    'LightGLEAN, compiled': Contender('lightglean', 'compiled', 'LightGLEAN'),
    'LightGLEAN, folded, bfloat16': Contender('lightglean', 'folded-bfloat16', 'LightGLEAN'),
    'LightGLEAN, compiled, bfloat16': Contender('lightglean', 'compiled-bfloat16', 'LightGLEAN'),
    'MMagic RRDBNet (4x)': Contender('esrgan'),
}


def glean_config(in_size: int, out_size: int, light: bool) -> dict[str, Any]:
    """The published networks of a size, without what a test does not use."""
    bank = dict(type='StyleGAN2Bank', out_size=out_size, mapping=False, rgb=False)
    if light:
        bank['start_res'] = in_size
        return dict(type='GLEAN', in_size=in_size, bank=bank,
                    decoder=dict(type='GLEANDecoder', width_ratio=0.25, last_channels=None))  # fmt: skip
    return dict(type='GLEAN', in_size=in_size, bank=bank)


def mmagic_glean(in_size: int, out_size: int) -> GLEANStyleGANv2:
    """MMagic's GLEAN with the weights of seed 0."""
    torch.manual_seed(0)
    return _with_noise(GLEANStyleGANv2(in_size, out_size))


def build(contender: Contender, in_size: int, out_size: int, device: str) -> Callable[[Tensor], Tensor]:
    """The network, ready to run. Weights are those of seed 0, MMagic's for both GLEANs."""
    network: nn.Module
    if contender.network == 'mmagic':
        network = mmagic_glean(in_size, out_size)
    elif contender.network == 'esrgan':
        torch.manual_seed(0)
        network = RRDBNet(3, 3, mid_channels=64, num_blocks=23, growth_channels=32, upscale_factor=4)
    else:
        light = contender.network == 'lightglean'
        torch.manual_seed(0)
        network = _with_noise(MODELS.build(glean_config(in_size, out_size, light)))
        if not light:
            network.load_state_dict(from_mmagic(mmagic_glean(in_size, out_size).state_dict())[0])
    network = network.eval().requires_grad_(False).to(device)
    return at_speed(network, contender.speed)


def _with_noise(network: nn.Module) -> Any:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if 'noise_injector' in name:
                parameter.fill_(NOISE_STRENGTH)
    return network
