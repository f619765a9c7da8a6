"""Parameters and FLOPs of a GLEAN, in the paper's accounting and in truth (paper Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmagic.registry import MODELS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glean_plus.models.glean import GLEAN

PARTS = ('encoder', 'generator', 'decoder')


@dataclass(frozen=True)
class Complexity:
    """Parameters by part, in units, and FLOPs.

    ``paper``: as the paper counts. Fusion convolutions, those of the RGB skip included, belong to the encoder; the
    generator is the mapping network and every block and ToRGB from its first resolution on; FLOPs are multiply-adds,
    biases and activations of plain convolution and linear layers, so the bank's modulated convolutions count nothing.
    ``kept``: what the model really holds. ``macs``: multiply-adds of everything that a forward pass computes, the bank
    included.
    """

    paper: Mapping[str, int]
    paper_flops: int
    kept: Mapping[str, int]
    macs: int


@dataclass(frozen=True)
class Published:
    """A column of the paper's Table 1, in millions and 1e9, with the tolerance of ours as a share of it."""

    params: Mapping[str, float]
    flops: float
    # None: at most the published number.
    params_tolerance: float | None
    flops_tolerance: float

    @property
    def total(self) -> float:
        return sum(self.params.values())


# Table 1, 64 -> 1024. It rounds GLEAN's sum up to 175.6M.
TABLE_1 = {
    'GLEAN': Published(dict(encoder=137.3, generator=30.4, decoder=7.9), 277.5, 0.002, 0.002),
    'LightGLEAN': Published(dict(encoder=23.7, generator=10.9, decoder=1.7), 98.24, None, 0.005),
}


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _hook(add: Callable[[int], None]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            add(output.numel() * (module.weight[0].numel() + (module.bias is not None)))
        elif isinstance(module, nn.Linear):
            add(output.numel() * (module.in_features + (module.bias is not None)))
        elif isinstance(module, nn.LeakyReLU):
            add(output.numel())

    return count


def complexity(generator: Mapping[str, Any]) -> Complexity:
    """Count one picture through a GLEAN; nothing is allocated.

    Args:
        generator: The generator of a config.
    """
    with torch.device('meta'):
        model: GLEAN = MODELS.build(dict(generator)).eval()
        bank_config = dict(generator['bank'])
        whole = MODELS.build(bank_config | dict(mapping=True, rgb=True))
        lq = torch.zeros(1, model.encoder.in_channels, model.in_size, model.in_size)

    # The convolution of the RGB skip, (width + 3) -> 3, beside each fusion; MMagic has it, and throws its result away.
    rgb = [(width + 3) * 3 * 9 for width in (model.bank.channels[int(res)] for res in model.fusions)]
    rgb_flops = sum((weights + 3) * int(res) ** 2 for weights, res in zip(rgb, model.fusions))

    flops = [rgb_flops]
    hooks = [module.register_forward_hook(_hook(flops.append)) for module in model.modules()]
    with torch.no_grad():
        model(lq)
        for hook in hooks:
            hook.remove()
        counter = FlopCounterMode(display=False)
        with counter:
            model(lq)

    encoder = _count([*model.encoder.parameters(), *model.codes.parameters(), *model.fusions.parameters()])
    decoder = _count(model.decoder.parameters())
    return Complexity(
        paper=dict(encoder=encoder + sum(rgb) + 3 * len(rgb), generator=_count(whole.parameters()), decoder=decoder),
        paper_flops=sum(flops),
        kept=dict(encoder=encoder, generator=_count(model.bank.parameters()), decoder=decoder),
        macs=counter.get_total_flops() // 2,
    )


def misses(result: Complexity, published: Published) -> list[str]:
    """What is outside the tolerance of a published column; empty if nothing is."""
    found = []
    total = sum(result.paper.values()) / 1e6
    if published.params_tolerance is None:
        if total > published.total:
            found.append(f'{total:.1f} M parameters are more than {published.total:.1f} M')
    else:
        for part, millions in {**published.params, 'all': published.total}.items():
            ours = total if part == 'all' else result.paper[part] / 1e6
            # The table gives one decimal: what rounds to it is exact.
            if round(ours, 1) != round(millions, 1) and abs(ours / millions - 1) > published.params_tolerance:
                found.append(f'{part}: {ours:.2f} M parameters, not {millions:.1f} M')
    billions = result.paper_flops / 1e9
    if abs(billions / published.flops - 1) > published.flops_tolerance:
        found.append(f'{billions:.2f} G FLOPs, not {published.flops} G')
    return found
