"""The networks that are compared: they restore (N, 3, in_size, in_size), or colour (N, 1, in_size, in_size)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmagic.models.editors.esrgan.rrdb_net import RRDBNet
from mmagic.models.editors.glean import GLEANStyleGANv2
from torch import Tensor, nn

from glean_plus.accel.speed import at_speed
from glean_plus.analysis.benchmark.runtimes import RUNTIMES
from glean_plus.analysis.benchmark.training import build_step
from glean_plus.models.glean import GLEAN
from glean_plus.registry import MODELS
from glean_plus.weights.mmagic_glean import from_mmagic

# Of noise and attention, which new weights leave at 0, so that their work would not show in a comparison of images.
NOISE_STRENGTH = 0.1


@dataclass(frozen=True)
class Contender:
    """One network in one way of running it."""

    # `mmagic` (GLEANStyleGANv2), `glean`, `lightglean` or `esrgan` (RRDBNet, 4x only); for `color` `glean` or
    # `lightglean`, on a BigGAN-deep.
    network: str
    # How the network is run: as in `test_cfg`, or of RUNTIMES; for `train` one of the benchmark's ways of training.
    speed: str = 'exact'
    same_as: str | None = None  # the contender whose weights it has, so that its images can be compared
    # `restore`; `color`, from one channel and at one size (appendix A); `train`, a step of both networks.
    task: str = 'restore'
    precision: str = 'fp32'  # as in `test_cfg`


def _at_each_speed(title: str, network: str, task: str = 'restore', same_as: str | None = None) -> dict[str, Contender]:
    """A network exact, at each faster speed and by others, ``TITLE, SPEED`` and ``TITLE, SPEED, PRECISION``."""
    entries = {title: Contender(network, same_as=same_as, task=task)}
    for precision in ('fp32', 'bf16'):
        for speed in ('folded', 'compiled', 'openvino'):
            name = f'{title}, {speed}' + ('' if precision == 'fp32' else f', {precision}')
            entries[name] = Contender(network, speed, same_as or title, task, precision)
    return entries | {
        f'{title}, {runtime}': Contender(network, runtime, same_as or title, task) for runtime in RUNTIMES
    }


CONTENDERS: Mapping[str, Contender] = {
    'MMagic GLEAN': Contender('mmagic'),
    **_at_each_speed('GLEAN', 'glean', same_as='MMagic GLEAN'),
    **_at_each_speed('LightGLEAN', 'lightglean'),
    'MMagic RRDBNet (4x)': Contender('esrgan'),
    **_at_each_speed('Color GLEAN', 'glean', 'color'),
    **_at_each_speed('Color LightGLEAN', 'lightglean', 'color'),
    'MMagic SRGAN step': Contender('mmagic', task='train'),
    'GLEAN step': Contender('glean', same_as='MMagic SRGAN step', task='train'),
    'GLEAN step, compiled': Contender('glean', 'compiled', 'MMagic SRGAN step', 'train'),
    'GLEAN step, compiled, recompute': Contender('glean', 'compiled, recompute', 'MMagic SRGAN step', 'train'),
}
# Task -> sizes of what it restores, if none are asked for.
TASKS: Mapping[str, tuple[int, int]] = {'restore': (64, 1024), 'color': (256, 256), 'train': (16, 256)}


def glean_config(in_size: int, out_size: int, light: bool) -> dict[str, Any]:
    """The published networks of a size, without what a test does not use."""
    bank = dict(type='StyleGAN2Bank', out_size=out_size, mapping=False, rgb=False)
    if light:
        bank['start_res'] = in_size
        return dict(type='GLEAN', in_size=in_size, bank=bank,
                    decoder=dict(type='GLEANDecoder', width_ratio=0.25, last_channels=None))  # fmt: skip
    return dict(type='GLEAN', in_size=in_size, bank=bank)


def color_config(in_size: int, out_size: int, light: bool) -> dict[str, Any]:
    """Colorization of the published kind, as ``configs/glean_imagenet_color.py`` and its light one have it."""
    bank = dict(type='BigGANDeepBank', out_size=out_size, embedding=False, rgb=False)
    if light:
        bank['start_res'] = in_size // 8
    return dict(type='GLEAN', in_size=in_size, bank=bank, encoder=dict(type='GLEANEncoder', in_channels=1),
                decoder=dict(type='ColorizationHead'))  # fmt: skip


def config_of(contender: Contender, in_size: int, out_size: int) -> dict[str, Any] | None:
    """The generator of a contender, MMagic's GLEAN as ours; None for what is no GLEAN, or is trained."""
    if contender.network == 'esrgan' or contender.task == 'train':
        return None
    config = color_config if contender.task == 'color' else glean_config
    return config(in_size, out_size, contender.network == 'lightglean')


def mmagic_glean(in_size: int, out_size: int) -> GLEANStyleGANv2:
    """MMagic's GLEAN with the weights of seed 0."""
    torch.manual_seed(0)
    return _with_noise(GLEANStyleGANv2(in_size, out_size))


def build(contender: Contender, in_size: int, out_size: int, device: str) -> Callable[[Tensor], Tensor]:
    """The network, ready to run. Weights are those of seed 0, MMagic's for both GLEANs."""
    if contender.task == 'train':
        return build_step(contender.network, contender.speed, in_size, out_size, device)
    network: nn.Module
    config = config_of(contender, in_size, out_size)
    if contender.network == 'mmagic':
        network = mmagic_glean(in_size, out_size)
    elif config is None:
        torch.manual_seed(0)
        network = RRDBNet(3, 3, mid_channels=64, num_blocks=23, growth_channels=32, upscale_factor=4)
    else:
        torch.manual_seed(0)
        network = _with_noise(MODELS.build(config))
        if (contender.network, contender.task) == ('glean', 'restore'):
            network.load_state_dict(from_mmagic(mmagic_glean(in_size, out_size).state_dict())[0])
    network = network.eval().requires_grad_(False).to(device)
    if isinstance(network, GLEAN) and contender.speed in RUNTIMES:
        return RUNTIMES[contender.speed](network, 1 if contender.task == 'color' else 3)
    return at_speed(network, contender.speed, contender.precision)


def _with_noise(network: nn.Module) -> Any:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if 'noise_injector' in name or name.endswith('.gamma'):
                parameter.fill_(NOISE_STRENGTH)
    return network
